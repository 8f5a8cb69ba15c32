/**
 * Choosing experts as DeepSeek-V2 and V3 do (transformers' DeepseekV2Moe and DeepseekV3TopkRouter): among the experts
 * of some groups, V3 with a bias on the scores that has no part in the weights. Weights are the scores of the chosen,
 * renormalised or not, times a factor. Ties go to the lowest.
 */
import type { SelectionArgument } from '@monta/core';
import { exponential } from '../transformer/exponential.js';
import type { RouterShape } from './router.js';

/** scores = sigmoid(logits), element by element; may be one array. */
export function routerSigmoid(logits: Float32Array, scores: Float32Array): void {
  for (let i = 0; i < scores.length; i++) scores[i] = 1 / (1 + exponential(-logits[i]));
}

/** Places of the `count` largest values, largest first. */
function largest(values: Float32Array, count: number): number[] {
  const places: number[] = [];
  for (let place = 0; place < values.length; place++) {
    let at = places.length;
    while (at > 0 && values[place] > values[places[at - 1]]) at--;
    if (at < count) places.splice(at, 0, place);
    if (places.length > count) places.pop();
  }
  return places;
}

/** Leaves only the experts of the chosen groups: the others' values become -Infinity. */
function limitToGroups({ groups, chosen, by }: NonNullable<SelectionArgument['groups']>, values: Float32Array): void {
  const size = values.length / groups;
  const count = by === 'largest' ? 1 : 2;
  const ofGroups = Float32Array.from({ length: groups }, (_, group) => {
    const own = values.subarray(group * size, (group + 1) * size);
    return largest(own, count).reduce((sum, place) => sum + own[place], 0);
  });
  const kept = new Set(largest(ofGroups, chosen));
  for (let group = 0; group < groups; group++)
    if (!kept.has(group)) values.fill(-Infinity, group * size, (group + 1) * size);
}

export interface SelectionInput {
  readonly shape: RouterShape;
  readonly selection: SelectionArgument;
  /** tokens x experts. */
  readonly scores: Float32Array;
  /** On the scores, for choosing only. */
  readonly bias?: Float32Array | undefined;
  /** tokens x picks, in falling order of what they were chosen by. */
  readonly ids: Int32Array;
  readonly weights: Float32Array;
}

/** What transformers adds to the sum of the chosen scores before it divides by it. */
const smallest = 1e-20;

export function selectExperts({ shape, selection, scores, bias, ids, weights }: SelectionInput): void {
  const { tokens, experts, picks, renormalise } = shape;
  const values = new Float32Array(experts);
  for (let token = 0; token < tokens; token++) {
    const row = scores.subarray(token * experts, (token + 1) * experts);
    for (let expert = 0; expert < experts; expert++) values[expert] = row[expert] + (bias?.[expert] ?? 0);
    if (selection.groups !== undefined) limitToGroups(selection.groups, values);
    const chosen = largest(values, picks);
    const sum = renormalise ? chosen.reduce((total, expert) => total + row[expert], smallest) : 1;
    chosen.forEach((expert, pick) => {
      ids[token * picks + pick] = expert;
      weights[token * picks + pick] = (row[expert] / sum) * selection.scaling;
    });
  }
}
