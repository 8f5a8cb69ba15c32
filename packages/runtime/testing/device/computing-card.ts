/**
 * What the experts' kernels and products do, in fp32, for `FakeCuda`: written from what kernels/*.cu and cuBLAS'
 * documentation say of each, an element at a time, so that what the catalogue makes of them can be compared with the
 * CPU's kernels on a host without a card.
 */
import koffi from 'koffi';
import { kernelParameters, kernelSources, readKernelSource } from '#runtime/device/cuda/kernel-source.js';
import type { FakeCalls, FakeTools } from './fake-cuda.js';

/** Arrays in the card's memory, as work sees them while it runs. */
function arraysOf({ at }: FakeTools) {
  return {
    floats: (address: number, length: number): Float32Array => {
      const { buffer, byteOffset } = at(address, 4 * length);
      return new Float32Array(buffer, byteOffset, length);
    },
    ints: (address: number, length: number): Int32Array => {
      const { buffer, byteOffset } = at(address, 4 * length);
      return new Int32Array(buffer, byteOffset, length);
    },
    addresses: (address: number, length: number): number[] => {
      const { buffer, byteOffset } = at(address, 8 * length);
      return Array.from(new BigUint64Array(buffer, byteOffset, length), Number);
    },
  };
}

type Arrays = ReturnType<typeof arraysOf>;
type Values = Readonly<Record<string, number>>;
type FakeKernel = (arrays: Arrays, values: Values, blocks: number) => void;

/** What accesses of 16 bytes, and products of batches, ask of addresses. */
const alignment = 16;

function mustBeAligned(what: string, addresses: readonly number[]): void {
  const wrong = addresses.find((address) => address % alignment !== 0);
  if (wrong !== undefined) throw new Error(`${what} at ${wrong}, which is no multiple of ${alignment}`);
}

/** Canonical and packed row of row `row` of all that moves move. */
function movedRow(
  { ints }: Arrays,
  { moves, starts, count }: Values,
  row: number,
): { canonical: number; packed: number } {
  if (moves === 0) return { canonical: row, packed: row };
  const all = ints(starts, count + 1);
  const move = all.findIndex((start, place) => start <= row && row < all[place + 1]);
  const [canonical, packed] = ints(moves + 12 * move, 2);
  return { canonical: canonical + row - all[move], packed: packed + row - all[move] };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Kernels by name, on so many blocks. */
const kernels: Readonly<Record<string, FakeKernel>> = {
  follow_moves: (arrays, values, blocks) => {
    const { floats } = arrays;
    const { from, to, width, pack } = values;
    if (pack !== 0) throw new Error('only back from a padded buffer here');
    for (let row = 0; row < blocks; row++) {
      const { canonical, packed } = movedRow(arrays, values, row);
      floats(to + 4 * canonical * width, width).set(floats(from + 4 * packed * width, width));
    }
  },
  pad_rows: ({ floats, ints }, { from, to, moves, blocks: starts, count, width }, blocks) => {
    const padded = floats(to, blocks * width).fill(0);
    if (ints(starts, count + 1)[count] !== blocks) throw new Error('blocks do not end where the padded buffer ends');
    for (let move = 0; move < count; move++) {
      const [canonical, packed, rows] = ints(moves + 12 * move, 3);
      padded.set(floats(from + 4 * canonical * width, rows * width), packed * width);
    }
  },
  swiglu_forward: (arrays, values, blocks) => {
    const { floats } = arrays;
    const { gateUp, kept, activated, ffn } = values;
    for (let row = 0; row < blocks; row++) {
      const { canonical, packed } = movedRow(arrays, values, row);
      const wide = floats(gateUp + 8 * packed * ffn, 2 * ffn);
      if (kept !== 0) floats(kept + 8 * canonical * ffn, 2 * ffn).set(wide);
      const out = floats(activated + 4 * canonical * ffn, ffn);
      for (let i = 0; i < ffn; i++) out[i] = wide[i] * sigmoid(wide[i]) * wide[ffn + i];
    }
  },
  swiglu_backward: (arrays, values) => {
    const { floats } = arrays;
    const { gateUp, dactivated, dgateUp, activated, rows, ffn } = values;
    for (let row = 0; row < rows; row++) {
      const { canonical, packed } = movedRow(arrays, values, row);
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
  swiglu_clamped_forward: ({ floats }, { gateUp, activated, ffn, alpha, limit }, blocks) => {
    for (let row = 0; row < blocks; row++) {
      const wide = floats(gateUp + 8 * row * ffn, 2 * ffn);
      const out = floats(activated + 4 * row * ffn, ffn);
      for (let i = 0; i < ffn; i++) {
        const gate = Math.min(wide[i], limit);
        out[i] = (Math.max(-limit, Math.min(limit, wide[ffn + i])) + 1) * gate * sigmoid(alpha * gate);
      }
    }
  },
  swiglu_clamped_backward: ({ floats }, { gateUp, dactivated, dgateUp, ffn, alpha, limit }, blocks) => {
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
  add_bias: ({ floats }, { y, bias, count, width }) => {
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

/** cuBLAS refuses products without terms, and columns that would lie in each other. */
function checkProduct({ transposeA, transposeB, sizes: [m, n, k], leading }: Omit<Product, 'at' | 'beta'>): void {
  if (Math.min(m, n, k) < 1) throw new Error(`a product of ${m} x ${n} x ${k}`);
  const rows = [transposeA ? k : m, transposeB ? n : k, m];
  for (const [place, one] of rows.entries())
    if (leading[place] < one) throw new Error(`columns of ${one} rows begin every ${leading[place]}`);
}

function multiply(
  { floats }: Arrays,
  { transposeA, transposeB, sizes: [m, n, k], beta, at, leading: [lda, ldb, ldc] }: Product,
): void {
  const extent = (leading: number, rows: number, columns: number): number => leading * (columns - 1) + rows;
  const a = floats(at[0], transposeA ? extent(lda, k, m) : extent(lda, m, k));
  const b = floats(at[1], transposeB ? extent(ldb, n, k) : extent(ldb, k, n));
  const c = floats(at[2], extent(ldc, m, n));
  for (let column = 0; column < n; column++)
    for (let row = 0; row < m; row++) {
      let sum = 0;
      for (let i = 0; i < k; i++)
        sum +=
          (transposeA ? a[i + row * lda] : a[row + i * lda]) * (transposeB ? b[column + i * ldb] : b[i + column * ldb]);
      c[row + column * ldc] = sum + (beta === 0 ? 0 : beta * c[row + column * ldc]);
    }
}

/** Which stream uses a workspace: one alone, or its products would write over each other's. */
function workspaces({ at }: FakeTools) {
  const streams = new Map<number, number>();
  return (workspace: number, bytes: number, stream: number): void => {
    at(workspace, bytes);
    const other = streams.get(workspace) ?? stream;
    if (other !== stream) throw new Error(`streams ${other} and ${stream} share the workspace at ${workspace}`);
    streams.set(workspace, stream);
  };
}

/** Batched products of cuBLAS; alpha is 1. */
function batchedProducts(tools: FakeTools): FakeCalls {
  const arrays = arraysOf(tools);
  const use = workspaces(tools);
  const streams = new Map<number, { readonly stream: number; readonly workspace?: number }>();
  return {
    // Takes the workspace away.
    cublasSetStream_v2: (handle: number, stream: number) => void streams.set(handle, { stream }),
    cublasSetWorkspace_v2: (handle: number, workspace: number, bytes: number) => {
      const { stream = 0 } = streams.get(handle) ?? {};
      use(workspace, bytes, stream);
      streams.set(handle, { stream, workspace });
    },
    cublasGemmBatchedEx: (...values: unknown[]) => {
      const [handle, opA, opB, m, n, k, , a, , lda, b, , ldb, , c, , ldc, batch] = values as number[];
      const beta = (values[13] as Float32Array)[0];
      const { stream, workspace } = streams.get(handle) ?? { stream: 0 };
      if (workspace === undefined) throw new Error('a batched product without a workspace of its own');
      const shape = {
        transposeA: opA === 1,
        transposeB: opB === 1,
        sizes: [m, n, k],
        leading: [lda, ldb, ldc],
      } as const;
      checkProduct(shape);
      const run = (): void => {
        const pointers = [a, b, c].map((at) => arrays.addresses(at, batch));
        for (let one = 0; one < batch; one++) {
          const [first, second, result] = pointers.map((all) => all[one]);
          mustBeAligned('a product of a batch', [first, second, result]);
          multiply(arrays, { ...shape, beta, at: [first, second, result] });
        }
      };
      tools.append(stream, run, [a, b, c, workspace]);
    },
  };
}

/** Products of cuBLASLt; alpha is 1. */
function ltProducts(tools: FakeTools): FakeCalls {
  const arrays = arraysOf(tools);
  const use = workspaces(tools);
  const layouts = new Map<number, { rows: number; columns: number; leading: number }>();
  const transposed = new Map<number, Set<number>>();
  return {
    cublasLtMatrixLayoutCreate: (
      cell: BigUint64Array,
      _type: number,
      rows: number,
      columns: number,
      leading: number,
    ) => {
      layouts.set(Number(cell[0]), { rows, columns, leading });
    },
    cublasLtMatmulDescCreate: (cell: BigUint64Array) => void transposed.set(Number(cell[0]), new Set()),
    cublasLtMatmulDescSetAttribute: (product: number, attribute: number) =>
      void transposed.get(product)?.add(attribute),
    cublasLtMatmul: (...values: unknown[]) => {
      const [, product, , a, layoutA, b, layoutB, , , , d, layoutD, , workspace, bytes, stream] = values as number[];
      const beta = (values[7] as Float32Array)[0];
      const of = [layoutA, layoutB, layoutD].map((layout) => {
        const found = layouts.get(layout);
        if (found === undefined) throw new Error(`there is no layout ${layout}`);
        return found;
      });
      const [transposeA, transposeB] = [3, 4].map((attribute) => transposed.get(product)?.has(attribute) === true);
      use(workspace, bytes, stream);
      const shape = {
        transposeA,
        transposeB,
        sizes: [of[2].rows, of[2].columns, transposeA ? of[0].rows : of[0].columns],
        leading: of.map(({ leading }) => leading) as [number, number, number],
      } as const;
      checkProduct(shape);
      tools.append(stream, () => multiply(arrays, { ...shape, beta, at: [a, b, d] }), [a, b, d, workspace]);
    },
  };
}

/** Kernels that read and write 16 bytes at a time, and their arrays of rows. */
const wide: Readonly<Record<string, readonly string[]>> = {
  follow_moves: ['from', 'to'],
  pad_rows: ['from', 'to'],
  swiglu_forward: ['gateUp', 'kept', 'activated'],
  swiglu_backward: ['gateUp', 'dactivated', 'dgateUp', 'activated'],
};

/** Calls that compute; what is launched beside the kernels above throws. */
export function computing(tools: FakeTools): FakeCalls {
  const parameters = new Map(kernelSources().flatMap((source) => [...kernelParameters(readKernelSource(source).text)]));
  const names = new Map<number, string>();
  const arrays = arraysOf(tools);
  return {
    ...batchedProducts(tools),
    ...ltProducts(tools),
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
      const list = parameters.get(name) ?? [];
      // The driver copies parameters before it returns.
      const values = list.map(({ name: parameter, type }, place): [string, number] => {
        const view = new DataView(koffi.view(addresses[place], read[type]));
        if (type === 'float') return [parameter, view.getFloat32(0, true)];
        if (type === 'double') return [parameter, view.getFloat64(0, true)];
        return [parameter, type === 'int' ? view.getInt32(0, true) : Number(view.getBigUint64(0, true))];
      });
      const byName = Object.fromEntries(values);
      mustBeAligned(
        name,
        (wide[name] ?? []).map((parameter) => byName[parameter]),
      );
      const touches = list.flatMap(({ name: parameter, type }) => (type === 'pointer' ? [byName[parameter]] : []));
      tools.append(stream, () => run(arrays, byName, blocks), touches);
    },
  };
}
