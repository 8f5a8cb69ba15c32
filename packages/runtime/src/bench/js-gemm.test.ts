import { describe, expect, it } from 'vitest';
import { referenceGemm } from '../device/cpu/gemm-reference.js';
import { jsGemm } from './js-gemm.js';

describe('jsGemm', () => {
  it('is the product', () => {
    const [m, n, k] = [8, 12, 5];
    const a = Float32Array.from({ length: m * k }, (_, i) => ((i * 7) % 11) - 5);
    const b = Float32Array.from({ length: k * n }, (_, i) => ((i * 3) % 13) - 6);
    const [c, expected] = [new Float32Array(m * n), new Float32Array(m * n)];
    jsGemm({ m, n, k, a, b, c });
    referenceGemm({ m, n, k, a, b, c: expected });
    expect(c).toEqual(expected);
    expect(() => jsGemm({ m: 6, n, k, a, b, c })).toThrow(RangeError);
  });
});
