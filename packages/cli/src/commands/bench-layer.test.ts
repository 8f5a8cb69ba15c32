import { describe, expect, it } from 'vitest';
import { benchedLayers } from './bench-layer.js';

const flags = { json: false, device: 'cuda', tokens: 8192, peers: false } as const;

describe('layers that monta bench layer times', () => {
  it('are the four shapes unless told otherwise', () => {
    expect([...benchedLayers(flags).keys()]).toEqual(['M', 'Q', 'D', 'X']);
    expect(benchedLayers({ ...flags, only: ['Q'], tokens: 512 }).get('Q')).toEqual({
      tokens: 512,
      hidden: 2048,
      ffn: 768,
      experts: 128,
      picks: 8,
      renormalise: true,
    });
  });

  it("are a model's", () => {
    expect([...benchedLayers({ ...flags, model: 'mixtral-8x7b' }).values()]).toEqual([
      { tokens: 8192, hidden: 4096, ffn: 14_336, experts: 8, picks: 2, renormalise: true },
    ]);
  });

  it('refuse what the layer on a GPU does not compute, and names that nobody has', () => {
    expect(() => benchedLayers({ ...flags, model: 'deepseek-v3' })).toThrow('routes by sigmoid');
    expect(() => benchedLayers({ ...flags, only: ['Z'] })).toThrow('"Z" is no shape');
    expect(() => benchedLayers({ ...flags, only: ['M'], model: 'mixtral-8x7b' })).toThrow('--model and --only');
    expect(() => benchedLayers({ ...flags, tokens: 0 })).toThrow('--tokens is 0');
  });
});
