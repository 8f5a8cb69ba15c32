/** One rank for all that are alike, against the simulation of all ranks. */
import { describe, expect, it } from 'vitest';
import { randomWorld } from '../../testing/random-worlds.js';
import { costModel } from '../cost/index.js';
import { searchedHalves, unsupportedStrategy } from '../schedule/dispatchers/strategies.js';
import { placedOn } from '../layout/mesh.js';
import { placeOf, simulate, type Simulation } from '../simulate/index.js';
import { Random } from '../units/random.js';
import { passProgram, routedBinding, type Workload } from './workload.js';

/** Relative difference that rounding may make. */
const rounding = 1e-9;

const close = (one: number, other: number): void => {
  expect(Math.abs(one - other)).toBeLessThanOrEqual(rounding * Math.max(Math.abs(one), Math.abs(other), 1e-12));
};

function same(one: Simulation, other: Simulation): void {
  close(one.summary.makespanSeconds, other.summary.makespanSeconds);
  expect(one.summary.times.hiddenShare).toBeCloseTo(other.summary.times.hiddenShare, 9);
  one.summary.ports.forEach((port, index) => {
    close(port.bytes, other.summary.ports[index]?.bytes ?? NaN);
    close(port.utilisation, other.summary.ports[index]?.utilisation ?? NaN);
  });
  expect(
    one.summary.collectives.map(({ name, group, ranks, nodes, detail }) => [name, group, ranks, nodes, detail]),
  ).toEqual(
    other.summary.collectives.map(({ name, group, ranks, nodes, detail }) => [name, group, ranks, nodes, detail]),
  );
  const ends = (of: Simulation): Map<string, number> =>
    new Map(
      of.trace.spans.map((span) => [
        `${span.rank} ${span.node} ${span.operation} ${span.collective?.members.join()}`,
        span.end,
      ]),
    );
  const [first, second] = [ends(one), ends(other)];
  expect(first.size).toBe(second.size);
  for (const [key, end] of first) close(end, second.get(key) ?? NaN);
}

describe('ranks that are alike', () => {
  it('are simulated as one with the same result, on random clusters, layouts and strategies', () => {
    const random = new Random(20);
    let folded = 0;
    for (let draw = 0; draw < 150; draw++) {
      const { cluster, layout: plain } = randomWorld(random);
      const layout = placedOn(plain, cluster);
      const { ep, etp } = layout;
      const even = random.integer(4) > 0;
      const experts = ep * (1 + random.integer(3));
      const shape = {
        tokens: even ? 8 * experts * layout.tp * (1 + random.integer(8)) : 1 + random.integer(500),
        hiddenSize: 1024,
        expertFfn: 512 * etp,
        experts,
        topK: Math.min(experts, 1 + random.integer(3)),
        layout,
        dtype: 'bf16',
      } as const;
      const choices = searchedHalves().filter((halves) => unsupportedStrategy(halves, shape) === undefined);
      const halves = choices[random.integer(choices.length)];
      if (halves === undefined) continue;
      const algorithm = (['nccl', 'ring', 'direct', 'tree'] as const)[random.integer(4)] ?? 'nccl';
      const model = costModel(cluster.device, { inputs: { algorithm } });
      const scope = random.integer(2) === 0 ? 'layer' : 'dispatch';
      const workload: Workload = { cluster, shape, routing: { kind: 'uniform' }, seed: 1, model, scope };
      const chunks = 1 + random.integer(4);
      const pass = random.integer(2) === 0 ? 'forward' : 'backward';
      const job = {
        place: placeOf(layout, cluster),
        programs: [passProgram(workload, { ...halves, chunks: { forward: chunks, backward: chunks } }, pass)],
        bindings: [routedBinding(shape, workload.routing, 1)],
        model,
      };
      const [one, all] = [simulate(job), simulate({ ...job, ranks: 'all' })];
      if (!one.known || !all.known) throw new RangeError('not priced');
      if (one.summary.events < all.summary.events) folded += 1;
      same(one, all);
    }
    expect(folded).toBeGreaterThan(75);
  });
});
