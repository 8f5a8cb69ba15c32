/** The list of tensors that are trained adds up to what the model's own count says, family by family. */
import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/index.js';
import { countParameters, getModel } from '../model/index.js';
import { isTrained } from './parameter.js';
import { parameters, shardElements } from './parameters.js';

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
});
