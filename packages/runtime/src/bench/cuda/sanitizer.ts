/** compute-sanitizer over the kernels' checks, where the host has it. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export const sanitizerTools = ['memcheck', 'racecheck', 'initcheck', 'synccheck'] as const;

export interface SanitizerRun {
  readonly tool: (typeof sanitizerTools)[number];
  /** As the tool's own summary counts them; absent where it told none, as when its time was over. */
  readonly errors?: number;
  readonly seconds: number;
  /** The last lines of what it said. */
  readonly said: string;
}

export interface SanitizerReport {
  /** Where it lies; absent: the host has none. */
  readonly program?: string;
  readonly version?: string;
  readonly runs: readonly SanitizerRun[];
}

const name = 'compute-sanitizer';
const keptLines = 6;
/** Bytes that a tool may say before it is ended. */
const mostSaid = 2 ** 26;

/** The program on the path, or beside a CUDA toolkit. */
export function findSanitizer(
  path = process.env['PATH'] ?? '',
  toolkits = existsSync('/usr/local') ? readdirSync('/usr/local').filter((one) => one.startsWith('cuda')) : [],
): string | undefined {
  const folders = [
    ...path.split(delimiter),
    ...toolkits.flatMap((one) => [`/usr/local/${one}/bin`, `/usr/local/${one}/compute-sanitizer`]),
  ];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}

/** Of `ERROR SUMMARY: 0 errors`, or racecheck's `RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)`. */
export function errorsIn(text: string): number | undefined {
  const [, errors, hazards] = /ERROR SUMMARY: (\d+) errors?|RACECHECK SUMMARY: (\d+) hazards?/u.exec(text) ?? [];
  return errors === undefined && hazards === undefined ? undefined : Number(errors ?? hazards);
}

/** Runs a command under every tool, as far as time goes: each gets an equal part of what is left. */
export function runSanitizer(
  command: readonly string[],
  seconds: number,
  onRun: (run: SanitizerRun) => void,
  program = findSanitizer(),
): SanitizerReport {
  if (program === undefined) return { runs: [] };
  const version = spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout.trim().split('\n').at(-1) ?? '';
  const end = performance.now() + seconds * 1e3;
  const runs = sanitizerTools.map((tool, place) => {
    const start = performance.now();
    const timeout = Math.max(1, Math.floor((end - start) / (sanitizerTools.length - place)));
    const { stdout, stderr, error } = spawnSync(program, ['--tool', tool, ...command], {
      encoding: 'utf8',
      timeout,
      killSignal: 'SIGKILL',
      maxBuffer: mostSaid,
    });
    const text = `${stdout}\n${stderr}\n${error?.message ?? ''}`;
    const errors = errorsIn(text);
    const run = {
      tool,
      ...(errors === undefined ? {} : { errors }),
      seconds: (performance.now() - start) / 1e3,
      said: text.trim().split('\n').slice(-keptLines).join('\n'),
    };
    onRun(run);
    return run;
  });
  return { program, version, runs };
}
