import { beforeAll, describe, expect, it } from 'vitest';
import { monta, type Ran } from '../../testing/run-monta.js';

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
    // V = k T h s for T = 1024 tokens; half of it crosses the two nodes, there and back; slicing over TP = 8 sends an eighth.
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
});
