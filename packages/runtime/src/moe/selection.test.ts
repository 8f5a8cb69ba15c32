/** Worked out by hand from transformers 5.17: DeepseekV2TopkRouter, DeepseekV3TopkRouter and Glm4MoeTopkRouter. */
import { describe, expect, it } from 'vitest';
import { selectExperts, type SelectionInput } from './selection.js';

type Case = Pick<SelectionInput, 'selection'> & {
  readonly scores: readonly number[];
  readonly bias?: readonly number[];
  readonly picks: number;
  readonly renormalise: boolean;
};

function chosen({ scores, bias, picks, renormalise, selection }: Case): { ids: number[]; weights: number[] } {
  const [ids, weights] = [new Int32Array(picks), new Float32Array(picks)];
  selectExperts({
    shape: { tokens: 1, experts: scores.length, picks, renormalise },
    selection,
    scores: Float32Array.from(scores),
    bias: bias === undefined ? undefined : Float32Array.from(bias),
    ids,
    weights,
  });
  return { ids: [...ids], weights: [...weights].map((weight) => Number(weight.toFixed(6))) };
}

describe('DeepSeek-V2', () => {
  // Four groups of two; their largest: 0.3, 0.05, 0.2, 0.15.
  const scores = [0.3, 0.01, 0.05, 0.04, 0.2, 0.15, 0.1, 0.15];
  const groups = { groups: 4, chosen: 2, by: 'largest' } as const;

  it('takes the groups of the largest scores, and weighs by the score times the factor, not renormalised', () => {
    const selection = { scoring: 'softmax', scaling: 16, groups } as const;
    // The last expert's 0.15 is in no chosen group, expert 1's 0.01 is.
    expect(chosen({ scores, picks: 4, renormalise: false, selection })).toEqual({
      ids: [0, 4, 5, 1],
      weights: [4.8, 3.2, 2.4, 0.16],
    });
  });

  it('looks at one expert of a group, where DeepSeek-V3 adds up two', () => {
    // Sums of two: 0.31, 0.09, 0.35, 0.25; largest: 0.3, 0.05, 0.2, 0.15: another order, and one group decides.
    const one = (by: 'largest' | 'twoLargest') =>
      chosen({
        scores,
        picks: 2,
        renormalise: false,
        selection: { scoring: 'softmax', scaling: 1, groups: { groups: 4, chosen: 1, by } },
      }).ids;
    expect(one('largest')).toEqual([0, 1]);
    expect(one('twoLargest')).toEqual([4, 5]);
  });

  it('greedy takes the largest of all (V2-Lite)', () => {
    const selection = { scoring: 'softmax', scaling: 1 } as const;
    expect(chosen({ scores, picks: 3, renormalise: false, selection })).toEqual({
      ids: [0, 4, 5],
      weights: [0.3, 0.2, 0.15],
    });
  });
});

describe('DeepSeek-V3 and GLM-4.5', () => {
  const scores = [0.9, 0.5, 0.8, 0.2, 0.6, 0.7];

  it('choose by score and bias, and weigh by the score alone, renormalised, times the factor', () => {
    const selection = { scoring: 'sigmoid', scaling: 2.5 } as const;
    const bias = [-0.5, 0, 0, 0.7, 0, 0];
    // By score and bias 0.4, 0.5, 0.8, 0.9, 0.6, 0.7: experts 3, 2, 5 with 0.2, 0.8, 0.7 of 1.7.
    expect(chosen({ scores, bias, picks: 3, renormalise: true, selection })).toEqual({
      ids: [3, 2, 5],
      weights: [0.294118, 1.176471, 1.029412],
    });
  });

  it('keep to the chosen groups also where bias makes all of them negative', () => {
    const selection = {
      scoring: 'sigmoid',
      scaling: 1,
      groups: { groups: 3, chosen: 1, by: 'twoLargest' },
    } as const;
    const bias = [-1, -1, -2, -2, -2, -2];
    expect(chosen({ scores, bias, picks: 2, renormalise: false, selection }).ids).toEqual([0, 1]);
  });
});
