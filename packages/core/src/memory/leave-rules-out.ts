/**
 * How well the rules of a convention carry over to models that they were not looked for on: which rules hold is decided
 * on the published peaks of all other families, then the family is predicted.
 */
import { maxOf } from '../units/index.js';
import { megatronRuleNames, type MegatronRule } from './convention.js';
import { closedStage } from './stage-memory.js';
import { fullStages } from './stage-elements.js';
import { publishedPeaks, type PublishedPeak } from './published-peaks.js';
import { settingOfPeak } from './predict-published.js';

/** A model's first word, as `llama3`. */
export const familyOfPeak = ({ model }: PublishedPeak): string => model.split('-')[0] ?? model;

export interface RulesLeftOut {
  readonly family: string;
  readonly runs: number;
  /** Rules that the other families decide against. */
  readonly without: readonly MegatronRule[];
  /** Relative errors of the family's runs with those rules, with their sign. */
  readonly errors: readonly number[];
}

const gibi = 2 ** 30;

/** In closed form, which is within 1 % of the program's time line. */
function errorOf(row: PublishedPeak, withoutRules: readonly MegatronRule[]): number {
  const setting = { ...settingOfPeak(row), withoutRules };
  const stages = fullStages(setting.step).map((stage) => closedStage(setting, stage).allocatedBytes);
  return maxOf(stages) / gibi / row.allocatedGib - 1;
}

/** All choices of rules that do not hold. */
const choices: readonly (readonly MegatronRule[])[] = Array.from({ length: 2 ** megatronRuleNames.length }, (_, bits) =>
  megatronRuleNames.filter((_rule, index) => (bits >> index) % 2 === 1),
);

/**
 * The choice with the least mean of absolute errors over the runs of other families, every family counting as much;
 * fewer rules left out where equal.
 */
export function leaveRulesOut(rows: readonly PublishedPeak[] = publishedPeaks): RulesLeftOut[] {
  const families = [...new Set(rows.map(familyOfPeak))];
  const errors = choices.map((without) => rows.map((row) => errorOf(row, without)));
  const ofFamily = (choice: number, family: string): number[] =>
    rows.flatMap((row, index) =>
      familyOfPeak(row) === family ? row.microBatches.map(() => errors[choice]?.[index] ?? 0) : [],
    );
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
  return families.map((family) => {
    const others = families.filter((one) => one !== family);
    const losses = choices.map((_, choice) => mean(others.map((one) => mean(ofFamily(choice, one)))));
    const best = losses.reduce((least, loss, choice) => (loss < (losses[least] ?? 0) - 1e-9 ? choice : least), 0);
    const left = ofFamily(best, family);
    return { family, runs: left.length, without: choices[best] ?? [], errors: left };
  });
}
