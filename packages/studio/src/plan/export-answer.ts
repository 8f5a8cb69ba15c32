/** A plan in another framework's words. */
import { exportPlan, exportOfSetting, type ExportTarget } from '@monta/core';
import type { PlanQuest } from './answer.js';

export interface ExportAnswer {
  readonly text: string;
  /** What the framework cannot do, and what is left to the person. */
  readonly notes: readonly string[];
}

/** Throws `InputError` for what the framework cannot run, with the nearest that it can. */
export function exportAnswer(quest: PlanQuest, index: number, to: ExportTarget): ExportAnswer {
  const plan = quest.plans[index];
  if (plan === undefined) throw new RangeError(`there is no plan ${index}`);
  const { text, notes } = exportPlan(exportOfSetting(plan.setting), to);
  return { text, notes };
}
