import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Span } from '@monta/core';
import { monta, type Ran } from '../../testing/run-monta.js';
import { ganttText, lettersOf } from './simulate-gantt.js';
import { maxOf } from '@monta/core';

const folder = mkdtempSync(join(tmpdir(), 'monta-simulate-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const simulate = (...inputs: string[]): Promise<Ran> => monta('simulate', ...inputs);

interface Result {
  readonly kind: string;
  readonly seconds: number;
  readonly dispatch: string;
  readonly chosen: boolean;
  readonly layersShown: number | null;
  readonly wholeStep: { readonly seconds: number } | null;
  readonly operations: readonly Span[];
  readonly tiers: readonly { readonly name: string; readonly bytesPerRank: readonly number[] }[];
  readonly ports: readonly { readonly tier: number; readonly bytes: number }[];
  readonly path: readonly { readonly start: number; readonly end: number }[];
  readonly held: readonly { readonly seconds: number }[];
  readonly lanes: readonly { readonly rank: number }[];
}

const base = ['--model', '2x70b', '--cluster', 'a800-2x8', '--layout', 'tp=8,dp=2,ep=2', '--sequence', '1024'];
const json = async (...inputs: string[]) => JSON.parse((await simulate(...base, ...inputs, '--json')).out) as Result;

describe('monta simulate', () => {
  let layer: Result;
  beforeAll(async () => {
    layer = await json('--dispatch', 'scattered:4/2');
  });

  it('refuses what cannot run, and a step of which the program lacks parts', async () => {
    const folded = ['--model', 'qwen3-30b-a3b', '--cluster', 'h100-2x8', '--layout', 'tp=8,dp=2,ep=16,etp=1'];
    const { err, code } = await simulate(...folded, '--dispatch', 'duplicated');
    expect(code).toBe(2);
    expect(err).toMatch(/duplicated cannot run with .*needs etp = tp/u);
    const extra = ['--model', 'deepseek-v3', '--cluster', 'h100-2x8', '--layout', 'dp=16,ep=16'];
    expect((await simulate('--of', 'step', ...extra)).err).toMatch(/lacks 1 layers of multi-token prediction/u);
  });

  it('says of a whole step what stacks add to it: published runs of this one are in that range', async () => {
    const qwen = ['--model', 'qwen3-30b-a3b', '--cluster', 'b200-1x8', '--layout', 'dp=8,ep=8', '--sequences', '8'];
    const { out } = await simulate('--of', 'step', ...qwen, '--dispatch', 'scattered:1/1');
    const [, least = '', most = ''] = /([\d,]+) to ([\d,]+) tokens\/s a GPU/u.exec(out) ?? [];
    const figure = (text: string): number => Number(text.replaceAll(',', ''));
    // 9,930 with TorchTitan's all_to_all, 14,796 with DeepEP (NousResearch/torchtitan#19)
    expect(figure(least)).toBeLessThan(1.02 * 9930);
    expect(figure(most)).toBeGreaterThan(14_796);
  });

  it('lets the host decide where it takes long to issue operations', async () => {
    const few = ['--of', 'dispatch', '--dispatch', 'scattered:4/2'];
    const [usual, slow] = [await json(...few), await json(...few, '--host-time', '1ms')];
    const own = slow.operations.length;
    expect(slow.seconds).toBeGreaterThan(0.9e-3 * own);
    expect(usual.seconds).toBeLessThan(0.2 * slow.seconds);
    expect((await simulate(...base, '--host-time', 'soon')).code).toBe(2);
  });

  it('gives a timeline whose parts add up', () => {
    expect(layer).toMatchObject({ kind: 'simulated', dispatch: 'scattered:4/2', chosen: false, layersShown: null });
    expect(layer.lanes).toHaveLength(16);
    expect(maxOf(layer.operations.map(({ end }) => end))).toBeCloseTo(layer.seconds, 9);
    // the critical path covers the whole time, and so do the resources that held it
    expect(layer.path.reduce((sum, { start, end }) => sum + end - start, 0)).toBeCloseTo(layer.seconds, 9);
    expect(layer.held.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(layer.seconds, 9);
  });

  it('counts bytes as the formula does, and the same on ports as on ranks', async () => {
    const dispatch = await json('--of', 'dispatch', '--dispatch', 'sliced');
    // V/TP there and back in either pass, half of it to the other node, V = k T h s
    const crossing = (4 * (2 * 1024 * 8192 * 2)) / 8 / 2;
    const network = dispatch.tiers[1]?.bytesPerRank ?? [];
    expect(network.reduce((a, b) => a + b, 0) / 16).toBeCloseTo(crossing, 6);
    const out = dispatch.ports.filter(({ tier }) => tier === 1).reduce((sum, { bytes }) => sum + bytes, 0) / 2;
    expect(out).toBeCloseTo(16 * crossing, 3);
  });

  it('shows the chosen strategy when asked to choose', async () => {
    const chosen = await json('--of', 'dispatch');
    expect(chosen.chosen).toBe(true);
    const given = await json('--of', 'dispatch', '--dispatch', chosen.dispatch);
    expect(given.seconds).toBeCloseTo(chosen.seconds, 12);
    const duplicated = await json('--of', 'dispatch', '--dispatch', 'duplicated');
    expect(chosen.seconds).toBeLessThan(duplicated.seconds);
  });

  it('shows few layers of a deep step, and the time of all', async () => {
    const step = await json('--of', 'step', '--dispatch', 'scattered');
    expect(step.layersShown).toBe(2);
    expect(step.wholeStep?.seconds).toBeGreaterThan(step.seconds);
  });

  it('prints operations, lanes, tiers, what binds and a picture in letters', async () => {
    const { out, code } = await simulate(...base, '--dispatch', 'scattered:2');
    expect(code).toBe(0);
    for (const operation of ['all_to_all.1', 'experts.0', 'return.1'])
      expect(out).toMatch(new RegExp(`^moe\\.(?:forward|backward)/${operation} `, 'mu'));
    expect(out).toMatch(/^inter +(?:\S| )*a+/mu);
    expect(out).toMatch(/^lane of rank 0 +busy +waiting +exposed/mu);
    expect(out).toMatch(/^nvlink +.* of 200 GB\/s +device\d+\/nvlink/mu);
    expect(out).toMatch(/^Binds +compute /mu);
    expect(out).toContain('predicted, rests on datasheet');
  });

  it('writes a trace for Perfetto and a picture', async () => {
    const [trace, picture] = [join(folder, 'trace.json'), join(folder, 'timeline.svg')];
    const { code } = await simulate(
      ...base,
      '--dispatch',
      'sliced',
      '--rank',
      '3',
      '--perfetto',
      trace,
      '--svg',
      picture,
    );
    expect(code).toBe(0);
    const { traceEvents } = JSON.parse(readFileSync(trace, 'utf8')) as { traceEvents: { pid: number }[] };
    expect(new Set(traceEvents.map(({ pid }) => pid)).size).toBe(16);
    expect(readFileSync(picture, 'utf8')).toContain('>rank 3</text>');
  });

  it('shows the bubble of a pipeline, the same from every rank as from one of every kind', async () => {
    const flags = ['--of', 'step', '--model', 'mixtral-8x7b', '--cluster', 'h100-2x8', '--micro-batches', '3'];
    const pipeline = [...flags, '--layout', 'tp=2,dp=2,ep=2,pp=4', '--dispatch', 'scattered', '--rank', '12'];
    const { out, code } = await simulate(...pipeline);
    expect(code).toBe(0);
    // four stages, three micro-batches: half of the time but for the ends of the model
    const [, share] = /Pipeline +bubble (\d+) % .* mean over 4 stages/u.exec(out) ?? [];
    expect(Math.abs(Number(share) - 50)).toBeLessThan(6);
    expect(out).toMatch(/receive\.forward +- +0/u);
    const [one, all] = await Promise.all([simulate(...pipeline, '--json'), simulate(...pipeline, '--json', '--exact')]);
    const seconds = ({ out: text }: { out: string }) => (JSON.parse(text) as { seconds: number }).seconds;
    expect(seconds(one) / seconds(all)).toBeCloseTo(1, 9);
  });

  it.each([
    [['--dispatch', 'slcied'], /did you mean/u],
    [['--rank', '16'], /no rank 16/u],
    [['--layout', 'tp=4,pp=2,dp=2,ep=2'], /pp=2/u],
    [['--svg', join(folder, 'none', 'x.svg')], /no such file or folder/u],
    [['--of', 'lair'], /layer/u],
  ])('refuses %j with exit code 2', async (inputs, message) => {
    const rest = inputs[0] === '--layout' ? base.filter((_, i) => i !== 4 && i !== 5) : base;
    const { out, err, code } = await simulate(...rest, ...inputs);
    expect({ out, code }).toEqual({ out: '', code: 2 });
    expect(err).toMatch(message);
  });
});

const span = (task: string, lane: Span['lane'], issued: number, ready: number, end: number): Span => ({
  step: 0,
  rank: 0,
  node: 0,
  operation: `t/${task}.0`,
  template: 't',
  task,
  chunk: 0,
  of: 2,
  lane,
  issued,
  ready,
  end,
  bytes: 0,
});

describe('the picture in letters', () => {
  it('draws lanes in proportion to time, waiting apart', () => {
    const text = ganttText([span('experts', 'compute', 0, 0, 5), span('all_to_all', 'inter', 5, 7.5, 10)], 9 + 20);
    const [compute, inter] = text.split('\n');
    expect(compute).toBe(`compute  ${'e'.repeat(10)}`);
    expect(inter).toBe(`inter    ${' '.repeat(10)}${'·'.repeat(5)}${'a'.repeat(5)}`);
  });

  it('gives every kind a letter of its own while there are any', () => {
    const letters = lettersOf(['pack', 'place', 'aab', 'ab', 'pack']);
    expect(letters.size).toBe(4);
    expect(new Set(letters.values()).size).toBe(4);
  });
});
