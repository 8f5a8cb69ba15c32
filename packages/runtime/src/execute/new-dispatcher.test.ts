/**
 * A dispatcher that nobody else knows: it stands in one file, and traffic, simulator, planner and executor take it by
 * its name.
 */
import {
  completeModel,
  dispatchVariants,
  getCluster,
  GroupRouting,
  InputError,
  moeLayerProgram,
  moeShape,
  parseDispatch,
  placedOn,
  placeOf,
  predictStep,
  costModel,
  RoutingBinding,
  sampleCounts,
  simulate,
  strategyLabel,
  traffic,
  unsupportedStrategy,
  type Program,
  type StepShape,
  type Strategy,
} from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtTesting } from '../../testing/built.js';
import {
  casesOf,
  compareToReference,
  layoutOf,
  model,
  rankCase,
  run,
  strategyOf,
} from '../../testing/execute/rank-cases.js';
import { addToy } from '../../testing/execute/toy-dispatcher.js';

let remove: () => void;
beforeAll(() => {
  remove = addToy();
});
afterAll(() => remove());

const workerModule = builtTesting('execute/toy-dispatcher.worker');
const strategies = (forward: number, backward: number): Strategy[] => [
  strategyOf('toy', 'toy', forward, backward),
  strategyOf('sliced', 'scattered', forward, backward),
];

describe('a new dispatcher on real ranks', () => {
  it.each([
    [4, layoutOf({ tp: 2, dp: 2, ep: 2 })],
    [4, layoutOf({ tp: 2, dp: 2, ep: 2, sequenceParallel: true })],
    [8, layoutOf({ tp: 2, dp: 4, ep: 2 })],
  ] as const)(
    'of %i has the losses and gradients of another bit for bit, and those of the reference',
    async (ranks, layout) => {
      const placed = { ...layout, ranksPerNode: 2 };
      const cases = [1, 3].flatMap((chunks) => casesOf(placed, '', {}, {}, strategies(chunks, 2)).map(rankCase));
      expect(cases).toHaveLength(4);
      const results = await run(ranks, cases, { workerModule });
      for (const first of [0, 2]) {
        const [own, other] = results.slice(first, first + 2);
        expect({ ...own, name: '' }).toEqual({ ...other, name: '' });
      }
      expect(results.flatMap((result, i) => compareToReference(result, cases[i]).wrong)).toEqual([]);
    },
  );

  it('is refused with its own words, or as unknown where nobody added it', async () => {
    const split = { ...layoutOf({ tp: 2, dp: 2, ep: 2 }), ranksPerNode: 4 };
    expect(unsupportedStrategy(strategies(1, 1)[0], { layout: split })).toContain('a whole node');
    const given = casesOf({ ...split, ranksPerNode: 2 }, '', {}, {}, strategies(1, 1)).map(rankCase);
    await expect(run(4, given)).rejects.toThrow(/there is no dispatch half "toy"/);
  });
});

describe('a new dispatcher in core', () => {
  const cluster = getCluster('a800-2x8');
  const large = completeModel({ ...model, name: 'large', hiddenSize: 1024, expertFfn: 2048, vocabSize: 2048 });
  const step = (strategy: Strategy): StepShape => ({
    model: large,
    layout: placedOn(layoutOf({ tp: 8, dp: 2, ep: 2 }), cluster),
    sequence: 512,
    sequences: 1,
    microBatches: 1,
    dtype: 'bf16',
    strategy,
  });
  const draw = { sources: 16, tokensPerSource: 64, experts: 8, topK: 3, seed: 5 };
  const counts = sampleCounts({ ...draw, routing: { kind: 'zipf', exponent: 0.5 } });
  const layer = (strategy: Strategy) => {
    const shape = moeShape(step(strategy));
    const routing = new GroupRouting(shape, Int32Array.from(counts.flatMap((row) => [...row])));
    return {
      program: moeLayerProgram(shape, strategy),
      layout: shape.layout,
      binding: new RoutingBinding(shape.layout, () => routing),
    };
  };
  const groupsOf = ({ templates }: Program): string[] =>
    Object.values(templates).flatMap(({ operations }) =>
      operations.flatMap(({ body }) => (body.kind === 'collective' ? [body.group] : [])),
    );

  it('puts the bytes of its twin on every port, over groups of its own', () => {
    const [own, other] = strategies(2, 3).map((strategy) => layer(strategy));
    const [ownBytes, otherBytes] = [own, other].map((one) => traffic({ ...one, cluster }));
    expect(ownBytes.ports).toEqual(otherBytes.ports);
    expect(ownBytes.sent).toEqual(otherBytes.sent);
    expect(new Set(groupsOf(own.program))).toEqual(new Set(['expert', 'rail', 'node', 'tp']));
    expect(groupsOf(other.program)).not.toContain('rail');
  });

  it('takes its twin’s time in the simulator, and a step can be predicted', () => {
    const seconds = strategies(2, 2).map((strategy) => {
      const { program, layout, binding } = layer(strategy);
      const place = placeOf(layout, cluster);
      const result = simulate({ place, programs: [program], bindings: [binding], model: costModel(cluster.device) });
      if (!result.known) throw new Error(result.missing.join());
      return result.summary.makespanSeconds;
    });
    expect(seconds[0] / seconds[1]).toBeCloseTo(1, 9);
    const [own, other] = strategies(2, 2).map((strategy) => {
      const workload = { cluster, step: step(strategy), routing: { kind: 'uniform' } as const, seed: 1 };
      const predicted = predictStep({ ...workload, model: costModel(cluster.device) });
      if (!predicted.known) throw new Error(predicted.missing.join());
      return predicted.seconds;
    });
    expect(own / other).toBeCloseTo(1, 9);
  });

  it('is read, shown and tried by its name', () => {
    expect(parseDispatch('toy+toy:2/3')).toEqual(strategies(2, 3)[0]);
    expect(strategyLabel(strategies(2, 3)[0])).toBe('toy+toy, 2 / 3 chunks');
    const names = dispatchVariants(moeShape(step(strategies(1, 1)[0])), [1]).map(({ name }) => name);
    expect(names).toContain('toy+toy');
    expect(names).toContain('toy+scattered');
    remove();
    expect(() => parseDispatch('toy+toy')).toThrow(InputError);
    remove = addToy();
  });
});
