/** Products over all experts, by each way, of runs of rows that lie close together. */
import { maxOf } from '@monta/core/units';
import { loadOpenblas, referenceGemm } from '../../cpu/index.js';
import { LtGemm } from '../gemm.js';
import { LoopedProducts, bucketRows, type ExpertMatrix, type ExpertProducts } from '../layer/expert-products.js';
import { runsOfSegments, type ExpertRuns } from '../layer/expert-rows.js';
import { closeRuns, fitWindows, PaddedProducts } from '../layer/padded-products.js';
import { followMoves } from '../operations/rows.js';
import { swigluBackward, swigluForward } from '../operations/swiglu.js';
import { elementSize } from '../operations/launcher.js';
import { StreamUploads } from '../stream-uploads.js';
import type { CheckBench, Sample } from './bench.js';

/** Of products, and of sums that are added to fp32. */
const wideBound = 1e-5;

/** Triples [expert, first row, rows]; idle experts, few rows, counts on both sides of a padded size. */
const closeSegments = (bench: CheckBench): number[] => {
  const counts = [bench.of(193), 1, 0, bench.of(64), bench.of(65), bench.of(320), 7];
  let row = 0;
  return counts.flatMap((count, expert) => {
    row += count;
    return count === 0 ? [] : [expert, row - count, count];
  });
};

/** A chunk's: an expert has several runs, and rows of other chunks lie between. */
const chunkedSegments = (bench: CheckBench): number[] =>
  [
    [0, 0, bench.of(40)],
    [0, bench.of(90), bench.of(70)],
    [2, bench.of(190), bench.of(64)],
    [3, bench.of(300), bench.of(130)],
  ].flat();

export function checkExpertProducts(bench: CheckBench): void {
  const uploads = new StreamUploads(bench.context, bench.on.stream);
  const { context, storage } = bench;
  const looped = new LoopedProducts(context, new LtGemm(context), storage);
  const padded = new PaddedProducts(context, { uploads, storage, stream: bench.on.stream });
  for (const [name, segments] of [
    ['close', closeSegments(bench)],
    ['of a chunk', chunkedSegments(bench)],
  ] as const) {
    const runs = runsOfSegments(Int32Array.from(segments), 7, bucketRows);
    for (const ways of fitWindows(runs) ? [looped, padded] : [looped]) {
      const of = `${ways.name}, rows ${name}`;
      checkRowProducts(bench, of, ways, runs);
      if (closeRuns(runs)) checkSums(bench, of, ways, runs);
    }
    checkMovedSwiglu(bench, `swiglu of padded rows ${name}`, padded, runs);
  }
}

const cpuGemm = () => loadOpenblas() ?? referenceGemm;

const endOf = ({ runs }: ExpertRuns): number => maxOf(runs.map(({ row, rows }) => row + rows));

/** Rows of the runs, and NaN between them. */
function sampleRows(bench: CheckBench, { runs }: ExpertRuns, rows: number, columns: number): Sample {
  const sample = bench.sample(rows * columns);
  const size = columns * elementSize(bench.storage);
  const known = new Set(runs.flatMap((run) => Array.from({ length: run.rows }, (_, i) => run.row + i)));
  for (let row = 0; row < rows; row++)
    if (!known.has(row)) bench.context.memory.write(sample.address + row * size, new Uint8Array(size).fill(0xff));
  return sample;
}

/** Rows of runs out of rows of all; the others stay 0. */
function onlyRuns({ runs }: ExpertRuns, values: Float32Array, columns: number): Float32Array {
  const only = new Float32Array(values.length);
  for (const { row, rows } of runs) only.set(values.subarray(row * columns, (row + rows) * columns), row * columns);
  return only;
}

function checkRowProducts(bench: CheckBench, of: string, ways: ExpertProducts, runs: ExpertRuns): void {
  const [rows, inputs, outputs] = [endOf(runs), bench.of(136, 8), bench.of(200, 8)];
  for (const kind of ['forward', 'input'] as const) {
    const a = sampleRows(bench, runs, rows, inputs);
    const weights = bench.sample(runs.experts * inputs * outputs);
    const [weightRows, columns] = kind === 'forward' ? [outputs, inputs] : [inputs, outputs];
    const product = {
      kind,
      a: { base: a.address, columns: inputs },
      b: { base: weights.address, columns, weightRows },
      d: { base: bench.room(rows * outputs), columns: outputs },
    };
    const expected = new Float32Array(rows * outputs);
    for (const { expert, row, rows: m } of runs.runs)
      cpuGemm()({
        m,
        n: outputs,
        k: inputs,
        transposeB: kind === 'forward',
        a: a.values.subarray(row * inputs, (row + m) * inputs),
        b: weights.values.subarray(expert * inputs * outputs, (expert + 1) * inputs * outputs),
        c: expected.subarray(row * outputs, (row + m) * outputs),
      });
    ways.prepare(bench.on.stream, runs, [product.a, product.b, product.d]);
    ways.multiply(bench.on.stream, product);
    const made = onlyRuns(runs, bench.stored(product.d.base, expected.length), outputs);
    bench.expect(`${of}: ${kind}`, made, expected);
  }
}

function checkSums(bench: CheckBench, of: string, ways: ExpertProducts, runs: ExpertRuns): void {
  for (const [m, n] of [
    [bench.of(72, 8), bench.of(200, 8)],
    [bench.of(200, 8), bench.of(72, 8)],
  ]) {
    const rows = endOf(runs);
    const [a, b] = [bench.sample(rows * m), bench.sample(rows * n)];
    const expected = Float32Array.from({ length: runs.experts * m * n }, () => bench.random.uniform());
    const d: ExpertMatrix = { base: bench.upload(expected), columns: n, weightRows: m, storage: 'f32' };
    for (const { expert, row, rows: k } of runs.runs)
      cpuGemm()({
        m,
        n,
        k,
        transposeA: true,
        beta: 1,
        a: a.values.subarray(row * m, (row + k) * m),
        b: b.values.subarray(row * n, (row + k) * n),
        c: expected.subarray(expert * m * n, (expert + 1) * m * n),
      });
    const product = {
      kind: 'weight' as const,
      a: { base: a.address, columns: m },
      b: { base: b.address, columns: n },
      d,
      add: true,
    };
    ways.prepare(bench.on.stream, runs, [product.a, product.b, d]);
    ways.multiply(bench.on.stream, product);
    bench.expect(`${of}: sums ${m} x ${n}`, bench.floats(d.base, expected.length), expected, wideBound);
  }
}

/** The activation reads rows that products left in a padded buffer, as it would read them from their places. */
function checkMovedSwiglu(bench: CheckBench, of: string, padded: PaddedProducts, runs: ExpertRuns): void {
  const [rows, ffn] = [endOf(runs), bench.of(96, 8)];
  const wide = bench.sample(runs.paddedTotal * 2 * ffn, 3);
  const upstream = bench.sample(runs.paddedTotal * ffn);
  padded.prepare(bench.on.stream, runs, [{ base: wide.address, columns: 2 * ffn }]);
  const { plan } = padded;
  const [plainWide, plainUpstream] = [bench.room(rows * 2 * ffn), bench.room(rows * ffn)];
  followMoves(bench.on, { ...plan, width: 2 * ffn, from: wide.address, to: plainWide });
  followMoves(bench.on, { ...plan, width: ffn, from: upstream.address, to: plainUpstream });
  const room = (width: number) => bench.room(rows * width);
  const plain = { activated: room(ffn), dgateUp: room(2 * ffn), again: room(ffn) };
  const moved = { activated: room(ffn), dgateUp: room(2 * ffn), again: room(ffn), kept: room(2 * ffn) };
  const shape = { rows: runs.total, ffn, moved: plan };
  swigluForward(bench.on, { rows, ffn }, { gateUp: plainWide, activated: plain.activated });
  swigluForward(bench.on, shape, { gateUp: wide.address, activated: moved.activated, kept: moved.kept });
  const gateUp = { gateUp: plainWide };
  const backward = { ...gateUp, dactivated: plainUpstream, dgateUp: plain.dgateUp, activated: plain.again };
  swigluBackward(bench.on, { rows, ffn }, backward);
  const movedBackward = { ...gateUp, dactivated: upstream.address, dgateUp: moved.dgateUp, activated: moved.again };
  swigluBackward(bench.on, shape, movedBackward);
  const same = (what: string, actual: number, expected: number, width: number): void => {
    const of = (address: number) => onlyRuns(runs, bench.stored(address, rows * width), width);
    bench.expect(what, of(actual), of(expected), 0);
  };
  same(`${of}: activated`, moved.activated, plain.activated, ffn);
  same(`${of}: kept`, moved.kept, plainWide, 2 * ffn);
  same(`${of}: dgateUp`, moved.dgateUp, plain.dgateUp, 2 * ffn);
  same(`${of}: activated again`, moved.again, plain.again, ffn);
}
