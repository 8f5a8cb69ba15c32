import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { getCluster } from '../../cluster/index.js';
import { estimateStep } from '../../estimate/index.js';
import { getModel } from '../../model/index.js';
import { InputError } from '../../units/errors.js';
import { EstimateModel, Search } from '../search/index.js';
import { planProblem } from '../../../testing/plan-problem.js';
import { isPlanDocument, planJsonSchema, readPlan, type PlanDocument } from './plan-document.js';
import { planDocument, settingOfPlan } from './write-plan.js';

const names = { model: 'mixtral-8x7b', cluster: 'h100-2x8' };

function made(): { plan: PlanDocument; seconds: number } {
  const problem = planProblem({
    model: getModel(names.model),
    cluster: getCluster(names.cluster),
    framework: 'megatron',
  });
  const search = new Search(problem, new EstimateModel());
  for (const { done } of search.run()) expect(done).toBeLessThanOrEqual(1);
  const { best } = search.result;
  if (best === undefined) throw new Error('no plan');
  return { plan: planDocument(problem, best, search.result, names), seconds: best.seconds };
}

describe('a plan as a file', () => {
  const { plan, seconds } = made();
  const text = JSON.stringify(plan);
  const replicas = { layout: 'dp=16,ep=8', sequences: 1, microBatches: plan.globalBatch / 16, virtualStages: 1 };

  it('is read back, and its setting takes as long as it says', () => {
    const read = readPlan(text, 'plan.json');
    expect(read).toEqual(plan);
    expect(isPlanDocument(JSON.parse(text))).toBe(true);
    const [model, cluster] = [getModel(plan.model), getCluster(plan.cluster)];
    expect(estimateStep(settingOfPlan(read, model, cluster)).seconds).toBeCloseTo(seconds, 9);
    for (const other of read.runnersUp)
      expect(estimateStep(settingOfPlan(read, model, cluster, other)).seconds).toBeCloseTo(other.expected.seconds, 9);
    expect(read.runnersUp.length).toBeGreaterThan(1);
  });

  it('has the schema that stands in docs', () => {
    const file = fileURLToPath(new URL('../../../../../docs/plan.schema.json', import.meta.url));
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(planJsonSchema());
  });

  it.each([
    ['another version', { version: 2 }, 'version'],
    ['a schedule that is none', { schedule: 'gpipe' }, 'schedule'],
    ['a word that it does not know', { shedule: '1f1b' }, ''],
    ['no micro-batches', { microBatches: 0 }, 'microBatches'],
    ['a runner-up without a time', { runnersUp: [{ ...plan.runnersUp[0], expected: {} }] }, 'runnersUp[0].expected'],
  ])('is refused with %s', (_, change, path) => {
    const read = (): PlanDocument => readPlan(JSON.stringify({ ...plan, ...change }), 'plan.json');
    expect(read).toThrow(InputError);
    expect(read).toThrow(expect.objectContaining({ file: 'plan.json', path: expect.stringContaining(path) }));
  });

  it.each([
    ['more stages than layers', { virtualStages: 64 }, 'virtualStages'],
    ['another number of layers', { layersOfStages: [31] }, 'layersOfStages'],
    ['micro-batches that are not the batch', { microBatches: plan.microBatches + 1 }, 'microBatches'],
    ['a layout that does not divide the experts', { layout: 'tp=1,dp=16,ep=16' }, 'ep'],
    ['two stages a device and virtual stages of one', { schedule: 'dualpipe-v', virtualStages: 1 }, 'schedule'],
    ['stages on a device and a schedule without them', { schedule: '1f1b', virtualStages: 2 }, 'schedule'],
    ['DualPipe on one stage', { ...replicas, schedule: 'dualpipe' }, 'schedule'],
    ['stages inside replicas that are not there', { ...replicas, schedule: '1f1b', rankOrder: 'pp-dp' }, 'rankOrder'],
    ['shards of gradients that are split', { sharing: 'zero2', weightShards: { dense: 2, expert: 1 } }, 'weightShards'],
  ])('makes no setting with %s', (_, change, path) => {
    const read = readPlan(JSON.stringify({ ...plan, ...change }), 'plan.json');
    const made = () => settingOfPlan(read, getModel(plan.model), getCluster(plan.cluster));
    expect(made).toThrow(InputError);
    expect(made).toThrow(expect.objectContaining({ path }));
  });

  it('makes no setting with states on hosts that no port is known to', () => {
    const cluster = getCluster(plan.cluster);
    const unknown = { ...cluster, device: { ...cluster.device, name: 'something' } };
    const read = readPlan(JSON.stringify({ ...plan, hostStates: true }), 'plan.json');
    expect(() => settingOfPlan(read, getModel(plan.model), unknown)).toThrow(
      expect.objectContaining({ path: 'hostStates' }),
    );
    expect(settingOfPlan(read, getModel(plan.model), cluster).hostStates).toBe(true);
  });

  it.each([
    ['virtualStages', 2 ** 53 - 1],
    ['sequences', 1e15],
    ['sequence', 1e300],
    ['imbalance', 1e308],
  ])('has a bound for %s', (field, value) => {
    expect(() => readPlan(JSON.stringify({ ...plan, [field]: value }), 'plan.json')).toThrow(
      expect.objectContaining({ path: field }),
    );
  });
});
