import { scaleGroup } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { kernelParameters, kernelSources, readKernelSource } from './kernel-source.js';

describe('kernel sources', () => {
  it('reads the headers that a source includes', () => {
    const source = readKernelSource('router');
    expect([...source.headers.keys()]).toEqual(['common.cuh']);
    expect(source.headers.get('common.cuh')).toContain('typedef Bf16 Element');
  });

  it('finds every kernel of every source, and nothing in it that cannot be passed', () => {
    const kernels = kernelSources().flatMap((name) => {
      const { text } = readKernelSource(name);
      const found = [...kernelParameters(text).keys()];
      expect(found).toHaveLength([...text.matchAll(/__global__/g)].length);
      return found;
    });
    expect(new Set(kernels).size).toBe(kernels.length);
    expect(kernels).toContain('router_select');
  });

  it('groups rows in fp8 as plans count their bytes', () => {
    const [, group] = /scaleGroup = (\d+);/u.exec(readKernelSource('fp8').text) ?? [];
    expect(Number(group)).toBe(scaleGroup);
  });

  it('takes parameters from the text: comments apart, aligned as C aligns them', () => {
    const text = `// extern "C" __global__ void no(int x)
      extern "C" __global__ void
      __launch_bounds__(256) some(const Element *__restrict__ x, // input
        int rows, long long count, float scale, double limit, int *y) {}`;
    expect(Object.fromEntries(kernelParameters(text))).toEqual({
      some: [
        { name: 'x', type: 'pointer', offset: 0 },
        { name: 'rows', type: 'int', offset: 8 },
        { name: 'count', type: 'long', offset: 16 },
        { name: 'scale', type: 'float', offset: 24 },
        { name: 'limit', type: 'double', offset: 32 },
        { name: 'y', type: 'pointer', offset: 40 },
      ],
    });
  });

  it('refuses a parameter that nothing here can pass', () => {
    expect(() => kernelParameters('extern "C" __global__ void odd(short x) {}')).toThrow(
      "odd has a parameter of type 'short'",
    );
  });

  it('uses no atomics on floats: sums would depend on the order in which blocks run', () => {
    for (const name of kernelSources()) {
      const atomics = [...readKernelSource(name).text.matchAll(/atomic\w+\(([^,]*)/g)].map(([, first]) => first);
      // Counts are integers: their sums do not depend on the order.
      expect(atomics.filter((target) => !target.startsWith('&counts['))).toEqual([]);
    }
  });
});
