/** Checks of matrix products and of attention, against the CPU's. */
import { loadOpenblas, referenceGemm } from '../../cpu/index.js';
import type { Gemm } from '../../gemm.js';
import {
  attentionBackward,
  attentionForward,
  attentionScratch,
  type AttentionShape,
} from '../../../transformer/index.js';
import { CudaAttention } from '../attention/attention.js';
import { BatchedGemm } from '../batched-gemm.js';
import { LtGemm } from '../gemm.js';
import { elementSize } from '../operations/launcher.js';
import type { CheckBench } from './bench.js';

function cpuGemm(): Gemm {
  return loadOpenblas() ?? referenceGemm;
}

export function checkGemm(bench: CheckBench): void {
  const lt = new LtGemm(bench.context);
  const cpu = cpuGemm();
  const [m, n, k] = [bench.of(200, 8), bench.of(328, 8), bench.of(264, 8)];
  for (const transposeA of [false, true])
    for (const transposeB of [false, true]) {
      const [a, b] = [bench.sample(m * k), bench.sample(k * n)];
      const said = `product${transposeA ? ', A transposed' : ''}${transposeB ? ', B transposed' : ''}`;
      const call = { m, n, k, transposeA, transposeB };
      const on = { ...call, a: a.address, b: b.address, storage: bench.storage };
      const expected = new Float32Array(m * n);
      cpu({ ...call, a: a.values, b: b.values, c: expected });
      const d = bench.room(m * n);
      lt.multiply(bench.on.stream, { ...on, d });
      bench.expect(said, bench.stored(d, m * n), expected);
      const wide = bench.upload(expected);
      lt.multiply(bench.on.stream, { ...on, d: wide, output: 'f32', beta: 1 });
      const twice = expected.map((value) => 2 * value);
      bench.expect(`${said}, added in fp32`, bench.floats(wide, m * n), twice, 1e-5);
    }
  // The same padded size, other rows: the algorithm of the first is used again.
  for (const rows of [193, 255]) {
    const [a, b] = [bench.sample(rows * k), bench.sample(k * n)];
    const expected = new Float32Array(rows * n);
    cpu({ m: rows, n, k, a: a.values, b: b.values, c: expected });
    const d = bench.room(rows * n);
    lt.multiply(bench.on.stream, { m: rows, n, k, a: a.address, b: b.address, d, storage: bench.storage });
    bench.expect(`product of ${rows} rows`, bench.stored(d, rows * n), expected);
  }
}

export function checkBatchedGemm(bench: CheckBench): void {
  const batched = new BatchedGemm(bench.context);
  const cpu = cpuGemm();
  const [m, n, k, batch] = [bench.of(64, 8), bench.of(136, 8), bench.of(200, 8), 5];
  for (const transposeA of [false, true])
    for (const transposeB of [false, true]) {
      const [a, b] = [bench.sample(batch * m * k), bench.sample(batch * k * n)];
      const expected = new Float32Array(batch * m * n);
      for (let i = 0; i < batch; i++)
        cpu({
          m,
          n,
          k,
          transposeA,
          transposeB,
          a: a.values.subarray(i * m * k, (i + 1) * m * k),
          b: b.values.subarray(i * k * n, (i + 1) * k * n),
          c: expected.subarray(i * m * n, (i + 1) * m * n),
        });
      const d = bench.room(expected.length);
      const size = elementSize(bench.storage);
      const pointers = (base: number, elements: number): number =>
        bench.upload(BigUint64Array.from({ length: batch }, (_, i) => BigInt(base + i * elements * size)));
      batched.multiply(bench.on.stream, {
        m,
        n,
        k,
        transposeA,
        transposeB,
        storage: bench.storage,
        batch,
        a: pointers(a.address, m * k),
        b: pointers(b.address, k * n),
        d: pointers(d, m * n),
      });
      const said = `batched product${transposeA ? ', A transposed' : ''}${transposeB ? ', B transposed' : ''}`;
      bench.expect(said, bench.stored(d, expected.length), expected);
    }
}

type Sample = ReturnType<CheckBench['sample']>;

/** Attention as processors compute it: output, statistics and gradients. */
function attentionHere(shape: AttentionShape, { q, k, v, dO }: Readonly<Record<'q' | 'k' | 'v' | 'dO', Sample>>) {
  const queries = (): Float32Array => new Float32Array(q.values.length);
  const keys = (): Float32Array => new Float32Array(k.values.length);
  const [out, dq, dk, dv] = [queries(), queries(), keys(), keys()];
  const logSum = new Float32Array(shape.batch * shape.sequence * shape.heads);
  const scratch = new Float32Array(attentionScratch(shape));
  const of = { gemm: cpuGemm(), shape, q: q.values, k: k.values, v: v.values, out, logSum, scratch };
  attentionForward(of);
  attentionBackward({ ...of, dout: dO.values, dq, dk, dv });
  return { out, dq, dk, dv, logSum };
}

/** bf16 only: cuDNN has no such engine for fp32. */
export function checkAttention(bench: CheckBench): void {
  const attention = new CudaAttention(bench.context);
  for (const shape of [
    { batch: 1, sequence: bench.of(512), heads: 4, kvHeads: 4, headDim: 128 },
    { batch: 2, sequence: bench.of(200), heads: 4, kvHeads: 2, headDim: 64 },
  ] satisfies AttentionShape[]) {
    const { batch, sequence, heads, kvHeads, headDim } = shape;
    const of = `attention ${batch} x ${sequence}, ${heads} heads on ${kvHeads}`;
    const rows = batch * sequence;
    const [q, dO] = [bench.sample(rows * heads * headDim, 2), bench.sample(rows * heads * headDim)];
    const [k, v] = [bench.sample(rows * kvHeads * headDim, 2), bench.sample(rows * kvHeads * headDim)];
    const { out, dq, dk, dv, logSum } = attentionHere(shape, { q, k, v, dO });
    const full = { ...shape, valueDim: headDim };
    const buffers = {
      q: q.address,
      k: k.address,
      v: v.address,
      o: bench.room(out.length),
      statistics: bench.poisoned(logSum.byteLength),
    };
    const gradients = {
      dO: dO.address,
      dQ: bench.room(dq.length),
      dK: bench.room(dk.length),
      dV: bench.room(dv.length),
    };
    const run = (): void => {
      attention.forward(bench.on.stream, full, buffers);
      attention.backward(bench.on.stream, full, buffers, gradients);
    };
    run();
    bench.expect(`${of}: output`, bench.stored(buffers.o, out.length), out, attentionBound);
    bench.expect(`${of}: statistics`, bench.floats(buffers.statistics, logSum.length), logSum, 1e-5);
    bench.expect(`${of}: dq`, bench.stored(gradients.dQ, dq.length), dq, attentionBound);
    bench.expect(`${of}: dk`, bench.stored(gradients.dK, dk.length), dk, attentionBound);
    bench.expect(`${of}: dv`, bench.stored(gradients.dV, dv.length), dv, attentionBound);
    const results = [buffers.o, gradients.dQ, gradients.dK, gradients.dV];
    const bytes = (): Buffer[] => results.map((at, i) => Buffer.from(bench.bytes(at, 2 * [out, dq, dk, dv][i].length)));
    const first = bytes();
    run();
    const differing = bytes().filter((again, place) => !again.equals(first[place])).length;
    bench.expect(`${of}: the same bits again`, [differing], [0], 0);
  }
}

/** Probabilities and their gradients are bf16 on the way. */
const attentionBound = 1e-2;
