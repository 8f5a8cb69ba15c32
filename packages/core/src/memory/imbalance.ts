/** How unequal ranks can be in the rows that their experts get. */
import type { MoeModel } from '../model/model.js';
import { InputError } from '../units/errors.js';

/**
 * Throws `InputError` for an imbalance (rows of the fullest rank's experts over the mean) that no routing of the model
 * has under any layout: a token sends an expert one row at most, so that a rank with all tokens of its experts has
 * experts / topK times the mean, and no rank has more.
 */
export function checkImbalance(imbalance: number, { name, experts, topK }: MoeModel): void {
  if (experts === 0 || imbalance * topK <= experts) return;
  throw new InputError(`${imbalance} times the mean for the fullest rank's experts`, {
    path: 'imbalance',
    expected: `at most ${experts / topK}: every token of ${name} picks ${topK} of ${experts} experts, each once`,
  });
}
