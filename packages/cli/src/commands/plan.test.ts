import { beforeAll, describe, expect, it } from 'vitest';
import { monta, type Ran } from '../../testing/run-monta.js';
import { minOf } from '@monta/core';

const plan = (...inputs: string[]): Promise<Ran> => monta('plan', ...inputs);

interface Pass {
  readonly seconds: number;
  readonly boundSeconds: number;
  readonly bytes: readonly { readonly name: string; readonly perRank: number }[];
}
interface Candidate {
  readonly name: string;
  readonly seconds: number;
  readonly forward: Pass;
}
interface Plan {
  readonly best: Candidate;
  readonly baseline: Candidate;
  readonly candidates: readonly Candidate[];
  readonly margins: readonly { readonly share: number; readonly modelError: number; readonly tie: boolean }[];
  readonly step: { readonly best: { readonly seconds: number }; readonly baseline: { readonly seconds: number } };
}

/** Bytes that a rank sends between nodes. */
const inter = (candidate: Candidate | undefined) =>
  candidate?.forward.bytes.find(({ name }) => name === 'infiniband')?.perRank ?? 0;

const paper = [
  '--model',
  '2x70b',
  '--cluster',
  'a800-2x8',
  '--layout',
  'tp=8,dp=2,ep=2',
  '--sequence',
  '1024',
  '--scope',
  'dispatch',
];

describe('monta plan', () => {
  let result: Plan;
  let text: string;
  beforeAll(async () => {
    result = JSON.parse((await plan(...paper, '--no-flips', '--json')).out) as Plan;
    text = (await plan(...paper, '--no-flips')).out;
  });

  it('puts the fastest first, marks it, and keeps the baseline in sight', () => {
    const seconds = result.candidates.map((candidate) => candidate.seconds);
    expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
    expect(result.best.seconds).toBe(seconds[0]);
    expect(text.match(/^▸ /gmu)).toHaveLength(1);
    expect(text.match(/\(baseline\)/gu)).toHaveLength(1);
    expect(result.step.best.seconds).toBeLessThan(result.step.baseline.seconds);
  });

  it('shows the bytes that the formulas give', () => {
    // V = k T h s for T = 1024 tokens; half of it crosses the two nodes, there and back; slicing over TP = 8 sends an
    // eighth.
    const crossing = 2 * ((2 * 1024 * 8192 * 2) / 2);
    expect(inter(result.baseline) / crossing).toBeCloseTo(1, 2);
    expect(inter(result.candidates.find(({ name }) => name === 'sliced')) / (crossing / 8)).toBeCloseTo(1, 2);
  });

  it('is never below the bound of the bytes, and calls ties by the stated error', () => {
    for (const { forward } of result.candidates)
      expect(forward.seconds).toBeGreaterThanOrEqual(forward.boundSeconds * 0.999);
    for (const { share, modelError, tie } of result.margins) expect(tie).toBe(share < modelError);
    expect(text).toContain('(predicted)');
  });

  it.each([
    [['--layout', 'tp=8,dp=3'], /^--layout {2}tp·cp·dp·pp = /u],
    [['--layout', 'tp=16,dp=1,ep=1,etp=32'], /^--layout/u],
    [['--routing', 'zipf'], /zipf:EXPONENT/u],
    [['--scope', 'lair'], /layer/u],
    [['--sequence', '0'], /--sequence: "0" is out of range\n {2}expected a whole number from 1/u],
  ])('refuses %j with exit code 2', async (inputs, message) => {
    const base = ['--model', '2x70b', '--cluster', 'a800-2x8'];
    const layout = inputs[0] === '--layout' ? [] : ['--layout', 'tp=8,dp=2,ep=2'];
    const { out, err, code } = await plan(...base, ...layout, ...inputs);
    expect({ out, code }).toEqual({ out: '', code: 2 });
    expect(err).toMatch(message);
  });

  it('asks for what is missing', async () => {
    const { err, code } = await plan('--model', '2x70b');
    expect(code).toBe(2);
    expect(err).toMatch(/--(?:cluster|layout)/u);
  });

  it('is one row of plain halves where a replica is one rank, and never a margin over itself', async () => {
    const inputs = [
      '--model',
      'mixtral-8x7b',
      '--cluster',
      'h100-1x8',
      '--layout',
      'dp=8,ep=8',
      '--sequence',
      '512',
      '--no-flips',
    ];
    const { candidates, margins } = JSON.parse((await plan(...inputs, '--json')).out) as Plan;
    expect(new Set(candidates.map(({ seconds }) => seconds.toPrecision(9))).size).toBe(candidates.length);
    const plain = new Set(
      candidates.map(({ name }) => name).filter((name) => /^(?:scattered|sliced|duplicated)/u.test(name)),
    );
    expect(plain.size).toBe(1);
    for (const { share } of margins) expect(share).toBeGreaterThan(0);
  });

  it("folds experts where that is faster: etp below the layout's is tried", async () => {
    const inputs = [
      '--model',
      'qwen3-30b-a3b',
      '--cluster',
      'h100-2x8',
      '--layout',
      'tp=8,dp=2,ep=2',
      '--no-flips',
      '--json',
    ];
    const { best, candidates } = JSON.parse((await plan(...inputs)).out) as Plan;
    const own = candidates.filter(({ name }) => !name.includes('etp'));
    // the expert groups of 16 ranks stay: with fewer slices of an expert its rank holds more experts of the group
    const [, etp = '', ep = ''] = /etp ([124]) ep (\d+)/u.exec(best.name) ?? [];
    expect(Number(etp) * Number(ep)).toBe(16);
    expect(best.seconds).toBeLessThan(0.9 * minOf(own.map(({ seconds }) => seconds)));
  });

  it('takes what no cluster file holds from flags, and says whose it is', async () => {
    const inputs = [
      '--model',
      'mixtral-8x7b',
      '--cluster',
      'h100-2x2',
      '--layout',
      'tp=2,dp=2,ep=2',
      '--sequence',
      '1024',
      '--no-flips',
    ];
    const seconds = async (...flags: string[]): Promise<number> =>
      (JSON.parse((await plan(...inputs, ...flags, '--json')).out) as Plan).best.seconds;
    const plain = await seconds();
    expect(await seconds('--gemm-efficiency', '0.3')).toBeGreaterThan(1.2 * plain);
    expect(await seconds('--latency', 'infiniband:200us')).toBeGreaterThan(plain + 3e-4);
    expect(await seconds('--multiprocessors', '100')).toBeGreaterThan(plain);
    expect(await seconds('--capacity-factor', '0.5')).toBeLessThan(plain);
    const { out } = await plan(...inputs, '--gemm-efficiency', '0.3', '--library', 'deepep-v2', '--micro-batches', '4');
    expect(out).toMatch(/matrix products: 0\.3 of peak \(--gemm-efficiency\)/u);
    expect(out).toMatch(/6 of 132 \(DeepEP V2: 4 to 6/u);
    expect(out).toContain('4 micro-batches');
    expect((await plan(...inputs, '--latency', 'ethernet:1us')).err).toMatch(/tier of nvlink, infiniband/u);
  });

  it('refuses what it has no program for, in words', async () => {
    const base = ['--model', 'mixtral-8x7b', '--cluster', 'h100-2x8', '--layout'];
    expect((await plan(...base, 'tp=4,cp=2,ep=2')).err).toMatch(/no layer is simulated with context parallelism/u);
    const staged = await plan(...base, 'tp=4,pp=2,dp=2,ep=2');
    expect(staged.err).toMatch(/chosen within one pipeline stage/u);
    // What it says instead works.
    const [, bounds = ''] = /monta plan (?<bounds>.*), in place/u.exec(staged.err) ?? [];
    const searched = await plan('--model', 'mixtral-8x7b', '--cluster', 'h100-2x8', ...bounds.split(' '));
    expect(searched.out).toContain('▸ tp=4,dp=2,pp=2,ep=2');
    const extra = [
      '--model',
      'deepseek-v3',
      '--cluster',
      'h100-2x8',
      '--layout',
      'tp=1,dp=16,ep=16',
      '--sequence',
      '256',
      '--no-flips',
    ];
    const { out } = await plan(...extra, '--scope', 'dispatch');
    expect(out).toMatch(/Step +not predicted, its program lacks 1 layers of multi-token prediction/u);
  });
});
