/** DeepSeek-V3's published memory of a GPU, beside what is predicted for the same run. */
import { parseLayout } from '../layout/resolve.js';
import { getModel } from '../model/names.js';
import { stageMemory } from './stage-memory.js';
import { activityBytes } from './timeline.js';

export interface BreakdownPart {
  readonly what: string;
  readonly publishedGib: number;
  readonly predictedGib: number;
  /** Relative, with its sign. */
  readonly error: number;
}

/**
 * arXiv 2603.07685: bf16 on 256 GPUs, PP4 VP4 EP64, before optimisation. The paper's memory-efficient permutation
 * (probabilities with the experts' activation) is one of the optimisations and saves 26.3 GiB, which is what rows of 60
 * layers and micro-batches take (4,096 x 8 x 7,168 x 2 bytes each): so many are in flight on the third stage, whose 16
 * layers all have experts (15 of 4 layers; 68 are on the second).
 */
const published = { weightsAndGradients: 36.4, optimizer: 32.1, activations: 131, total: 199.5 };

const gibi = 2 ** 30;

/** Part by part, and all together. */
export function deepSeekBreakdown(): BreakdownPart[] {
  const step = {
    model: getModel('deepseek-v3'),
    layout: parseLayout('dp=64,pp=4,ep=64'),
    virtualStages: 4,
    layersOfStages: [...Array.from({ length: 15 }, () => 4), 1],
    sequence: 4096,
    sequences: 1,
    microBatches: 32,
    dtype: 'bf16',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  } as const;
  const sharing = 'distributed-optimizer';
  const { states, activity } = stageMemory(
    { step, convention: 'megatron', sharing, precision: 'mixed', imbalance: 1, withoutRules: ['probabilities'] },
    2,
  );
  const weights = states.weights + states.gradients;
  const activations = activityBytes(activity);
  const part = (what: string, publishedGib: number, bytes: number): BreakdownPart => ({
    what,
    publishedGib,
    predictedGib: bytes / gibi,
    error: bytes / gibi / publishedGib - 1,
  });
  return [
    part('weights and gradients', published.weightsAndGradients, weights),
    part('optimizer states', published.optimizer, states.optimizer),
    part('activations', published.activations, activations),
    part('all together', published.total, weights + states.optimizer + activations),
  ];
}
