/** Drives a search, shows the best so far on a terminal, and ends at once when it is interrupted. */
import type { JudgedPlan, PlanCandidate, Search, SearchProgress } from '@monta/core';
import { formatSeconds } from '@monta/core/units';
import { formatLayout } from '@monta/core/layout';
import { judgePlans } from '@monta/core/plan';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Console } from '../output/console.js';
import { renderBar } from '../output/progress.js';
import { textWidth } from '../output/text-width.js';

/** How long the search runs between looks at the keyboard, and between drawings, milliseconds. */
const [turn, redraw] = [20, 100];

function line({ done, best }: SearchProgress, columns: number): string {
  const share = `Plan   ${renderBar(done)}  ${Math.floor(done * 100)} %`;
  if (best === undefined) return share;
  const found = `   ${formatSeconds(best.seconds)}`;
  const layout = `   ${formatLayout(best.setting.layout)}`;
  const whole = `${share}${found}${layout}`;
  return textWidth(whole) < columns ? whole : `${share}${found}`;
}

/** True where the search came to its end, false where it was interrupted. */
export async function drive(search: Search, console: Console): Promise<boolean> {
  let stopped = false;
  const stop = (): void => {
    stopped = true;
  };
  process.once('SIGINT', stop);
  const columns = console.progressColumns;
  let [turned, drawn, visible] = [performance.now(), performance.now(), false];
  try {
    for (const progress of search.run()) {
      const now = performance.now();
      if (columns !== undefined && now - drawn >= redraw) {
        console.printError(`\r\u001B[2K${line(progress, columns)}`);
        [drawn, visible] = [now, true];
      }
      if (now - turned < turn) continue;
      await nextTurn();
      turned = performance.now();
      if (stopped) return false;
    }
    return true;
  } finally {
    process.off('SIGINT', stop);
    if (visible) console.printError('\r\u001B[2K');
  }
}

/** Simulates the first so many plans; those that were, where it is interrupted. */
export async function judge(
  plans: readonly PlanCandidate[],
  count: number,
  options: { readonly exact: boolean },
): Promise<JudgedPlan[]> {
  const judged: JudgedPlan[] = [];
  let stopped = false;
  const stop = (): void => {
    stopped = true;
  };
  process.once('SIGINT', stop);
  try {
    for (const one of judgePlans(plans.slice(0, count), options)) {
      judged.push(one);
      await nextTurn();
      if (stopped) break;
    }
    return judged;
  } finally {
    process.off('SIGINT', stop);
  }
}
