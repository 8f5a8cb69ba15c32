/** yarn's numbers (arXiv 2309.00071) as transformers derives them from what configurations say. */
import type { RopeScaling } from './model.js';

export interface YarnSettings {
  readonly factor: number;
  readonly originalPositions: number;
  readonly betaFast?: number;
  readonly betaSlow?: number;
  readonly truncate?: boolean;
  /** Weights of the two scales of DeepSeek's configurations; 0 or absent: none. */
  readonly mscale?: number;
  readonly mscaleAllDim?: number;
  /** Stated instead of derived. */
  readonly attentionFactor?: number | undefined;
}

/** transformers' `get_mscale`: by how much attention is scaled for a factor. */
const scaleOf = (factor: number, weight = 1): number => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);

/** transformers' `_compute_yarn_parameters`: what is left out has its defaults. */
export function yarnScaling(settings: YarnSettings): RopeScaling {
  const { factor, originalPositions, mscale = 0, mscaleAllDim = 0, truncate = true } = settings;
  const both = mscale > 0 && mscaleAllDim > 0;
  const derived = both ? scaleOf(factor, mscale) / scaleOf(factor, mscaleAllDim) : scaleOf(factor);
  return {
    kind: 'yarn',
    factor,
    originalPositions,
    betaFast: settings.betaFast ?? 32,
    betaSlow: settings.betaSlow ?? 1,
    truncate,
    attentionFactor: settings.attentionFactor ?? derived,
  };
}

/**
 * Factor on DeepSeek's attention scores (transformers' `yarn_apply_mscale`): the square of the scale of all dimensions.
 */
export const yarnScoreScaling = ({
  factor,
  mscaleAllDim = 0,
}: Pick<YarnSettings, 'factor' | 'mscaleAllDim'>): number =>
  mscaleAllDim > 0 ? scaleOf(factor, mscaleAllDim) ** 2 : 1;
