/** Command-line flags of a training run, and the ranges that they and its file keep to. */
import { InputError, limits } from '@monta/core/units';
import type { BackendOverrides } from './backend-config.js';
import { learningRateRange } from './optimizer-config.js';
import type { OverlapFlags } from './overlap-config.js';
import type { PayloadFlags } from './payload-config.js';

/** Tokens of one step over all replicas: what ranks on this machine can hold by far. */
export const mostTokens = limits.tokens;
export const capacityRange = { min: limits.leastFactor, max: limits.experts } as const;
export const timeScaleRange = { min: limits.leastFactor, max: limits.timeScale } as const;

/** Command-line flags that stand over the file. Texts are in the forms that the file takes. */
export interface TrainOverrides extends BackendOverrides, OverlapFlags, PayloadFlags {
  /** Whether the file may say which programs run. */
  readonly allowCommands?: boolean;
  readonly model?: string;
  readonly cluster?: string;
  readonly layout?: string;
  readonly dispatch?: string;
  readonly text?: string;
  readonly sequence?: number;
  readonly steps?: number;
  readonly batch?: number;
  readonly microBatch?: number;
  readonly capacityFactor?: number;
  readonly lr?: number;
  readonly seed?: number;
  readonly dtype?: string;
  readonly timeScale?: number;
  readonly trialSteps?: number;
  readonly output?: string;
}

/** Bounds of the numbers that flags give; files have theirs where they are read. */
const flagRanges: readonly (readonly [
  keyof TrainOverrides,
  range: { readonly min?: number; readonly max: number; readonly above?: number },
])[] = [
  ['sequence', { min: 1, max: mostTokens }],
  ['steps', { min: 1, max: limits.steps }],
  ['batch', { min: 1, max: limits.sequences }],
  ['microBatch', { min: 1, max: limits.sequences }],
  ['capacityFactor', capacityRange],
  ['lr', learningRateRange],
  ['seed', { min: 0, max: limits.seed }],
  ['timeScale', timeScaleRange],
  ['trialSteps', { min: 0, max: limits.steps }],
];

/** Throws `InputError` for a number out of its range, by its flag. */
export function checkFlags(overrides: TrainOverrides): void {
  for (const [key, { min = -Infinity, max, above = -Infinity }] of flagRanges) {
    const value = overrides[key];
    // NaN, which no text of a number gives, is in no range.
    if (typeof value !== 'number' || (value >= min && value <= max && value > above && Number.isFinite(value)))
      continue;
    const flag = `--${key.replaceAll(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new InputError(Number.isFinite(value) ? `${value} is out of range` : 'is not a number', {
      file: flag,
      expected: above === 0 ? `a number above 0, at most ${max}` : `${min} to ${max}`,
    });
  }
}
