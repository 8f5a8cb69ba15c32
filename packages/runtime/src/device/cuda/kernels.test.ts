import koffi from 'koffi';
import { describe, expect, it } from 'vitest';
import { CudaLibraries, type LibraryName } from './bindings/index.js';
import { kernelParameters } from './kernel-source.js';
import { Kernel, packParameters } from './kernels.js';

const parameters =
  kernelParameters('extern "C" __global__ void some(int *x, int rows, float scale, double limit, long long n) {}').get(
    'some',
  ) ?? [];
const values = { x: 0x7fab_1234_5670, rows: -3, scale: 0.5, limit: 0.1, n: 2 ** 40 + 7 };

describe('launching kernels', () => {
  it('packs parameters by name where C expects them', () => {
    const packed = new DataView(new ArrayBuffer(64));
    packParameters('some', parameters, values, packed);
    expect(packed.getBigUint64(0, true)).toBe(0x7fab_1234_5670n);
    expect(packed.getInt32(8, true)).toBe(-3);
    expect(packed.getFloat32(12, true)).toBe(0.5);
    expect(packed.getFloat64(16, true)).toBe(0.1);
    expect(packed.getBigInt64(24, true)).toBe(2n ** 40n + 7n);
  });

  it('refuses a parameter too few and one too many', () => {
    const packed = new DataView(new ArrayBuffer(64));
    const { x, ...rest } = values;
    expect(() => packParameters('some', parameters, rest, packed)).toThrow('some needs the parameter x');
    expect(() => packParameters('some', parameters, { ...values, row: x }, packed)).toThrow(
      'some has no parameter row',
    );
  });

  it('hands the driver the grid and the addresses of the packed parameters', () => {
    const launches: unknown[][] = [];
    const attributes: unknown[][] = [];
    const open = (name: LibraryName) => ({
      file: name.files[0],
      func:
        (declaration: string) =>
        (...given: readonly unknown[]) => {
          if (declaration.includes('cuLaunchKernel')) {
            const addresses = given[9] as BigUint64Array;
            const read = (place: number, type: string): unknown => koffi.decode(addresses[place], type);
            launches.push([...given.slice(0, 9), read(0, 'uint64_t'), read(1, 'int'), read(4, 'int64_t')]);
          }
          if (declaration.includes('cuFuncSetAttribute')) attributes.push([...given]);
          if (declaration.includes('cuModuleGetFunction')) (given[0] as BigUint64Array)[0] = 77n;
          return 0;
        },
    });
    const kernel = new Kernel('some', new CudaLibraries(0, open), 1, parameters);
    kernel.launch(5, { blocks: 9, threads: 128, sharedBytes: 1024 }, values);
    expect(launches).toEqual([[77, 9, 1, 1, 128, 1, 1, 1024, 5, values.x, -3, values.n]]);
    kernel.launch(5, { blocks: 0, threads: 128 }, values);
    expect(launches).toHaveLength(1);
    expect(attributes).toEqual([]);
    // More dynamic shared memory than every card has must be asked for, once.
    for (let i = 0; i < 2; i++) kernel.launch(5, { blocks: 1, threads: 32, sharedBytes: 100_000 }, values);
    expect(attributes).toEqual([[77, 8, 100_000]]);
  });
});
