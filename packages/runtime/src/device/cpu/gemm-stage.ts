/** Products of arrays that lie outside the rank's memory: cut into blocks, copied in, multiplied, copied out. */
import type { GemmCall } from '../gemm.js';
import type { CheckedGemm } from './gemm-check.js';
import type { CpuMemory } from './memory.js';

const blockM = 128;
const blockN = 512;
const floatBytes = 4;

/**
 * Calls `multiply` for blocks whose operands all lie in the memory. `blockK` is the driver's own cut of k, so the sums
 * are formed in the same order as without staging. The stage must hold one block of each operand.
 */
export function stageGemm({
  memory,
  stage,
  call,
  size,
  blockK,
  multiply,
}: {
  readonly memory: CpuMemory;
  readonly stage: { readonly byteOffset: number; readonly bytes: number };
  readonly call: GemmCall;
  readonly size: CheckedGemm;
  readonly blockK: number;
  readonly multiply: (call: GemmCall) => void;
}): void {
  const { m, n, k, alpha, beta, transposeA, transposeB } = size;
  const room = (after: number, length: number): Float32Array => new Float32Array(memory.buffer, after, length);
  const stageA = room(stage.byteOffset, blockM * blockK);
  const stageB = room(stageA.byteOffset + stageA.byteLength, blockK * blockN);
  const stageC = room(stageB.byteOffset + stageB.byteLength, blockM * blockN);
  if ((stageA.length + stageB.length + stageC.length) * floatBytes > stage.bytes) {
    throw new RangeError(`gemm: the stage of ${stage.bytes} bytes is too small`);
  }
  for (let row = 0; row < m; row += blockM) {
    for (let column = 0; column < n; column += blockN) {
      const mc = Math.min(blockM, m - row);
      const nc = Math.min(blockN, n - column);
      copyBlock({
        source: call.c,
        start: row * size.ldc + column,
        stride: size.ldc,
        target: stageC,
        targetStart: 0,
        targetStride: nc,
        rows: mc,
        columns: nc,
      });
      // k = 0 still has to clear or keep C.
      for (let from = 0; from < Math.max(k, 1); from += Math.max(blockK, 1)) {
        const kc = Math.min(blockK, k - from);
        const [rowsA, columnsA, startA] = transposeA
          ? [kc, mc, from * size.lda + row]
          : [mc, kc, row * size.lda + from];
        const [rowsB, columnsB, startB] = transposeB
          ? [nc, kc, column * size.ldb + from]
          : [kc, nc, from * size.ldb + column];
        copyBlock({
          source: call.a,
          start: startA,
          stride: size.lda,
          target: stageA,
          targetStart: 0,
          targetStride: columnsA,
          rows: rowsA,
          columns: columnsA,
        });
        copyBlock({
          source: call.b,
          start: startB,
          stride: size.ldb,
          target: stageB,
          targetStart: 0,
          targetStride: columnsB,
          rows: rowsB,
          columns: columnsB,
        });
        const sum = from === 0 ? beta : 1;
        multiply({ m: mc, n: nc, k: kc, a: stageA, b: stageB, c: stageC, transposeA, transposeB, alpha, beta: sum });
      }
      copyBlock({
        source: stageC,
        start: 0,
        stride: nc,
        target: call.c,
        targetStart: row * size.ldc + column,
        targetStride: size.ldc,
        rows: mc,
        columns: nc,
      });
    }
  }
}

function copyBlock({
  source,
  start,
  stride,
  target,
  targetStart,
  targetStride,
  rows,
  columns,
}: {
  readonly source: Float32Array;
  readonly start: number;
  readonly stride: number;
  readonly target: Float32Array;
  readonly targetStart: number;
  readonly targetStride: number;
  readonly rows: number;
  readonly columns: number;
}): void {
  for (let row = 0; row < rows; row++) {
    const from = start + row * stride;
    target.set(source.subarray(from, from + columns), targetStart + row * targetStride);
  }
}
