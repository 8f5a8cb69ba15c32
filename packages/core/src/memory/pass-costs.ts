/** Bytes that the templates of a stage's passes take, as a row of numbers: what a search works with. */
import { streamAgain } from '../schedule/recompute.js';
import type { PassBlock } from '../schedule/step.js';

/** What running a node of a template takes beyond what was there. */
export interface Cost {
  /** At its highest. */
  readonly peak: number;
  /** Behind it: what it keeps for the backward. */
  readonly kept: number;
}

/** What is known of templates and regions by name; nothing of those that are not there. */
export interface NamedCosts {
  of(name: string): Cost;
  /** Of a region of the micro-batch. */
  shared(id: string): number;
}

/**
 * Places in a row: regions of a micro-batch (the residual stream and its gradient, the stream computed again, tokens,
 * statistics), then the first place of every part of a layer.
 */
export const costAt = {
  stream: 0,
  gradient: 1,
  again: 2,
  tokens: 3,
  statistics: 4,
  embedding: 5,
  head: 10,
  attention: 15,
  moe: 20,
  mlp: 25,
} as const;

/** Numbers of a row. */
export const costsWidth = 30;

/** Places of a part, behind its first. */
export const partAt = { forwardPeak: 0, forwardKept: 1, againPeak: 2, againKept: 3, backwardPeak: 4 } as const;

/** Regions of the micro-batch by the places of what they take. */
export const sharedRegions = [
  [costAt.stream, 'stream'],
  [costAt.gradient, 'gradient'],
  [costAt.again, streamAgain],
  [costAt.tokens, 'tokens'],
  [costAt.statistics, 'router.statistics'],
] as const;

export type Part = 'embedding' | 'head' | 'attention' | 'moe' | 'mlp';

/** Parts whose templates are made together. */
export const partsOf: Readonly<Record<PassBlock, readonly Part[]>> = {
  ends: ['embedding', 'head'],
  attention: ['attention'],
  moe: ['moe'],
  mlp: ['mlp'],
};

/** A row from costs by name. */
export function costsRow(costs: NamedCosts): Float64Array {
  const row = new Float64Array(costsWidth);
  for (const [place, id] of sharedRegions) row[place] = costs.shared(id);
  for (const part of Object.values(partsOf).flat()) {
    const forward = costs.of(`${part}.forward`);
    const again = costs.of(`${part}.recompute`);
    row[costAt[part] + partAt.forwardPeak] = forward.peak;
    row[costAt[part] + partAt.forwardKept] = forward.kept;
    row[costAt[part] + partAt.againPeak] = again.peak;
    row[costAt[part] + partAt.againKept] = again.kept;
    row[costAt[part] + partAt.backwardPeak] = costs.of(`${part}.backward`).peak;
  }
  return row;
}

/** Places of bytes that are whole for a while where ranks share them (`schedule/shared-states.ts`); 0 where none do. */
export const gatheredAt = { embedding: 0, head: 2, moe: 4, mlp: 6 } as const;

/** Numbers of such a row: of every unit its weights, and its gradients behind them. */
export const gatheredWidth = 8;
