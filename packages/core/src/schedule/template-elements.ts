/** How many weights templates name, by whom a rank shares them with. */
import { isExpertSlot, type Slot } from './parameter.js';
import type { Template } from './schedule.js';

/** Elements on one rank by whom they are shared with: dense ones over dp x cp, those of experts over edp. */
export interface Elements {
  readonly dense: number;
  readonly expert: number;
}

export const noElements: Elements = { dense: 0, expert: 0 };

/** Elements of the weights that templates name, by slot. */
export function slotElements(templates: readonly Template[]): Map<Slot, number> {
  const found = new Map<Slot, number>();
  for (const { regions } of templates)
    for (const { parameter, rows, columns } of regions)
      if (parameter?.what === 'weights')
        found.set(parameter.slot, (typeof rows === 'number' ? rows : rows.max) * columns);
  return found;
}

/** Weights of one layer that templates name, each slot once. */
export function templateElements(templates: readonly Template[]): Elements {
  let [dense, expert] = [0, 0];
  for (const [slot, elements] of slotElements(templates))
    if (isExpertSlot(slot)) expert += elements;
    else dense += elements;
  return { dense, expert };
}
