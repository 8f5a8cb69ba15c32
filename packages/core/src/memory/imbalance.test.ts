import { describe, expect, it } from 'vitest';
import { getModel } from '../model/names.js';
import { maxOf } from '../units/index.js';
import { Random } from '../units/random.js';
import { checkImbalance } from './imbalance.js';

describe('an imbalance that routing can have', () => {
  it.each([
    ['mixtral-8x7b', 4],
    ['deepseek-v3', 32],
  ])('%s: at most %d', (name, most) => {
    const model = getModel(name);
    expect(() => checkImbalance(most, model)).not.toThrow();
    expect(() => checkImbalance(most * 1.01, model)).toThrow(
      expect.objectContaining({ path: 'imbalance', expected: expect.stringContaining(`at most ${most}:`) }),
    );
  });

  it('is nothing to a dense model', () => {
    expect(() => checkImbalance(2, getModel('llama3-8b'))).not.toThrow();
  });

  it('is never above what the bound says, however experts are drawn and split over ranks', () => {
    const random = new Random(3);
    for (let draw = 0; draw < 500; draw++) {
      const ranks = 1 + random.integer(8);
      const experts = ranks * (1 + random.integer(4));
      const topK = 1 + random.integer(experts);
      const tokens = 1 + random.integer(6);
      const rows = new Int32Array(ranks);
      // Some draws send every token to the same experts: the fullest that a rank can be.
      const alike = random.uniform() < 0.5;
      const picks = (): number[] => Array.from({ length: experts }, (_, e) => e).sort(() => random.uniform() - 0.5);
      const first = picks();
      for (let token = 0; token < tokens; token++)
        for (const expert of (alike ? first : picks()).slice(0, topK)) {
          const rank = Math.floor(expert / (experts / ranks));
          rows[rank] = (rows[rank] ?? 0) + 1;
        }
      const imbalance = (maxOf(rows) * ranks) / (tokens * topK);
      // Of a ratio that rounds up, a hair less.
      expect(() =>
        checkImbalance(imbalance * (1 - 1e-12), { ...getModel('mixtral-8x7b'), experts, topK }),
      ).not.toThrow();
    }
  });
});
