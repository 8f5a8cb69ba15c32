/**
 * `npm run bench`: how fast the parts are, each beside what it is compared to. `--json` for scripts, `--parts 'gemm
 * simulator'` for some of them.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import type { MoeShape } from '@monta/core';
import { formatBandwidth, formatBytes, formatCount, formatInteger, formatSeconds } from '@monta/core/units';
import { getCluster } from '@monta/core/cluster';
import { parseLayout } from '@monta/core/layout';
import { benchSimulator, simulatorBenchShapes } from '@monta/core/simulate';
import { measureCollectives, runGemmBench } from '@monta/runtime';
import { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';
import { benchDispatch } from './dispatch-bench.js';
import { describeBench, renderBench } from './dispatch-report.js';
import { benchedKinds, benchOverlaps, renderOverlaps } from './overlap-report.js';

const gemmSeconds = 0.15;
/** For which every shape is simulated again and again. */
const simulatorSeconds = 1;
/** Replicas whose gradients are reduced, and experts over two of them. */
const overlapLayout = 'tp=2,dp=4,ep=2';
const now = (): number => performance.now() / 1e3;
const number = (header: string) => ({ header, align: 'number' as const });

/** A small MoE layer on the laptop cluster: eight ranks, two nodes behind a slow link. */
function dispatchSubject() {
  const cluster = getCluster('laptop-2x4');
  const layout = parseLayout('tp=4,dp=2,ep=2', 8);
  const shape: MoeShape = {
    tokens: 4096,
    hiddenSize: 1024,
    expertFfn: 1024,
    experts: 8,
    topK: 2,
    layout,
    dtype: 'f32',
  };
  return { cluster, shape, name: '8 experts, top-2, hidden 1,024' };
}

/** What measures each part, in the order in which they are printed. */
const measures = {
  gemm: () => runGemmBench({ seconds: gemmSeconds }),
  collectives: () => measureCollectives(),
  simulator: () => Promise.resolve(simulatorBenchShapes.map((shape) => benchSimulator(shape, now, simulatorSeconds))),
  dispatch: async (console: Console) => {
    const subject = dispatchSubject();
    const bench = await benchDispatch({
      ...subject,
      routing: { kind: 'uniform' },
      seed: 1,
      chunkCounts: [1, 2, 4],
      only: ['sliced', 'scattered'],
      emulate: 'auto',
      rounds: 3,
      seconds: 12,
      onPhase: (what) => console.note(`dispatch: ${what}`),
    });
    return { subject, bench };
  },
  overlap: (console: Console) =>
    benchOverlaps({
      kinds: benchedKinds,
      layouts: [overlapLayout],
      timeScale: 10,
      turns: 5,
      steps: 2,
      onPhase: (what) => console.note(`overlap: ${what}`),
    }),
};
type Part = keyof typeof measures;
type Result<P extends Part> = Awaited<ReturnType<(typeof measures)[P]>>;
const partNames = Object.keys(measures) as Part[];
const isPart = (name: string): name is Part => Object.hasOwn(measures, name);

function heading(console: Console, text: string): void {
  console.print(`${console.style.bold(text)}\n`);
}

function showProducts(console: Console, gemm: Result<'gemm'>): void {
  heading(console, `Matrix products, float32 · ${gemm.cpu} · Node ${gemm.node}`);
  console.print(
    renderTable(
      [
        { header: 'engine' },
        { header: 'm x n x k' },
        number('GFLOP/s'),
        number('two threads'),
        { header: 'compared to plain JavaScript', align: 'right' },
      ],
      gemm.rows.map((row) => [
        row.name,
        row.shape,
        row.gflops.toFixed(1),
        row.gflopsOfTwo.toFixed(1),
        `${row.comparedToJs.toFixed(1)}x`,
      ]),
    ),
  );
  console.print(
    `  calibration: two threads together do ${gemm.scalingOfTwo.toFixed(2)}x of one in the first-level cache ` +
      `(2.00x with a core each); a call costs ${gemm.wasmCallMicroseconds.toFixed(2)} µs\n`,
  );
}

function showCollectives(console: Console, collectives: Result<'collectives'>): void {
  heading(console, 'Collectives at memory speed, compared to one thread copying as many bytes');
  console.print(
    renderTable(
      [
        { header: 'collective' },
        { header: 'ranks', align: 'right' },
        number('bytes'),
        number('takes'),
        number('rate'),
        number('plain copy'),
        { header: 'of it', align: 'right' },
      ],
      collectives.collectives.map((one) => [
        one.collective,
        String(one.ranks),
        formatBytes(one.bytes),
        formatSeconds(one.seconds),
        formatBandwidth(one.bytesPerSecond),
        formatBandwidth(one.bytes / one.copySeconds),
        `${((100 * one.copySeconds) / one.seconds).toFixed(0)} %`,
      ]),
    ),
  );
  const barriers = collectives.barriers.map(({ ranks, seconds }) => `${ranks} ranks ${formatSeconds(seconds)}`);
  console.print(`  barriers: ${barriers.join(', ')}\n`);
}

function showSimulator(console: Console, simulator: Result<'simulator'>): void {
  heading(console, 'Simulator');
  console.print(
    renderTable(
      [
        { header: 'ranks', align: 'right' },
        { header: 'layers', align: 'right' },
        { header: 'chunks', align: 'right' },
        { header: 'skew', align: 'right' },
        number('operations'),
        number('takes'),
        number('operations/s'),
      ],
      simulator.map((one) => [
        String(one.nodes * one.devicesPerNode),
        String(one.layers),
        String(one.chunks),
        String(one.skew),
        formatInteger(one.operations),
        formatSeconds(one.seconds),
        formatCount(one.operationsPerSecond),
      ]),
    ),
  );
}

function showDispatch(console: Console, { subject, bench }: Result<'dispatch'>, simulator?: Result<'simulator'>): void {
  heading(console, 'Dispatch, compared to the prediction, to the line-rate bound and to duplicated');
  console.print(renderBench(subject, bench, console.style));
  const runs = bench.cases.reduce((sum, { measured }) => sum + measured.length, 0);
  const simulated = simulator?.[0];
  if (simulated !== undefined)
    console.print(
      `  a run of a case took ${formatSeconds(bench.jobSeconds / runs)}, a simulation of one layer above ` +
        `${formatSeconds(simulated.seconds)}\n`,
    );
}

/** What was measured; a part that was not asked for is absent. */
type Results = { readonly [P in Part]?: Result<P> };

function show(console: Console, { gemm, collectives, simulator, dispatch, overlap }: Results): void {
  if (gemm !== undefined) showProducts(console, gemm);
  if (collectives !== undefined) showCollectives(console, collectives);
  if (simulator !== undefined) showSimulator(console, simulator);
  if (dispatch !== undefined) showDispatch(console, dispatch, simulator);
  if (overlap !== undefined) {
    heading(console, 'Overlap, steps with a kind compared to steps without, beside the prediction');
    console.print(renderOverlaps(overlap));
  }
}

const console = new Console(process.stdout, process.stderr, process.env);
const { values: flags } = parseArgs({
  options: { json: { type: 'boolean', default: false }, parts: { type: 'string', default: partNames.join(' ') } },
});
const asked = flags.parts.split(' ');
const unknown = asked.find((name) => !isPart(name));
if (unknown !== undefined) {
  console.printError(`--parts: expected names of ${partNames.join(', ')} with spaces between, got "${unknown}"\n`);
  process.exit(2);
}
const measureAsked = async <P extends Part>(part: P): Promise<Result<P> | undefined> => {
  if (!asked.includes(part)) return undefined;
  console.note(part);
  return (await measures[part](console)) as Result<P>;
};
const results: Results = {
  gemm: await measureAsked('gemm'),
  collectives: await measureAsked('collectives'),
  simulator: await measureAsked('simulator'),
  dispatch: await measureAsked('dispatch'),
  overlap: await measureAsked('overlap'),
};
if (flags.json) {
  const { dispatch, ...rest } = results;
  console.json({ ...rest, dispatch: dispatch && describeBench(dispatch.subject, dispatch.bench) });
} else show(console, results);
