/** What a run's flags cost: its step and memory, single changes that would make it faster, and the best plan beside. */
import { estimateMemory, estimateStep, type RunSetting, type StepEstimate } from '../estimate/index.js';
import { EstimateModel, Search, type PlanCandidate } from '../plan/index.js';
import { deepspeedProposals, megatronProposals, torchtitanProposals, type Proposal } from './proposals.js';
import { InputError } from '../units/index.js';

/** One change of flags, and the run with it. */
export interface RunChange {
  /** Flags or keys of the framework to add, or to set anew. */
  readonly flags: string;
  readonly seconds: number;
  /** Share of the step that it saves; below 0 where it takes longer. */
  readonly gain: number;
  readonly memoryBytes: number;
}

export interface PricedSetting {
  readonly setting: RunSetting;
  readonly estimate: StepEstimate;
  /** Of the fullest device. */
  readonly memoryBytes: number;
  /** Changes that fit, the fastest first: those that save time, or any where the run itself does not fit. */
  readonly changes: readonly RunChange[];
  /** The fastest that the framework can run of the whole space; undefined where nothing fits. */
  readonly best: PlanCandidate | undefined;
}

/** What a change saves at least, for it to be named. */
const leastGain = 0.005;

/** Frameworks whose changes are known by name. */
export type PricedFramework = 'megatron' | 'deepspeed' | 'torchtitan';

const proposalsOf: Readonly<Record<PricedFramework, (setting: RunSetting) => Proposal[]>> = {
  megatron: megatronProposals,
  deepspeed: deepspeedProposals,
  torchtitan: torchtitanProposals,
};

/** The price of a run on its cluster. Throws `InputError` where the cluster's tiers or the layout can't be priced. */
export function priceRun(setting: RunSetting, framework: PricedFramework = 'megatron'): PricedSetting {
  const estimate = estimateStep(setting);
  const memoryBytes = estimateMemory(setting);
  const capacity = setting.cluster.device.memoryBytes;
  const changes = proposalsOf[framework](setting)
    .flatMap((proposal) => changeOf(proposal, estimate.seconds))
    .filter((change) => change.memoryBytes <= capacity && (change.gain > leastGain || memoryBytes > capacity))
    .sort((a, b) => b.gain - a.gain);
  return { setting, estimate, memoryBytes, changes, best: bestOf(setting, framework) };
}

/** A proposal's price; none for what can't run, as fewer micro-batches than an interleaved pipeline has stages. */
function changeOf({ flags, setting }: Proposal, before: number): RunChange[] {
  try {
    const { seconds } = estimateStep(setting);
    return [{ flags, seconds, gain: 1 - seconds / before, memoryBytes: estimateMemory(setting) }];
  } catch (error) {
    if (error instanceof InputError) return [];
    throw error;
  }
}

function bestOf(setting: RunSetting, framework: PricedFramework): PlanCandidate | undefined {
  const { model, cluster, sequence, globalBatch, precision, states, stack, imbalance } = setting;
  const search = new Search(
    {
      model,
      cluster,
      sequence,
      globalBatch,
      bounds: {},
      fixed: {},
      precision,
      states,
      stack,
      imbalance: imbalance === 'natural' ? 1 : imbalance,
      framework,
    },
    new EstimateModel(),
  );
  try {
    const run = search.run();
    while (run.next().done !== true);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
  }
  return search.result.best;
}
