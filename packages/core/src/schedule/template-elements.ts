/** How many weights templates name, by whom a rank shares them with. */
import type { Template } from './schedule.js';

/** Elements on one rank by whom they are shared with: dense ones over dp x cp, those of experts over edp. */
export interface Elements {
  readonly dense: number;
  readonly expert: number;
}

export const noElements: Elements = { dense: 0, expert: 0 };

const prefix = 'weights/';

/** Weights of one layer that templates name, each slot once. */
export function templateElements(templates: readonly Template[]): Elements {
  const seen = new Map<string, number>();
  for (const { regions } of templates)
    for (const { id, life, rows, columns } of regions)
      if (life === 'parameter' && id.startsWith(prefix))
        seen.set(id.slice(prefix.length), (typeof rows === 'number' ? rows : rows.max) * columns);
  let [dense, expert] = [0, 0];
  for (const [slot, elements] of seen)
    if (slot.startsWith('experts.')) expert += elements;
    else dense += elements;
  return { dense, expert };
}
