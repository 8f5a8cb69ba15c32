/**
 * The router after its linear layer: softmax over all experts in float32, the k largest, renormalised or not. Ties go
 * to the lowest expert.
 */

import type { SelectionArgument } from '@monta/core';
import { exponential } from '../transformer/exponential.js';

export interface RouterShape {
  readonly tokens: number;
  readonly experts: number;
  /** Picks per token, k. */
  readonly picks: number;
  /** Divide the picked probabilities by their sum (Mixtral always, Qwen3 and OLMoE by `norm_topk_prob`). */
  readonly renormalise: boolean;
  /** Where experts are not scored by softmax and chosen by the largest scores. */
  readonly selection?: SelectionArgument | undefined;
}

/** logits and probabilities: tokens x experts (may be one array). */
export function routerSoftmax(shape: RouterShape, logits: Float32Array, probabilities: Float32Array): void {
  const { tokens, experts } = shape;
  for (let token = 0; token < tokens; token++) {
    const from = token * experts;
    const end = from + experts;
    let largest = -Infinity;
    for (let i = from; i < end; i++) largest = Math.max(largest, logits[i]);
    let sum = 0;
    for (let i = from; i < end; i++) {
      const value = exponential(logits[i] - largest);
      probabilities[i] = value;
      sum += value;
    }
    for (let i = from; i < end; i++) probabilities[i] = probabilities[i] / sum;
  }
}

/** ids and weights: tokens x picks, largest probability first. */
export function routerTopK(
  shape: RouterShape,
  probabilities: Float32Array,
  ids: Int32Array,
  weights: Float32Array,
): void {
  const { tokens, experts, picks, renormalise } = shape;
  for (let token = 0; token < tokens; token++) {
    const row = token * experts;
    const from = token * picks;
    let held = 0;
    for (let expert = 0; expert < experts; expert++) {
      const value = probabilities[row + expert];
      if (held === picks && value <= weights[from + picks - 1]) continue;
      let place = held < picks ? held++ : picks - 1;
      for (; place > 0 && value > weights[from + place - 1]; place--) {
        weights[from + place] = weights[from + place - 1];
        ids[from + place] = ids[from + place - 1];
      }
      weights[from + place] = value;
      ids[from + place] = expert;
    }
    if (!renormalise) continue;
    let sum = 0;
    for (let pick = from; pick < from + picks; pick++) sum += weights[pick];
    for (let pick = from; pick < from + picks; pick++) weights[pick] = weights[pick] / sum;
  }
}

/**
 * dlogits from the gradient of the picks' weights (0 for dropped picks) and the auxiliary loss's gradient of every
 * probability, which is the same for all tokens (`auxiliaryGradient`; omit it when there is none). dlogits: tokens x
 * experts, overwritten.
 */
export function routerBackward({
  shape,
  probabilities,
  ids,
  dweights,
  auxiliary,
  dlogits,
}: {
  readonly shape: RouterShape;
  readonly probabilities: Float32Array;
  readonly ids: Int32Array;
  readonly dweights: Float32Array;
  readonly auxiliary: Float32Array | undefined;
  readonly dlogits: Float32Array;
}): void {
  const { tokens, experts, picks, renormalise, selection } = shape;
  const { scoring, scaling } = selection ?? { scoring: 'softmax', scaling: 1 };
  for (let token = 0; token < tokens; token++) {
    const row = token * experts;
    const from = token * picks;
    for (let expert = 0; expert < experts; expert++) dlogits[row + expert] = auxiliary?.[expert] ?? 0;
    let sum = 1;
    let dot = 0;
    if (renormalise) {
      sum = 0;
      for (let pick = from; pick < from + picks; pick++) {
        const probability = probabilities[row + ids[pick]];
        sum += probability;
        dot += probability * dweights[pick];
      }
      dot /= sum;
    }
    for (let pick = from; pick < from + picks; pick++) {
      const at = row + ids[pick];
      dlogits[at] = dlogits[at] + (scaling * (dweights[pick] - dot)) / sum;
    }
    if (scoring === 'sigmoid') {
      for (let i = row; i < row + experts; i++) dlogits[i] = probabilities[i] * (1 - probabilities[i]) * dlogits[i];
      continue;
    }
    // through the softmax: dlogit = p * (dp - sum(p * dp))
    let mean = 0;
    for (let i = row; i < row + experts; i++) mean += probabilities[i] * dlogits[i];
    for (let i = row; i < row + experts; i++) dlogits[i] = probabilities[i] * (dlogits[i] - mean);
  }
}
