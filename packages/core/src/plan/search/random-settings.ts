/** Settings of a space, drawn from it or all, for benchmarks and for holding a plan against. */
import type { RunSetting } from '../../estimate/index.js';
import type { Layout } from '../../layout/layout.js';
import type { Random } from '../../units/random.js';
import { legalBatchings, legalLayouts, spacePoints, type Batching } from '../space/climb.js';
import type { PlanProblem } from '../space/problem.js';
import { goTogether, optionsOf } from './options.js';
import { settingOf } from './settings.js';
import { SharedOptions } from './shared-options.js';

/** So many settings, points drawn evenly and then what they leave open; whether they fit is not asked. */
export function randomSettings(problem: PlanProblem, count: number, random: Random): RunSetting[] {
  const drawPoint = pointsOf(problem);
  const known = new SharedOptions(problem);
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)];
  const settings: RunSetting[] = [];
  while (settings.length < count) {
    const point = drawPoint(random);
    const { ways, keepings } = known.optionsOf(point.layout, point);
    if (ways.length === 0) continue;
    const [way, keeping] = [pick(ways), pick(keepings)];
    if (goTogether(way, keeping)) settings.push(settingOf(problem, point, way, keeping));
  }
  return settings;
}

/** Draws points of a space, each as likely, without holding all of them. */
function pointsOf(problem: PlanProblem): (random: Random) => Batching & { readonly layout: Layout } {
  const layouts = legalLayouts(problem);
  const known = new Map<string, readonly Batching[]>();
  const ends: number[] = [];
  let all = 0;
  const batchings = layouts.map((layout) => {
    const key = `${layout.pp} ${layout.dp}`;
    const found = known.get(key) ?? legalBatchings(problem, layout);
    known.set(key, found);
    all += found.length;
    ends.push(all);
    return found;
  });
  return (random) => {
    const place = random.integer(all);
    let [low, high] = [0, ends.length - 1];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((ends[middle] ?? 0) > place) high = middle;
      else low = middle + 1;
    }
    const [layout, found] = [layouts[low], batchings[low]];
    const batching = found?.[place - ((ends[low] ?? 0) - found.length)];
    if (layout === undefined || batching === undefined) throw new RangeError('a space without points');
    return { layout, ...batching };
  };
}

/** Every setting of a space, one after another; whether they fit is not asked. */
export function* everySetting(problem: PlanProblem): Generator<RunSetting> {
  for (const point of spacePoints(problem)) {
    const { ways, keepings } = optionsOf(problem, point);
    for (const way of ways)
      for (const keeping of keepings) if (goTogether(way, keeping)) yield settingOf(problem, point, way, keeping);
  }
}
