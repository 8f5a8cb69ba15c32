import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { parseLayout } from '../layout/index.js';
import { halvesName, type MoeShape } from '../schedule/index.js';
import { chooseDispatch } from './choose.js';
import { dispatchVariants, layerPasses } from './dispatch-variants.js';
import { pickVariants, type MeasuredCase } from './pick-variants.js';
import type { Workload } from './workload.js';

const chunkCounts = [1, 4];
const shape: MoeShape = {
  tokens: 512,
  hiddenSize: 128,
  expertFfn: 256,
  experts: 8,
  topK: 2,
  layout: { ...parseLayout('tp=4,dp=2,ep=2', 8), ranksPerNode: 4 },
  dtype: 'bf16',
};
const cluster = getCluster('a800-2x4');
const workload: Workload = {
  cluster,
  shape,
  routing: { kind: 'uniform' },
  seed: 1,
  model: costModel(cluster.device),
  scope: 'dispatch',
};
const variants = dispatchVariants(shape, chunkCounts);
/** Every variant, each pass in so many seconds. */
const measured = (seconds: (name: string, chunks: number) => number): MeasuredCase[] =>
  variants.flatMap(({ name, strategy }) =>
    layerPasses.map((pass) => ({
      name,
      pass,
      chunks: strategy.chunks[pass],
      medianSeconds: seconds(name, strategy.chunks[pass]),
    })),
  );

describe('variants that are pointed out', () => {
  it("are the planner's choice whatever was measured, and the fixed one that was fastest", () => {
    const planned = chooseDispatch(workload, { chunkCounts });
    if (!planned.known) throw new Error(planned.missing.join());
    const cases = measured((name, chunks) => (name === 'sliced' && chunks === 4 ? 1 : name === 'scattered' ? 2 : 3));
    const { choice, bestFixed, duplicated } = pickVariants(cases, workload, variants, chunkCounts);
    const { strategy } = planned.best;
    expect([choice.name, choice.forward.chunks, choice.backward.chunks]).toEqual([
      halvesName(strategy),
      strategy.chunks.forward,
      strategy.chunks.backward,
    ]);
    expect([bestFixed?.name, bestFixed?.forward.chunks]).toEqual(['sliced', 4]);
    expect(duplicated).toMatchObject({ forward: { chunks: 1, pass: 'forward' }, backward: { chunks: 1 } });
  });

  it('are the next best where the choice was not measured, and none where nothing was', () => {
    const cases = measured(() => 1).filter(({ name }) => name === 'duplicated');
    expect(pickVariants(cases, workload, variants, chunkCounts).choice.name).toBe('duplicated');
    expect(() => pickVariants([], workload, variants, chunkCounts)).toThrow(/could not choose/u);
  });
});
