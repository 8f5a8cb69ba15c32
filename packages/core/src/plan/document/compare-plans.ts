/** Two plans beside each other: what differs, and what it costs. */
import { estimateStep } from '../../estimate/index.js';
import { partNames, tieShare } from '../report/plan-facts.js';
import type { PlanDocument } from './plan-document.js';
import type { PricedPlan } from './priced-plan.js';

/** Fields that a person asks for, then those that the search chose. */
const comparedFields = {
  asked: ['model', 'cluster', 'framework', 'sequence', 'globalBatch', 'precision', 'states', 'stack', 'imbalance'],
  chosen: [
    'layout',
    'virtualStages',
    'layersOfStages',
    'sequences',
    'microBatches',
    'schedule',
    'dispatcher',
    'sharing',
    'recompute',
    'overlap',
  ],
} as const satisfies Readonly<Record<string, readonly (keyof PlanDocument)[]>>;

export interface PlanDifference {
  /** What differs. */
  readonly field: string;
  /** Of the first and of the second plan, as text; `-` for nothing. */
  readonly values: readonly [string, string];
}

/** Seconds of one part of a step in either plan. */
export interface PartDifference {
  readonly part: keyof typeof partNames;
  readonly seconds: readonly [number, number];
}

export interface PlanComparison {
  readonly asked: readonly PlanDifference[];
  readonly chosen: readonly PlanDifference[];
  /** Parts that take a thousandth of either step. */
  readonly parts: readonly PartDifference[];
  /** Tokens a second and device of either. */
  readonly tokensPerSecondPerGpu: readonly [number, number];
  /** Speed of the second over that of the first. */
  readonly speed: number;
  /** Closer than the estimate orders layouts. */
  readonly tie: boolean;
}

const shown = (value: unknown): string =>
  value === undefined || value === null ? '-' : typeof value === 'string' ? value : JSON.stringify(value);

const differencesOf = (
  [first, second]: readonly [PricedPlan, PricedPlan],
  fields: readonly (keyof PlanDocument)[],
): PlanDifference[] =>
  fields
    .map((field) => ({ field, values: [shown(first.document[field]), shown(second.document[field])] as const }))
    .filter(({ values: [a, b] }) => a !== b);

const leastPart = 1e-3;

/** Compares two plans as the estimate prices them now. */
export function comparePlans(first: PricedPlan, second: PricedPlan): PlanComparison {
  const [a, b] = [estimateStep(first.best.setting), estimateStep(second.best.setting)];
  const parts = (Object.keys(partNames) as (keyof typeof partNames)[])
    .map((part) => ({ part, seconds: [a.parts[part], b.parts[part]] as const }))
    .filter(({ seconds: [one, other] }) => one > a.seconds * leastPart || other > b.seconds * leastPart);
  const speeds = [a.tokensPerSecondPerGpu, b.tokensPerSecondPerGpu] as const;
  const speed = speeds[1] / speeds[0];
  return {
    asked: differencesOf([first, second], comparedFields.asked),
    chosen: differencesOf([first, second], comparedFields.chosen),
    parts,
    tokensPerSecondPerGpu: speeds,
    speed,
    tie: Math.abs(speed - 1) < tieShare,
  };
}
