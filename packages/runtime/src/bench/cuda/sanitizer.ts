/** compute-sanitizer over the kernels' checks, where the host has it. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The tools, and checks of which a tool says what is no fault of these kernels. */
const sanitizerTools = {
  memcheck: [],
  /**
   * It keeps every access of shared memory: the layer's products take it minutes, and other checks run its own kernels.
   * Warps of cuDNN's attention order themselves by barriers that it does not know.
   */
  racecheck: ['layer', 'attention'],
  /** It does not see what libraries' products write by the tensor memory accelerator: readers of it seem to err. */
  initcheck: ['layer', "experts' products", 'attention'],
  /** Warps of cuDNN's attention go ways of their own between barriers. */
  synccheck: ['attention'],
} as const satisfies Readonly<Record<string, readonly string[]>>;
export type SanitizerTool = keyof typeof sanitizerTools;

export interface SanitizerRun {
  readonly tool: SanitizerTool;
  /** Checks that it did not run. */
  readonly without: readonly string[];
  /** As the tool's own summary counts them; absent where it told none, as when its time was over. */
  readonly errors?: number;
  readonly seconds: number;
  /** What it found, once for each place: without addresses and counts. */
  readonly found: readonly string[];
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
const keptPlaces = 40;
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

/** Errors by their first lines, `Race reported between Read access at kernel` and the other access among them. */
export function foundIn(text: string): string[] {
  const lines = [
    ...text.matchAll(/^=+ (?:Error: |Warning: | *)((?:.*\b[Aa]ccess\b|Invalid|Uninitialized|Barrier).*)$/gmu),
  ];
  const places = lines.map(([, line = '']) => line.replaceAll(/\+?0x[\da-f]+|\[\d+ hazards?\]/gu, '').trim());
  return [...new Set(places)].slice(0, keptPlaces);
}

/**
 * Runs a command under every tool, all at once: a tool's time is mostly its own, and checks are small beside a card.
 * Those that last longer than so many seconds are ended. command: what runs all checks but some.
 */
export async function runSanitizer({
  command,
  seconds,
  onRun,
  program = findSanitizer(),
}: {
  readonly command: (without: readonly string[]) => readonly string[];
  readonly seconds: number;
  readonly onRun: (run: SanitizerRun) => void;
  readonly program?: string | undefined;
}): Promise<SanitizerReport> {
  if (program === undefined) return { runs: [] };
  const version = spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout.trim().split('\n').at(-1) ?? '';
  const runs = await Promise.all(
    (Object.keys(sanitizerTools) as SanitizerTool[]).map(async (tool): Promise<SanitizerRun> => {
      const start = performance.now();
      const without = sanitizerTools[tool];
      const text = await said(program, ['--tool', tool, ...command(without)], seconds);
      const errors = errorsIn(text);
      const run = {
        tool,
        without,
        ...(errors === undefined ? {} : { errors }),
        seconds: (performance.now() - start) / 1e3,
        found: foundIn(text),
        said: text.trim().split('\n').slice(-keptLines).join('\n'),
      };
      onRun(run);
      return run;
    }),
  );
  return { program, version, runs };
}

/** What a program says until it ends or its time is over. */
const said = (program: string, parameters: readonly string[], seconds: number): Promise<string> =>
  new Promise((resolve) => {
    const options = { timeout: Math.ceil(seconds * 1e3), killSignal: 'SIGKILL', maxBuffer: mostSaid } as const;
    execFile(program, parameters, options, (error, stdout, stderr) => {
      resolve(`${stdout}\n${stderr}\n${error?.killed === true ? 'its time was over' : ''}`);
    });
  });
