/**
 * `npm run bench:against -- <folder of another build> [--turns 20] [--steps 30] [--parts]`: this build and another one
 * in turns on this machine. It measures the step of the main job, and with `--parts` what `npm run bench` measures, and
 * prints each ratio with its 95 % interval.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { PairedFigure } from '@monta/core';
import { formatSeconds, median, pairedRatio } from '@monta/core/units';
import { defaultCollectiveBench, type measureCollectives } from '@monta/runtime';
import { renderTable } from '../output/table.js';

/** The first steps of a run pay for compiling its kernels. */
const warmUpSteps = 5;

const own = resolve(fileURLToPath(new URL('../../../..', import.meta.url)));

const run = (build: string, script: string, parameters: readonly string[]): string =>
  runNode([join(build, 'packages/cli/dist', script), ...parameters]);

function runNode(command: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`node ${command.join(' ')} ended with ${status}: ${stderr.slice(-2000)}`);
  return stdout;
}

/** Median seconds of a step of the main job with `layout`, as a fresh process of `build` trains it. */
function stepSeconds(build: string, layout: string, steps: number): number {
  const output = mkdtempSync(join(tmpdir(), 'monta-against-'));
  try {
    const fixed = ['--dispatch', 'scattered:2/3', '--no-compare', '--trial-steps', '0', '--time-scale', '5'];
    run(build, 'main.js', ['train', '--layout', layout, '--steps', String(steps), ...fixed, '--output', output]);
    const [folder] = readdirSync(output);
    const lines = readFileSync(join(output, folder, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const records = lines.map((line) => JSON.parse(line) as { kind: string; seconds: number });
    return median(
      records
        .filter(({ kind }) => kind === 'step')
        .slice(warmUpSteps)
        .map(({ seconds }) => seconds),
    );
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
}

/** What `npm run bench --json` prints, as far as this reads it. */
interface Parts {
  readonly gemm: { readonly rows: readonly { name: string; shape: string; gflops: number }[] };
  readonly simulator: readonly { nodes: number; layers: number; skew: number; operationsPerSecond: number }[];
}

/** Asks for what is compared and no more; a build from before `--parts` measures everything. */
function narrowed(build: string): string[] {
  const knows = readFileSync(join(build, 'packages/cli/src/bench/all.ts'), 'utf8').includes('--parts');
  return knows ? ['--parts', 'gemm simulator'] : [];
}

type Collectives = Awaited<ReturnType<typeof measureCollectives>>;

/** A build's own measurement, by as many rounds in every build: `npm run bench` had fewer once. */
function collectivesOf(build: string): Collectives {
  const script =
    'const [, module, options] = process.argv;' +
    'import(module).then(({ measureCollectives }) => measureCollectives(JSON.parse(options)))' +
    '.then((measured) => process.stdout.write(JSON.stringify(measured)));';
  const module = join(build, 'packages/runtime/dist/bench/collectives.js');
  const parameters = ['-e', script, module, JSON.stringify(defaultCollectiveBench)];
  return JSON.parse(runNode(parameters)) as Collectives;
}

/** Seconds (or seconds an amount of work) of every part, by name: less is better in all. */
function partSeconds(build: string): Map<string, number> {
  const { gemm, simulator } = JSON.parse(run(build, 'bench/all.js', ['--json', ...narrowed(build)])) as Parts;
  const collectives = collectivesOf(build);
  return new Map([
    ...gemm.rows.map(({ name, shape, gflops }) => [`GEMM ${name} ${shape}, a GFLOP`, 1 / gflops] as const),
    ...collectives.collectives.map(
      ({ collective, ranks, seconds }) => [`${collective} of ${ranks} ranks`, seconds] as const,
    ),
    ...collectives.barriers.map(({ ranks, seconds }) => [`barrier of ${ranks} ranks`, seconds] as const),
    ...simulator.map(
      ({ nodes, layers, skew, operationsPerSecond }) =>
        [`simulator, ${nodes} nodes, ${layers} layers, skew ${skew}, an operation`, 1 / operationsPerSecond] as const,
    ),
  ]);
}

interface Series {
  readonly ours: number[];
  readonly theirs: number[];
}

/** Measures both builds in turns; which goes first changes from turn to turn. */
function inTurns(turns: number, measure: (build: string) => Map<string, number>, other: string): Map<string, Series> {
  const series = new Map<string, Series>();
  for (let turn = 0; turn < turns; turn++) {
    const order = turn % 2 === 0 ? [own, other] : [other, own];
    for (const build of order)
      for (const [name, seconds] of measure(build)) {
        const entry = series.get(name) ?? { ours: [], theirs: [] };
        series.set(name, entry);
        (build === own ? entry.ours : entry.theirs).push(seconds);
      }
    process.stderr.write(`turn ${turn + 1} of ${turns}\n`);
  }
  return series;
}

const row = (name: string, { ours, theirs }: Series, ratio: PairedFigure): string[] => [
  name,
  formatSeconds(median(ours)),
  formatSeconds(median(theirs)),
  ratio.median.toFixed(3),
  `${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)}`,
  String(ratio.pairs),
];

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    turns: { type: 'string', default: '20' },
    steps: { type: 'string', default: '30' },
    /** Layouts whose step is measured, with spaces between. */
    layouts: { type: 'string', default: 'tp=4,dp=2,ep=2' },
    parts: { type: 'boolean', default: false },
  },
});
const other = resolve(positionals[0] ?? '');
if (positionals.length !== 1 || !existsSync(join(other, 'packages/cli/dist/main.js'))) {
  process.stderr.write(`expected one folder of a built checkout, with packages/cli/dist/main.js in it; got ${other}\n`);
  process.exit(2);
}
const steps = Number(flags.steps);
const turns = Number(flags.turns);
const layouts = flags.layouts.split(' ');
const step = (build: string): Map<string, number> =>
  new Map(layouts.map((layout) => [`step of the main job, ${layout}`, stepSeconds(build, layout, steps)]));
const results = [
  ...(layouts[0] === '' ? [] : inTurns(turns, step, other)),
  ...(flags.parts ? inTurns(turns, partSeconds, other) : []),
];
const rows = results.map(([name, series]) => row(name, series, pairedRatio(series.ours, series.theirs)));
const columns = [
  { header: 'less is better' },
  ...['this build', 'the other'].map((header) => ({ header, align: 'number' as const })),
  ...['ratio', '95 % interval', 'pairs'].map((header) => ({ header, align: 'right' as const })),
];
process.stdout.write(`${renderTable(columns, rows)}\n`);
