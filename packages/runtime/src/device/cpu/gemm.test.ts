import { afterEach, describe, expect, it, vi } from 'vitest';
import { createGemm } from './gemm.js';
import { loadOpenblas } from './gemm-openblas.js';
import { referenceGemm } from './gemm-reference.js';
import { CpuMemory } from './memory.js';

const memory = CpuMemory.create({ bytes: 1 << 20 });

afterEach(() => vi.unstubAllEnvs());

function attempt(take: () => string): string {
  try {
    return take();
  } catch (error) {
    return String(error);
  }
}

/** Small whole numbers: every order of summation is exact. */
function numbers(length: number, step: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => ((i * step) % 11) - 5);
}

describe('createGemm', () => {
  it('takes wasm unless the environment or the caller says otherwise', () => {
    vi.stubEnv('MONTA_GEMM', undefined);
    expect(createGemm(memory).name).toBe('wasm');
    vi.stubEnv('MONTA_GEMM', 'reference');
    expect(createGemm(memory).name).toBe('reference');
    expect(createGemm(memory, { prefer: 'wasm' }).name).toBe('wasm');
    vi.stubEnv('MONTA_GEMM', 'blas');
    expect(() => createGemm(memory)).toThrow(/MONTA_GEMM is 'blas'.*wasm/u);
  });

  const open = loadOpenblas();
  it('takes OpenBLAS when asked, or says that it cannot', () => {
    const outcome = attempt(() => createGemm(memory, { prefer: 'openblas' }).name);
    expect(outcome).toMatch(open === undefined ? /libopenblas0/u : /^openblas$/u);
  });

  it('has backends that agree on every transposition, alpha, beta and on empty sizes', () => {
    const [m, n, k] = [5, 7, 6];
    const backends = [createGemm(memory, { prefer: 'wasm' }), ...(open === undefined ? [] : [open])];
    for (const gemm of backends) {
      for (const transposeA of [false, true]) {
        for (const transposeB of [false, true]) {
          for (const [beta, alpha, depth] of [
            [0, 1, k],
            [1, 2, k],
            [1, 0, k],
            [0, 1, 0],
            [1, 1, 0],
          ] as const) {
            const call = {
              m,
              n,
              k: depth,
              a: numbers(m * k, 7),
              b: numbers(k * n, 3),
              transposeA,
              transposeB,
              alpha,
              beta,
            };
            const c = numbers(m * n, 5);
            const expected = Float32Array.from(c);
            gemm({ ...call, c });
            referenceGemm({ ...call, c: expected });
            expect(c).toEqual(expected);
          }
        }
      }
      expect(() =>
        gemm({ m: 0, n: 3, k: 2, a: new Float32Array(0), b: new Float32Array(6), c: new Float32Array(0) }),
      ).not.toThrow();
    }
  });
});
