/** `npm run bench`: how fast the parts are, each beside what it is compared to. `--json` for scripts. */
import process from 'node:process';
import {
  benchSimulator,
  formatBandwidth,
  formatBytes,
  formatCount,
  formatInteger,
  formatSeconds,
  getCluster,
  parseLayout,
  simulatorBenchShapes,
  type MoeShape,
} from '@monta/core';
import { measureCollectives, runGemmBench } from '@monta/runtime';
import { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';
import { benchDispatch } from './dispatch-bench.js';
import { describeBench, renderBench } from './dispatch-report.js';
import { benchedKinds, benchOverlaps, renderOverlaps } from './overlap-report.js';

const gemmSeconds = 0.15;
const collectiveBench = { ranks: [2, 4, 8], bytesPerRank: 4 << 20, rounds: 9 };
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

async function measure(console: Console) {
  console.note('matrix products');
  const gemm = await runGemmBench({ seconds: gemmSeconds });
  console.note('collectives');
  const collectives = await measureCollectives(collectiveBench);
  console.note('simulator');
  const simulator = simulatorBenchShapes.map((shape) => benchSimulator(shape, now));
  const subject = dispatchSubject();
  const dispatch = await benchDispatch({
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
  const overlaps = await benchOverlaps({
    kinds: benchedKinds,
    layouts: [overlapLayout],
    timeScale: 10,
    turns: 5,
    steps: 2,
    onPhase: (what) => console.note(`overlap: ${what}`),
  });
  return { gemm, collectives, simulator, subject, dispatch, overlaps };
}

type Results = Awaited<ReturnType<typeof measure>>;

function showProducts(console: Console, { gemm }: Results): void {
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

function showCollectives(console: Console, { collectives }: Results): void {
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

function showSimulator(console: Console, { simulator, dispatch }: Results): void {
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
  const runs = dispatch.cases.reduce((sum, { measured }) => sum + measured.length, 0);
  console.print(
    `  a run of a dispatch case below took ${formatSeconds(dispatch.jobSeconds / runs)}, a simulation of one layer ` +
      `above ${formatSeconds(simulator[0]?.seconds ?? NaN)}\n`,
  );
}

function show(console: Console, results: Results): void {
  const { gemm, subject, dispatch, overlaps } = results;
  const { style } = console;
  const heading = (text: string): void => console.print(`${style.bold(text)}\n`);
  heading(`Matrix products, float32 · ${gemm.cpu} · Node ${gemm.node}`);
  showProducts(console, results);
  heading('Collectives at memory speed, compared to one thread copying as many bytes');
  showCollectives(console, results);
  heading('Simulator, compared to running: see the dispatch below');
  showSimulator(console, results);
  heading('Dispatch, compared to the prediction, to the line-rate bound and to duplicated');
  console.print(renderBench(subject, dispatch, style));
  heading('Overlap, steps with a kind compared to steps without, beside the prediction');
  console.print(renderOverlaps(overlaps));
}

const console = new Console(process.stdout, process.stderr, process.env);
const unknown = process.argv.slice(2).find((argument) => argument !== '--json');
if (unknown !== undefined) {
  console.printError(`there is no argument ${unknown}; only --json\n`);
  process.exit(2);
}
const results = await measure(console);
if (process.argv.includes('--json')) {
  const { subject, dispatch, ...rest } = results;
  console.json({ ...rest, dispatch: describeBench(subject, dispatch) });
} else show(console, results);
