/** Plans that were written to files, priced again. */
import {
  EstimateModel,
  estimateStep,
  InputError,
  type PlanCandidate,
  type PlanDocument,
  readPlan,
  settingOfPlan,
} from '@monta/core';
import { readTextFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';

export interface ReadPlan {
  readonly file: string;
  readonly plan: PlanDocument;
  /** As the estimate prices it today. */
  readonly best: PlanCandidate;
  readonly others: readonly PlanCandidate[];
}

/** Reads a plan with its model and cluster. Throws `InputError`. */
export function loadPlan(file: string): ReadPlan {
  const plan = readPlan(readTextFile(file), file);
  const [model, cluster] = [loadModel(plan.model), loadCluster(plan.cluster)];
  const prices = new EstimateModel();
  const priced = (chosen: PlanDocument['runnersUp'][number]): PlanCandidate => {
    try {
      const setting = settingOfPlan(plan, model, cluster, chosen);
      return { setting, seconds: estimateStep(setting).seconds, memoryBytes: prices.memoryBytes(setting) };
    } catch (error) {
      throw error instanceof InputError ? error.at({ file }) : error;
    }
  };
  return { file, plan, best: priced(plan), others: plan.runnersUp.map(priced) };
}
