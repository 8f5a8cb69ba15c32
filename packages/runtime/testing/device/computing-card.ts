/**
 * What the experts' kernels and products do, in fp32, for `FakeCuda`: written from what kernels/*.cu and cuBLAS'
 * documentation say of each, an element at a time, so that what the catalogue makes of them can be compared with the
 * CPU's kernels on a host without a card.
 */
import koffi from 'koffi';
import { kernelParameters, kernelSources, readKernelSource } from '#runtime/device/cuda/kernel-source.js';
import type { FakeCalls } from './fake-cuda.js';

const bytesAt = (address: number, bytes: number): ArrayBuffer => koffi.view(BigInt(address), bytes);
const floats = (address: number, length: number): Float32Array => new Float32Array(bytesAt(address, 4 * length));
const ints = (address: number, length: number): Int32Array => new Int32Array(bytesAt(address, 4 * length));

type Values = Readonly<Record<string, number>>;

/** Canonical and packed row of row `row` of all that moves move. */
function movedRow({ moves, starts, count }: Values, row: number): { canonical: number; packed: number } {
  if (moves === 0) return { canonical: row, packed: row };
  const all = ints(starts, count + 1);
  const move = all.findIndex((start, place) => start <= row && row < all[place + 1]);
  const [canonical, packed] = ints(moves + 12 * move, 2);
  return { canonical: canonical + row - all[move], packed: packed + row - all[move] };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Kernels by name, on so many blocks. */
const kernels: Readonly<Record<string, (values: Values, blocks: number) => void>> = {
  follow_moves: (values, blocks) => {
    const { from, to, width, pack } = values;
    if (pack !== 0) throw new Error('only back from a padded buffer here');
    for (let row = 0; row < blocks; row++) {
      const { canonical, packed } = movedRow(values, row);
      floats(to + 4 * canonical * width, width).set(floats(from + 4 * packed * width, width));
    }
  },
  pad_rows: ({ from, to, moves, blocks: starts, count, width }, blocks) => {
    const padded = floats(to, blocks * width).fill(0);
    if (ints(starts, count + 1)[count] !== blocks) throw new Error('blocks do not end where the padded buffer ends');
    for (let move = 0; move < count; move++) {
      const [canonical, packed, rows] = ints(moves + 12 * move, 3);
      padded.set(floats(from + 4 * canonical * width, rows * width), packed * width);
    }
  },
  swiglu_forward: (values, blocks) => {
    const { gateUp, kept, activated, ffn } = values;
    for (let row = 0; row < blocks; row++) {
      const { canonical, packed } = movedRow(values, row);
      const wide = floats(gateUp + 8 * packed * ffn, 2 * ffn);
      if (kept !== 0) floats(kept + 8 * canonical * ffn, 2 * ffn).set(wide);
      const out = floats(activated + 4 * canonical * ffn, ffn);
      for (let i = 0; i < ffn; i++) out[i] = wide[i] * sigmoid(wide[i]) * wide[ffn + i];
    }
  },
  swiglu_backward: (values) => {
    const { gateUp, dactivated, dgateUp, activated, rows, ffn } = values;
    for (let row = 0; row < rows; row++) {
      const { canonical, packed } = movedRow(values, row);
      const wide = floats(gateUp + 8 * canonical * ffn, 2 * ffn);
      const upstream = floats(dactivated + 4 * packed * ffn, ffn).slice();
      const gradient = floats(dgateUp + 8 * canonical * ffn, 2 * ffn);
      for (let i = 0; i < ffn; i++) {
        const [gate, up] = [wide[i], wide[ffn + i]];
        const s = sigmoid(gate);
        gradient[i] = upstream[i] * up * s * (1 + gate * (1 - s));
        gradient[ffn + i] = upstream[i] * gate * s;
        if (activated !== 0) floats(activated + 4 * (canonical * ffn + i), 1)[0] = gate * s * up;
      }
    }
  },
  swiglu_clamped_forward: ({ gateUp, activated, ffn, alpha, limit }, blocks) => {
    for (let row = 0; row < blocks; row++) {
      const wide = floats(gateUp + 8 * row * ffn, 2 * ffn);
      const out = floats(activated + 4 * row * ffn, ffn);
      for (let i = 0; i < ffn; i++) {
        const gate = Math.min(wide[i], limit);
        out[i] = (Math.max(-limit, Math.min(limit, wide[ffn + i])) + 1) * gate * sigmoid(alpha * gate);
      }
    }
  },
  swiglu_clamped_backward: ({ gateUp, dactivated, dgateUp, ffn, alpha, limit }, blocks) => {
    for (let row = 0; row < blocks; row++) {
      const wide = floats(gateUp + 8 * row * ffn, 2 * ffn);
      const upstream = floats(dactivated + 4 * row * ffn, ffn);
      const gradient = floats(dgateUp + 8 * row * ffn, 2 * ffn);
      for (let i = 0; i < ffn; i++) {
        const [gate, up] = [Math.min(wide[i], limit), Math.max(-limit, Math.min(limit, wide[ffn + i]))];
        const s = sigmoid(alpha * gate);
        const [bounded, upBounded] = [wide[i] > limit, Math.abs(wide[ffn + i]) > limit];
        gradient[i] = bounded ? 0 : upstream[i] * (up + 1) * s * (1 + alpha * gate * (1 - s));
        gradient[ffn + i] = upBounded ? 0 : upstream[i] * gate * s;
      }
    }
  },
  add_bias: ({ y, bias, count, width }) => {
    const [rows, added] = [floats(y, count), floats(bias, width)];
    for (let i = 0; i < count; i++) rows[i] += added[i % width];
  },
};

/** C = op(A) op(B) + beta C, columns first, as cuBLAS counts; fp32. */
interface Product {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly sizes: readonly [m: number, n: number, k: number];
  readonly beta: number;
  readonly at: readonly [a: number, b: number, c: number];
  /** From one column to the next. */
  readonly leading: readonly [a: number, b: number, c: number];
}

function multiply({ transposeA, transposeB, sizes: [m, n, k], beta, at, leading: [lda, ldb, ldc] }: Product): void {
  const a = floats(at[0], lda * (transposeA ? m : k));
  const b = floats(at[1], ldb * (transposeB ? k : n));
  const c = floats(at[2], ldc * n);
  for (let column = 0; column < n; column++)
    for (let row = 0; row < m; row++) {
      let sum = 0;
      for (let i = 0; i < k; i++)
        sum +=
          (transposeA ? a[i + row * lda] : a[row + i * lda]) * (transposeB ? b[column + i * ldb] : b[i + column * ldb]);
      c[row + column * ldc] = sum + (beta === 0 ? 0 : beta * c[row + column * ldc]);
    }
}

/** Batched products of cuBLAS; alpha is 1. */
function batchedProducts(append: (stream: number, run: () => void) => void): FakeCalls {
  let stream = 0;
  return {
    cublasSetStream_v2: (_handle: number, to: number) => void (stream = to),
    cublasGemmBatchedEx: (...values: unknown[]) => {
      const [, opA, opB, m, n, k, , a, , lda, b, , ldb, , c, , ldc, batch] = values as number[];
      const beta = (values[13] as Float32Array)[0];
      append(stream, () => {
        const pointers = [a, b, c].map((at) => new BigUint64Array(bytesAt(at, 8 * batch)));
        for (let one = 0; one < batch; one++)
          multiply({
            transposeA: opA === 1,
            transposeB: opB === 1,
            sizes: [m, n, k],
            beta,
            at: pointers.map((all) => Number(all[one])) as [number, number, number],
            leading: [lda, ldb, ldc],
          });
      });
    },
  };
}

/** Products of cuBLASLt; alpha is 1. */
function ltProducts(append: (stream: number, run: () => void) => void): FakeCalls {
  const layouts = new Map<number, { rows: number; columns: number; leading: number }>();
  const transposed = new Map<number, Set<number>>();
  let next = 1e6;
  return {
    cublasLtMatrixLayoutCreate: (
      cell: BigUint64Array,
      _type: number,
      rows: number,
      columns: number,
      leading: number,
    ) => {
      layouts.set(next, { rows, columns, leading });
      cell[0] = BigInt(next++);
    },
    cublasLtMatmulDescCreate: (cell: BigUint64Array) => {
      transposed.set(next, new Set());
      cell[0] = BigInt(next++);
    },
    cublasLtMatmulDescSetAttribute: (product: number, attribute: number) =>
      void transposed.get(product)?.add(attribute),
    cublasLtMatmul: (...values: unknown[]) => {
      const [, product, , a, layoutA, b, layoutB, , , , d, layoutD, , , , stream] = values as number[];
      const beta = (values[7] as Float32Array)[0];
      const of = [layoutA, layoutB, layoutD].map(
        (layout) => layouts.get(layout) ?? { rows: 0, columns: 0, leading: 0 },
      );
      const [transposeA, transposeB] = [3, 4].map((attribute) => transposed.get(product)?.has(attribute) === true);
      append(stream, () =>
        multiply({
          transposeA,
          transposeB,
          sizes: [of[2].rows, of[2].columns, transposeA ? of[0].rows : of[0].columns],
          beta,
          at: [a, b, d],
          leading: of.map(({ leading }) => leading) as [number, number, number],
        }),
      );
    },
  };
}

/** Calls that compute; what is launched beside the kernels above throws. */
export function computing(append: (stream: number, run: () => void) => void): FakeCalls {
  const parameters = new Map(kernelSources().flatMap((source) => [...kernelParameters(readKernelSource(source).text)]));
  const names = new Map<number, string>();
  return {
    ...batchedProducts(append),
    ...ltProducts(append),
    cuModuleGetFunction: (cell: BigUint64Array, _module: number, name: string) => {
      names.set(names.size + 1, name);
      cell[0] = BigInt(names.size);
    },
    cuLaunchKernel: (...given: unknown[]) => {
      const [kernel, blocks, , , , , , , stream] = given as number[];
      const addresses = given[9] as BigUint64Array;
      const name = names.get(kernel) ?? '';
      const run = kernels[name];
      if (run === undefined) throw new Error(`this card does not compute ${name}`);
      const read = { pointer: 8, int: 4, long: 8, float: 4, double: 8 } as const;
      // The driver copies parameters before it returns.
      const values = (parameters.get(name) ?? []).map(({ name: parameter, type }, place): [string, number] => {
        const view = new DataView(koffi.view(addresses[place], read[type]));
        if (type === 'float') return [parameter, view.getFloat32(0, true)];
        if (type === 'double') return [parameter, view.getFloat64(0, true)];
        return [parameter, type === 'int' ? view.getInt32(0, true) : Number(view.getBigUint64(0, true))];
      });
      append(stream, () => run(Object.fromEntries(values), blocks));
    },
  };
}
