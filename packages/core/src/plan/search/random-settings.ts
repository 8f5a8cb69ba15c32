/** Settings drawn from a space, for benchmarks and for holding a plan against. */
import type { RunSetting } from '../../estimate/index.js';
import type { Random } from '../../units/random.js';
import { spacePoints } from '../space/climb.js';
import type { PlanProblem } from '../space/problem.js';
import { goTogether, optionsOf } from './options.js';
import { settingOf } from './settings.js';

/** So many settings, points drawn evenly and then what they leave open; whether they fit is not asked. */
export function randomSettings(problem: PlanProblem, count: number, random: Random): RunSetting[] {
  const points = [...spacePoints(problem)];
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)];
  const settings: RunSetting[] = [];
  while (settings.length < count) {
    const point = pick(points);
    const { ways, keepings } = optionsOf(problem, point);
    if (ways.length === 0) continue;
    const [way, keeping] = [pick(ways), pick(keepings)];
    if (goTogether(way, keeping)) settings.push(settingOf(problem, point, way, keeping));
  }
  return settings;
}
