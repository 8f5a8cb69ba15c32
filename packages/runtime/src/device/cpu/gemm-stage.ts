/** Products of arrays that lie outside the rank's memory: cut into blocks, copied in, multiplied, copied out. */
import type { GemmCall } from '../gemm.js';
import type { CheckedGemm } from './gemm-check.js';
import type { CpuMemory } from './memory.js';

const blockM = 128;
const blockN = 512;
const floatBytes = 4;

/** A product that is staged. */
export interface StagedGemm {
  readonly memory: CpuMemory;
  readonly stage: { readonly byteOffset: number; readonly bytes: number };
  readonly call: GemmCall;
  readonly size: CheckedGemm;
  /** The driver's own cut of k. */
  readonly blockK: number;
  readonly multiply: (call: GemmCall) => void;
}

/** Room for one block of each operand. */
type Stages = Readonly<Record<'a' | 'b' | 'c', Float32Array>>;

/** A block of C. */
interface Block {
  readonly row: number;
  readonly column: number;
  readonly mc: number;
  readonly nc: number;
}

/**
 * Calls `multiply` for blocks whose operands all lie in the memory. k is cut as the driver cuts it, so the sums are
 * formed in the same order as without staging. The stage must hold one block of each operand.
 */
export function stageGemm(staged: StagedGemm): void {
  const { call, size } = staged;
  const { m, n, ldc } = size;
  const stages = stagesIn(staged);
  for (let row = 0; row < m; row += blockM) {
    for (let column = 0; column < n; column += blockN) {
      const [mc, nc] = [Math.min(blockM, m - row), Math.min(blockN, n - column)];
      const whole = { array: call.c, start: row * ldc + column, stride: ldc };
      const block = { array: stages.c, start: 0, stride: nc };
      copyBlock({ from: whole, to: block, rows: mc, columns: nc });
      multiplyBlock(staged, stages, { row, column, mc, nc });
      copyBlock({ from: block, to: whole, rows: mc, columns: nc });
    }
  }
}

function stagesIn({ memory, stage, blockK }: StagedGemm): Stages {
  const room = (after: number, length: number): Float32Array => new Float32Array(memory.buffer, after, length);
  const a = room(stage.byteOffset, blockM * blockK);
  const b = room(a.byteOffset + a.byteLength, blockK * blockN);
  const c = room(b.byteOffset + b.byteLength, blockM * blockN);
  if ((a.length + b.length + c.length) * floatBytes > stage.bytes) {
    throw new RangeError(`gemm: the stage of ${stage.bytes} bytes is too small`);
  }
  return { a, b, c };
}

/** Adds up a block of C, which lies in its stage, over blocks of k. */
function multiplyBlock({ call, size, blockK, multiply }: StagedGemm, { a, b, c }: Stages, block: Block): void {
  const { k, lda, ldb, alpha, beta, transposeA, transposeB } = size;
  const { row, column, mc, nc } = block;
  // k = 0 still has to clear or keep C.
  for (let at = 0; at < Math.max(k, 1); at += Math.max(blockK, 1)) {
    const kc = Math.min(blockK, k - at);
    const [rowsA, columnsA, startA] = transposeA ? [kc, mc, at * lda + row] : [mc, kc, row * lda + at];
    const [rowsB, columnsB, startB] = transposeB ? [nc, kc, column * ldb + at] : [kc, nc, at * ldb + column];
    copyBlock({
      from: { array: call.a, start: startA, stride: lda },
      to: { array: a, start: 0, stride: columnsA },
      rows: rowsA,
      columns: columnsA,
    });
    copyBlock({
      from: { array: call.b, start: startB, stride: ldb },
      to: { array: b, start: 0, stride: columnsB },
      rows: rowsB,
      columns: columnsB,
    });
    multiply({ m: mc, n: nc, k: kc, a, b, c, transposeA, transposeB, alpha, beta: at === 0 ? beta : 1 });
  }
}

/** A part of a matrix: its first element, and from row to row. */
interface Place {
  readonly array: Float32Array;
  readonly start: number;
  readonly stride: number;
}

function copyBlock({
  from,
  to,
  rows,
  columns,
}: {
  readonly from: Place;
  readonly to: Place;
  readonly rows: number;
  readonly columns: number;
}): void {
  for (let row = 0; row < rows; row++) {
    const at = from.start + row * from.stride;
    to.array.set(from.array.subarray(at, at + columns), to.start + row * to.stride);
  }
}
