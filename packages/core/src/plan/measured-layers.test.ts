import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { median } from '../units/quantiles.js';
import { layerErrors, readMeasuredLayers } from './measured-layers.js';

const name = 'moe-layers.csv';
const layers = readMeasuredLayers(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'), name);
const errors = layerErrors(layers);
const of = (source: string) => errors.filter(({ layer }) => layer.source === source);

describe('MoE layers that were timed', () => {
  it('on 8 H100 by Megatron-Core with the alltoall dispatcher, are within 15 % forward and backward', () => {
    expect(of('megatron').map(({ layer }) => layer.pass)).toEqual(['forward', 'backward']);
    for (const { error } of of('megatron')) expect(Math.abs(error)).toBeLessThan(0.15);
  });

  it('on one H200 by a compiled transformers block, are within 15 %', () => {
    expect(of('transformers')).toHaveLength(4);
    expect(of('transformers').filter(({ error }) => Math.abs(error) >= 0.15)).toEqual([]);
  });

  it("by Monta's kernels, are within 15 %, but for many small experts, whose products it batches by size", () => {
    const small = of('monta').filter(({ layer }) => layer.shape.experts > 100);
    const rest = of('monta').filter(({ layer }) => layer.shape.experts <= 100);
    expect(rest.filter(({ error }) => Math.abs(error) >= 0.15)).toEqual([]);
    expect(small.map(({ error }) => error > 0.15 && error < 0.5)).toEqual([true]);
  });

  it('are predicted far better than by the datasheet', () => {
    const [own, naive] = [
      median(errors.map((e) => Math.abs(e.error))),
      median(errors.map((e) => Math.abs(e.naiveError))),
    ];
    expect(naive).toBeGreaterThan(3 * own);
  });
});

describe('a table of measured layers', () => {
  it('names the line of a row that is cut and of a field that is no number', () => {
    const head = 'label,source,cluster,layout,tokens,hidden,ffn,experts,top_k,pass,ms\n';
    const row = 'a,b,h100-1x8,"dp=8,ep=8",4096,7168,2048,32,8,forward';
    expect(() => readMeasuredLayers(`${head}${row}\n`, 'x.csv')).toThrow(/10 fields/u);
    expect(() => readMeasuredLayers(`${head}${row},fast\n`, 'x.csv')).toThrow(/"fast" is not a number/u);
  });
});
