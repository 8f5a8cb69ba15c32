/** The list of tensors that are trained adds up to what the model's own count says, family by family. */
import { describe, expect, it } from 'vitest';
import { coordinates, resolveLayout, worldSize } from '../layout/index.js';
import { countParameters, getModel } from '../model/index.js';
import { isTrained } from './parameter.js';
import { holdsParameter, parameterCopies, parameters, shardElements, shardRange } from './parameters.js';

const names = [
  'mixtral-8x7b',
  'qwen3-30b-a3b',
  'qwen2-57b-a14b',
  'gpt-oss-20b',
  'deepseek-v2-lite',
  'glm-4.5-air',
  'deepseek-v3',
];

describe('parameters of a model', () => {
  it.each(names)('%s: as many elements as the model counts', (name) => {
    const model = getModel(name);
    const alone = resolveLayout({ tp: 1 });
    const elements = parameters(model, alone)
      .filter(isTrained)
      .reduce((sum, parameter) => sum + parameter.shape.reduce((product, length) => product * length, 1), 0);
    expect(elements).toBe(countParameters(model).total);
  });

  it.each(names)('%s: shards over tp 4 make up the whole, copies stand on every rank', (name) => {
    const model = getModel(name);
    const layout = resolveLayout({ tp: 4 });
    for (const parameter of parameters(model, layout)) {
      const whole = parameter.shape.reduce((product, length) => product * length, 1);
      const held = [0, 1, 2, 3].map((rank) => shardElements(parameter, layout, rank));
      expect(held.reduce((sum, own) => sum + own, 0)).toBe(parameter.shard === undefined ? 4 * whole : whole);
    }
  });

  it.each([
    ['deepseek-v2-lite', { tp: 2, cp: 2, dp: 2, ep: 2, etp: 1 }],
    // biases behind experts, which every etp rank holds
    ['gpt-oss-20b', { tp: 4, dp: 2, ep: 4, etp: 2 }],
    ['deepseek-v2-lite', { tp: 2, dp: 2, pp: 2, ep: 2 }],
  ])('%s: are on as many ranks of a stage as they are said to be: %o', (name, degrees) => {
    const model = getModel(name);
    const layout = resolveLayout(degrees);
    const ranks = Array.from({ length: worldSize(layout) }, (_, rank) => rank);
    const stage = ranks.filter((rank) => coordinates(layout, rank).pp === 0);
    const some = parameters(model, layout).filter(({ layer, expert = 0 }) => layer < 2 && expert % 21 === 0);
    for (const parameter of some) {
      const holders = stage.filter((rank) => holdsParameter(parameter, model, layout, rank));
      const startOf = (rank: number): number => shardRange(parameter, layout, rank).start;
      const first = startOf(holders[0] ?? 0);
      expect(holders.filter((rank) => startOf(rank) === first)).toHaveLength(parameterCopies(parameter, layout));
    }
  });
});
