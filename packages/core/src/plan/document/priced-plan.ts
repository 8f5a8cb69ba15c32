/** A plan's document with its settings, priced as the estimate prices them now. */
import type { Cluster } from '../../cluster/index.js';
import { estimateStep } from '../../estimate/index.js';
import type { MoeModel } from '../../model/index.js';
import { EstimateModel, type Candidate } from '../search/index.js';
import type { PlanDocument } from './plan-document.js';
import { settingOfPlan } from './write-plan.js';

export interface PricedPlan {
  /** What `monta plan --json` prints, by the schema of docs/plan.schema.json. */
  readonly document: PlanDocument;
  readonly best: Candidate;
  /** The fastest of every other kind, fastest first when they were planned. */
  readonly others: readonly Candidate[];
}

/** Prices a document's plan and its runners-up. Throws `InputError` where it does not go with model and cluster. */
export function pricedPlan(document: PlanDocument, model: MoeModel, cluster: Cluster): PricedPlan {
  const prices = new EstimateModel();
  const priced = (chosen?: PlanDocument['runnersUp'][number]): Candidate => {
    const setting = settingOfPlan(document, model, cluster, chosen);
    return { setting, seconds: estimateStep(setting).seconds, memoryBytes: prices.memoryBytes(setting) };
  };
  return { document, best: priced(), others: document.runnersUp.map(priced) };
}
