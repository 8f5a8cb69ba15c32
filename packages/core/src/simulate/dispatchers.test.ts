/** Real templates through the simulator. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { costModel } from '../cost/index.js';
import { GroupRouting } from '../routing/group-routing.js';
import { RoutingBinding } from '../schedule/routing-binding.js';
import { dispatchProgram } from '../schedule/dispatch-only.js';
import { namedStrategies } from '../schedule/dispatchers/strategies.js';
import type { StrategyName } from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { placeOf, simulate } from './simulate.js';
import type { Simulation } from './simulate.js';
import { a800Testbed } from '../../testing/a800-testbed.js';
import {
  collective,
  kernel,
  noBinding,
  programOf,
  region,
  template,
  testCluster,
  testModel,
  testPlace,
} from '../../testing/simulate-jobs.js';
import { maxOf } from '../units/index.js';

/** The 2x70B case of the byte tables in moe-communication.md 2.2: T = h = 8192, k = 2, EP = E = 2, TP = 8. */
const shape: MoeShape = {
  tokens: 8192,
  hiddenSize: 8192,
  expertFfn: 28672,
  experts: 2,
  topK: 2,
  layout: { tp: 8, cp: 1, dp: 2, pp: 1, ep: 2, etp: 8, edp: 1, sequenceParallel: true },
  dtype: 'bf16',
};

const cluster = a800Testbed;

function run(name: StrategyName, sequenceParallel: boolean, chunks = 1): Simulation {
  const layered = { ...shape, layout: { ...shape.layout, sequenceParallel } };
  // k = E = 2: every token goes to both experts
  const counts = new Int32Array(16 * 2).fill(shape.tokens / 8);
  const result = simulate({
    place: placeOf(layered.layout, cluster),
    programs: [
      dispatchProgram(layered, { ...namedStrategies[name], chunks: { forward: chunks, backward: 1 } }, ['forward']),
    ],
    bindings: [new RoutingBinding(layered.layout, () => new GroupRouting(layered, counts))],
    model: costModel(cluster.device),
  });
  if (!result.known) throw new Error(result.missing.join());
  return result;
}

function sentMegabytes(result: Simulation, tier: number): number {
  const out = result.summary.ports.filter((port) => port.tier === tier && port.id.endsWith('/out'));
  return maxOf(out.map((port) => port.bytes)) / 1e6;
}

describe('dispatch and combine of the 2x70B case', () => {
  // inter-node and NVLink megabytes per rank, both directions of the layer, from the byte table (S0, S1 as DeepSpeed,
  // S1 with RS)
  it.each([
    ['duplicated', false, 268.4, 469.8],
    ['sliced', false, 33.6, 939.5],
    ['scattered', true, 33.6, 469.8],
  ] as const)('moves what the byte table says: %s', (name, sequenceParallel, inter, intra) => {
    const result = run(name, sequenceParallel);
    expect(sentMegabytes(result, 1)).toBeCloseTo(inter, 1);
    expect(sentMegabytes(result, 0)).toBeCloseTo(intra, 1);
  });

  it('is held by the tier with the most bytes per bandwidth', () => {
    // 268.4 / 25 against 469.8 / 160, and 33.6 / 25 against 469.8 / 160
    expect(run('duplicated', false).summary.held.find((each) => each.kind === 'port')?.name).toBe('network');
    expect(run('scattered', true).summary.binding).toMatchObject({ name: 'nvlink', kind: 'port' });
  });

  it('hides communication only when it is cut into chunks', () => {
    const whole = run('scattered', true);
    const cut = run('scattered', true, 4);
    expect(whole.summary.times.hiddenShare).toBeCloseTo(0, 6);
    expect(cut.summary.times.hiddenShare).toBeGreaterThan(0.2);
    expect(cut.summary.makespanSeconds).toBeLessThan(whole.summary.makespanSeconds);
    expect(sentMegabytes(cut, 0)).toBeCloseTo(sentMegabytes(whole, 0), 6);
    expect(sentMegabytes(cut, 1)).toBeCloseTo(sentMegabytes(whole, 1), 6);
  });
});

describe('better hardware', () => {
  const link = fc.double({ min: 0.1, max: 10, noNaN: true });
  it('never makes a chain of operations slower', () => {
    const step = fc.record({ kind: fc.nat(3), amount: fc.integer({ min: 1, max: 40 }) });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 8 }),
        link,
        link,
        link,
        link,
        (steps, inter, intra, more, faster) => {
          const operations = steps.map(({ kind, amount }, i) => {
            const after = i === 0 ? [] : [`o${i - 1}`];
            if (kind === 0) return kernel(`o${i}`, amount, after);
            const name = (['all_to_all', 'all_gather', 'all_reduce'] as const)[kind - 1] ?? 'all_to_all';
            return collective(`o${i}`, kind === 1 ? 'inter' : 'intra', name, kind === 1 ? 'ep' : 'world', `x${i}`, {
              after,
            });
          });
          const regions = steps.map(({ amount }, i) => region(`x${i}`, amount * 4));
          const program = programOf([template('t', regions, operations)]);
          const seconds = (a: number, b: number): number => {
            const place = testCluster(2, 2, { inter: a, intra: b, ports: 1 });
            const result = simulate({
              place: testPlace(place),
              programs: [program],
              bindings: [noBinding],
              model: testModel(place),
            });
            return result.known ? result.summary.makespanSeconds : NaN;
          };
          expect(seconds(inter + more, intra + faster)).toBeLessThanOrEqual(seconds(inter, intra) * (1 + 1e-12));
        },
      ),
      { seed: 6, numRuns: 80 },
    );
  });
});
