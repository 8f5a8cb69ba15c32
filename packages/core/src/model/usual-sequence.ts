/** How long sequences are where nobody says. */
import type { MoeModel } from './model.js';

const longestUsual = 4096;

/** Tokens of a sequence where nobody says: 4,096, or what the model allows if that is less. */
export const usualSequence = ({ maxPositions }: Pick<MoeModel, 'maxPositions'>): number =>
  Math.min(longestUsual, maxPositions ?? longestUsual);
