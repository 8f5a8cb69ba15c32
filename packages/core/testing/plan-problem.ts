/** A search that tests vary: Mixtral 8x7B on two nodes, 64 sequences a step, nothing fixed. */
import { getCluster } from '#core/cluster/index.js';
import { getModel } from '#core/model/index.js';
import type { PlanProblem } from '#core/plan/index.js';

export const planProblem = (given: Partial<PlanProblem> = {}): PlanProblem => ({
  model: getModel('mixtral-8x7b'),
  cluster: getCluster('h100-2x8'),
  sequence: 4096,
  globalBatch: 64,
  bounds: {},
  fixed: {},
  precision: 'bf16',
  states: 'mixed',
  stack: 'graphs',
  imbalance: 1,
  ...given,
});
