import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { median } from '../units/quantiles.js';
import { layerErrors, readMeasuredLayers, type MeasuredLayer } from './measured-layers.js';

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

  it("by Monta's kernels, are within 15 %, many small experts batched by size among them", () => {
    expect(of('monta')).toHaveLength(4);
    expect(of('monta').filter(({ error }) => Math.abs(error) >= 0.15)).toEqual([]);
  });

  it('take far longer in one grouped call where experts are many and small, and hardly where they are large', () => {
    const seconds = (products: MeasuredLayer['products']): number[] =>
      layerErrors(of('monta').map(({ layer }) => ({ ...layer, products }))).map((one) => one.predictedSeconds);
    const [grouped, batched] = [seconds(['grouped']), seconds(['batched'])];
    const ratios = of('monta').map(({ layer }, i) => [layer.shape.experts, (grouped[i] ?? 0) / (batched[i] ?? 1)]);
    for (const [experts = 0, ratio = 0] of ratios) expect(ratio > 1.1).toBe(experts > 100);
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
    const head = 'label,source,cluster,layout,tokens,hidden,ffn,experts,top_k,pass,ms,products,gradients\n';
    const row = 'a,b,h100-1x8,"dp=8,ep=8",4096,7168,2048,32,8,forward';
    expect(() => readMeasuredLayers(`${head}${row}\n`, 'x.csv')).toThrow(/10 fields/u);
    const read = (end: string) => () => readMeasuredLayers(`${head}${row},${end}\n`, 'x.csv');
    expect(read('fast,loop,added')).toThrow(/"fast" is not a number/u);
    expect(read('7,loop,lost')).toThrow(/"lost" is unknown/u);
    expect(read('7,loop knot,added')).toThrow(/"knot" is unknown/u);
  });
});
