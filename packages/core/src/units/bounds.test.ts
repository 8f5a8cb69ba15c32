/** What a small file could make a reader do without bounds: each is refused at once, at its place. */
import { describe, expect, it } from 'vitest';
import { getModel, readHfConfig, readModel } from '../model/index.js';
import { resolveLayout } from '../layout/index.js';
import { readCluster } from '../cluster/index.js';
import { readDocument } from './documents/index.js';
import { InputError } from './errors.js';

function complaint(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  throw new Error('nothing was refused');
}

const shape = (changes: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({
    hiddenSize: 64,
    layers: 2,
    attentionHeads: 4,
    vocabSize: 256,
    experts: 4,
    topK: 2,
    expertFfn: 64,
    ...changes,
  });

const mixtral = (changes: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({
    model_type: 'mixtral',
    hidden_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 256,
    num_local_experts: 4,
    num_experts_per_tok: 2,
    intermediate_size: 64,
    ...changes,
  });

const huge = [1e8, 1e9, 2 ** 53 - 1];

describe('counts of models', () => {
  it.each(
    huge.flatMap((count) => ['layers', 'experts', 'hiddenSize', 'vocabSize'].map((key) => [key, count] as const)),
  )('refuses %s %d where it stands', (key, count) => {
    expect(complaint(() => readModel(shape({ [key]: count }), 'm.yaml'))).toMatch(
      new RegExp(`^m\\.yaml:1:\\d+  ${key}: .*out of range\n  expected a whole number from 1 to \\d+$`),
    );
  });

  it.each([
    ['num_hidden_layers', 1e9],
    ['num_local_experts', 1e9],
    ['rms_norm_eps', -1],
    ['initializer_range', -0.02],
    ['router_aux_loss_coef', -1],
    ['rope_theta', 0],
    ['hidden_act', 'no such function'],
  ])('refuses %s %j in a config.json', (key, value) => {
    expect(complaint(() => readHfConfig(mixtral({ [key]: value }), 'config.json'))).toMatch(
      new RegExp(`^config\\.json:1:\\d+  ${key}: `),
    );
  });

  it('refuses more experts over all layers than anybody has', () => {
    expect(complaint(() => readModel(shape({ layers: 4096, experts: 65_536 }), 'm'))).toContain('268435456');
  });

  it('takes the largest models that there are', () => {
    expect(getModel('deepseek-v3').experts).toBe(256);
    expect(readModel(shape({ layers: 256, experts: 1024 }), 'm').layers).toBe(256);
  });
});

describe('counts of layouts and clusters', () => {
  it('refuses degrees and products beyond any machine', () => {
    expect(complaint(() => resolveLayout({ tp: 2 ** 40 }))).toContain('tp: 1099511627776 is not a parallel degree');
    expect(complaint(() => resolveLayout({ tp: 2 ** 19, dp: 2 ** 19 }))).toContain('274877906944 ranks');
  });

  it('refuses sizes of tiers', () => {
    const tier = '{ name: a, size: 4000000000, bandwidth: 1 GB/s, latency: 1 us }';
    const device = '{ name: d, memory: 1 GiB, bf16: 1 TFLOPS, memoryBandwidth: 1 GB/s }';
    expect(complaint(() => readCluster(`name: c\ndevice: ${device}\ntiers: [${tier}]`, 'c.yaml'))).toContain(
      'c.yaml:3:26  tiers[0].size: 4000000000 is out of range',
    );
  });
});

describe('documents', () => {
  it('reads many keys, and finds one that is there twice', () => {
    const keys = Array.from({ length: 20_000 }, (_, i) => `k${i}: ${i}`).join('\n');
    expect(readDocument(keys, 'f').map().need('k19999').integer({ max: 20_000 })).toBe(19_999);
    expect(complaint(() => readDocument(`${keys}\nk7: 1`, 'f'))).toContain('Map keys must be unique, "k7" is not');
  });

  it.each([
    ['aliases that multiply', Array.from({ length: 10 }, (_, i) => bombLine(i)).join('\n'), 'stands for'],
    ['an alias of what holds it', 'a: &a [*a]', 'what it is a part of'],
    ['lists in lists', '['.repeat(100_000), 'is nested too deeply'],
    ['maps in maps', '{a: '.repeat(100_000), 'is nested too deeply'],
    ['keys of keys', '? '.repeat(100_000), 'is nested too deeply'],
    ['more than anybody writes', '[0,' + '0,'.repeat(2 ** 20), 'holds too much'],
    ['maps as keys', '? [a, b]\n: 1', 'a key is no word'],
  ])('refuses %s', (_, text, expected) => {
    expect(complaint(() => readDocument(text, 'f.yaml'))).toMatch(new RegExp(`^f\\.yaml:\\d+:\\d+  .*${expected}`));
  });

  it('shows long values and control characters as they can be shown', () => {
    const text = `a: "\\e[31m${'y'.repeat(5000)}"`;
    const said = complaint(() => readDocument(text, 'evil\u001b[2J').map().need('a').integer({ max: 1 }));
    expect(said.length).toBeLessThan(300);
    expect(said).toContain('(5,010 characters)');
    expect(said.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });
});

/** Nine times the line before. */
function bombLine(index: number): string {
  const name = (i: number): string => `a${i}`;
  const items = index === 0 ? Array(9).fill('x') : Array(9).fill(`*${name(index - 1)}`);
  return `${name(index)}: &${name(index)} [${items.join(', ')}]`;
}
