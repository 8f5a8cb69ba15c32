/** What runs beside what, chosen together with halves, chunks and etp, against brute force. */
import { describe, expect, it } from 'vitest';
import { layoutOf } from '../../testing/strategies.js';
import { getCluster } from '../cluster/index.js';
import { costModel, hostInputs } from '../cost/index.js';
import { namedStrategies } from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { overlapKinds, type Overlap } from '../schedule/overlap.js';
import { minOf } from '../units/index.js';
import { alternativeEtps, chooseDispatch, withEtp, type Choice } from './choose.js';
import { chooseOverlap, withOverlap } from './choose-overlap.js';
import { layerPasses } from './dispatch-variants.js';
import { rivals } from './explain.js';
import { choiceName, figuresOf, findFlips } from './flips.js';
import { closePieces } from './trials.js';
import { routedBinding, simulatePass, type Workload } from './workload.js';

const cluster = getCluster('a800-2x2');
const chunkCounts = [1, 2, 4];
const halves = [namedStrategies['deduplicated-gathered'], namedStrategies.deduplicated];
const shape: MoeShape = {
  tokens: 4096,
  hiddenSize: 2048,
  expertFfn: 1408,
  experts: 16,
  topK: 4,
  layout: layoutOf({ tp: 2, dp: 2, ep: 2 }),
  dtype: 'bf16',
};

/** `held`: of 108 multiprocessors that a collective takes from the kernels beside it. */
const workloadOf = (held: number, fixed?: Overlap): Workload => ({
  cluster,
  shape: fixed === undefined ? shape : { ...shape, overlap: fixed },
  routing: { kind: 'uniform' },
  seed: 1,
  model: costModel(cluster.device, { inputs: { ...hostInputs(5e-6), multiprocessorsPerCollective: held } }),
  scope: 'layer',
});

const options = { chunkCounts, halves, expertTensorParallel: alternativeEtps(shape) };

function chosen(workload: Workload, given: Parameters<typeof chooseOverlap>[2] = {}) {
  const choice = chooseDispatch(workload, options);
  if (!choice.known) throw new Error(choice.missing.join());
  const found = chooseOverlap(workload, choice, { ...given, chunkCounts });
  if (!found.known) throw new Error(found.missing.join());
  return { before: choice.best, ...found };
}

/** The least seconds of all halves, etp, chunk counts of either pass and settings of overlap. */
function leastOfAll(workload: Workload): number {
  const overlaps = overlapKinds.reduce<Overlap[]>(
    (all, kind) => all.flatMap((one) => [one, { ...one, [kind]: false }]),
    [{}],
  );
  const totals = alternativeEtps(shape).flatMap((etp) =>
    overlaps.flatMap((overlap) => {
      const placed = { ...withEtp(shape, etp, 2), overlap };
      const binding = routedBinding(placed, workload.routing, workload.seed);
      return halves.map((half) =>
        layerPasses
          .map((pass) =>
            minOf(
              chunkCounts.map((chunks) => {
                const strategy = { ...half, chunks: { forward: chunks, backward: chunks } };
                const simulation = simulatePass({ ...workload, shape: placed }, strategy, pass, binding);
                return simulation.known ? simulation.summary.makespanSeconds : Infinity;
              }),
            ),
          )
          .reduce((sum, seconds) => sum + seconds, 0),
      );
    }),
  );
  return minOf(totals);
}

describe('overlap in the choice', () => {
  it.each([
    [0, false],
    [16, true],
  ])('is as fast as the fastest of all combinations, %i multiprocessors held', (held, apart) => {
    const workload = workloadOf(held);
    const { choice, before } = chosen(workload);
    expect(choice.best.seconds / leastOfAll(workload)).toBeCloseTo(1, 2);
    expect(choice.best.seconds).toBeLessThanOrEqual(before.seconds);
    // two collectives at a time take twice the multiprocessors: chunks are better sent one after another
    expect(choice.best.name.includes('apart')).toBe(apart);
  });

  it('stands among the close ways, and the runner-up is another way, not the same with more beside it', () => {
    const { choice, before } = chosen(workloadOf(16));
    const { best, candidates, runnerUp } = choice;
    expect(best.seconds).toBeLessThan(before.seconds);
    expect(choice.within(0)).toEqual([best]);
    expect(closePieces(choice)).toContain(best);
    const others = candidates.filter((one) => one.way !== best.way);
    expect(runnerUp?.seconds).toBe(minOf(others.map(({ seconds }) => seconds)));
    expect(rivals(choice).map(({ way }) => way)).not.toContain(best.way);
  });

  it('flips where the plan with overlap chosen is another one, and not before', () => {
    const workload = workloadOf(16);
    const few = { chunkCounts: [1, 2], halves: [namedStrategies.deduplicated, namedStrategies.gathered] };
    const planOf = (there: Workload): Choice => {
      const choice = chooseDispatch(there, few);
      const found = choice.known ? withOverlap(there, choice, few) : choice;
      if (!found.known) throw new Error(found.missing.join());
      return found;
    };
    const { best } = planOf(workload);
    expect(best.name).toContain('apart');
    const { flips } = findFlips(workload, best, { ...few, overlapGiven: [] });
    expect(flips.length).toBeGreaterThan(0);
    for (const { figure, at, until, to } of flips) {
      const figureOf = figuresOf(workload).find((one) => one.figure === figure);
      const winnerAt = (value: number) => {
        const there = figureOf?.at(value / figureOf.now).workload;
        return there && choiceName(planOf(there).best);
      };
      expect([winnerAt(at), winnerAt(until)]).toEqual([to, choiceName(best)]);
    }
  });

  it('leaves what was given, and says what it costs', () => {
    const { choice, verdicts } = chosen(workloadOf(0, { experts: false }), { given: ['experts', 'chunks'] });
    const [chunks, experts] = verdicts;
    expect(chunks).toMatchObject({ kind: 'chunks', on: true, given: true });
    expect(experts).toMatchObject({ kind: 'experts', on: false, given: true });
    expect(choice.best.overlap?.experts ?? false).toBe(false);
    for (const { otherwiseSeconds = 0 } of verdicts.filter(({ given }) => !given))
      expect(otherwiseSeconds).toBeGreaterThan(-1e-12);
  });
});
