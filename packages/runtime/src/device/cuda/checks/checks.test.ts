import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeCuda } from '../../../../testing/device/fake-cuda.js';
import { cudaAvailable } from '../bindings/index.js';
import { cacheVariable } from '../compile.js';
import { CudaContext } from '../context.js';
import { difference } from './bench.js';
import { checkNames, runCheck, summarize } from './index.js';

const { devices } = cudaAvailable();
if (devices === 0)
  process.stdout.write(
    'no CUDA device here: kernels are checked by what `npm run bundle:gpu` makes, on a host with one\n',
  );

describe.skipIf(devices === 0)('kernels of the card beside the CPU', () => {
  it.each(checkNames)('%s', (name) => {
    const context = new CudaContext();
    const failed = runCheck(context, name, 1).filter(({ passed }) => !passed);
    context.close();
    expect(failed).toEqual([]);
  });
});

describe('how checks compare', () => {
  it('is the norm of the difference over the norm of what was expected', () => {
    expect(difference([3, 4.5], [3, 4])).toBeCloseTo(0.1, 12);
    expect(difference([0, 1], [0, 0])).toBe(1);
  });

  it('never passes what is not a number, or is missing', () => {
    expect(difference([1, NaN], [1, 2]) <= 1).toBe(false);
    expect(difference([1], [1, 2]) <= 1).toBe(false);
    expect(difference([Infinity, 2], [1, 2]) <= 1).toBe(false);
  });
});

describe('the checks themselves', () => {
  let folder = '';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'monta-checks-'));
    process.env[cacheVariable] = folder;
  });

  afterAll(() => {
    delete process.env[cacheVariable];
    rmSync(folder, { recursive: true });
  });

  const onFake = (name: string) => {
    const fake = new FakeCuda(1, 2 ** 30, 0);
    // What is timed until it took long enough soon has.
    fake.clock = () => 1e3 * performance.now();
    const context = new CudaContext({ libraries: fake.libraries() });
    return { fake, context, run: () => runCheck(context, name, 1, 64) };
  };

  // No kernel runs there: that each is launched with every parameter and no other, and that memory is given back.
  it.each(checkNames)("%s runs to its end on a card of the test's making", (name) => {
    const { fake, context, run } = onFake(name);
    const results = run();
    context.close();
    expect(results.filter(({ problem }) => problem !== undefined)).toEqual([]);
    expect(results.length).toBeGreaterThan(1);
    expect(fake.memory.size).toBe(0);
  });

  it('that throw are results which did not pass, in each storage type, and memory is given back', () => {
    const { fake, context } = onFake('swiglu');
    const get = context.kernels.get.bind(context.kernels);
    context.kernels.get = (...asked) => {
      if (asked[2] === 'swiglu_forward') throw new Error('no such kernel');
      return get(...asked);
    };
    const results = runCheck(context, 'swiglu', 1, 64);
    expect(results.map(({ passed, problem, storage }) => [passed, problem, storage])).toEqual([
      [false, 'no such kernel', 'f32'],
      [false, 'no such kernel', 'bf16'],
    ]);
    expect(summarize('swiglu', results)).toMatchObject({ compared: 2, failed: results, worst: results[0] });
    context.close();
    expect(fake.memory.size).toBe(0);
  });
});
