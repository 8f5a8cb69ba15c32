/** Products of arrays that lie outside the rank's memory: cut into blocks, copied in, multiplied, copied out. */
import type { GemmCall } from '../gemm.js';
import type { CheckedGemm } from './gemm-check.js';
import type { CpuMemory } from './memory.js';

const blockM = 128;
const blockN = 512;
const floatBytes = 4;

/**
 * Calls `multiply` for blocks whose operands all lie in the memory. `blockK` is the driver's own cut of k, so the sums are formed in
 * the same order as without staging. The stage must hold one block of each operand.
 */
export function stageGemm(
  memory: CpuMemory,
  stage: { readonly byteOffset: number; readonly bytes: number },
  call: GemmCall,
  size: CheckedGemm,
  blockK: number,
  multiply: (call: GemmCall) => void,
): void {
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
      copyBlock(call.c, row * size.ldc + column, size.ldc, stageC, 0, nc, mc, nc);
      // k = 0 still has to clear or keep C.
      for (let from = 0; from < Math.max(k, 1); from += Math.max(blockK, 1)) {
        const kc = Math.min(blockK, k - from);
        const [rowsA, columnsA, startA] = transposeA
          ? [kc, mc, from * size.lda + row]
          : [mc, kc, row * size.lda + from];
        const [rowsB, columnsB, startB] = transposeB
          ? [nc, kc, column * size.ldb + from]
          : [kc, nc, from * size.ldb + column];
        copyBlock(call.a, startA, size.lda, stageA, 0, columnsA, rowsA, columnsA);
        copyBlock(call.b, startB, size.ldb, stageB, 0, columnsB, rowsB, columnsB);
        const sum = from === 0 ? beta : 1;
        multiply({ m: mc, n: nc, k: kc, a: stageA, b: stageB, c: stageC, transposeA, transposeB, alpha, beta: sum });
      }
      copyBlock(stageC, 0, nc, call.c, row * size.ldc + column, size.ldc, mc, nc);
    }
  }
}

function copyBlock(
  source: Float32Array,
  start: number,
  stride: number,
  target: Float32Array,
  targetStart: number,
  targetStride: number,
  rows: number,
  columns: number,
): void {
  for (let row = 0; row < rows; row++) {
    const from = start + row * stride;
    target.set(source.subarray(from, from + columns), targetStart + row * targetStride);
  }
}
