import { beforeAll, describe, expect, it } from 'vitest';
import { summarizeErrors } from '../bench/dispatch-report.js';
import { monta, type Ran } from '../../testing/run-monta.js';
import { parseChunks, parseEmulate } from './bench.command.js';
import { minOf } from '@monta/core';

const bench = (...inputs: string[]): Promise<Ran> => monta('bench', 'dispatch', ...inputs);

interface Case {
  readonly name: string;
  readonly chunks: number;
  readonly pass: string;
  readonly measured: readonly number[];
  readonly predictedSeconds: number;
  readonly boundSeconds: number;
  readonly deviation: number;
  readonly bytes: readonly { readonly name: string; readonly perRank: number }[];
}
interface Result {
  readonly emulated: boolean;
  readonly scale: { readonly volumeShare: number; readonly timeScale: number | null; readonly tokens: number };
  readonly fullSize: { readonly tokens: number };
  readonly cases: readonly Case[];
  readonly choice: { readonly name: string };
  readonly prediction: { readonly ofMedians: { readonly cases: number } };
}

/** Bytes that a rank sends to the other node, forward, in one piece. */
const crossing = ({ cases }: Result, name: string): number =>
  cases.find((one) => one.name === name && one.chunks === 1 && one.pass === 'forward')?.bytes[1]?.perRank ?? 0;

const shape = ['--tokens', '64', '--hidden', '32', '--experts', '4', '--topk', '2'];
const place = ['--cluster', 'laptop-2x2', '--layout', 'tp=2,dp=2,ep=2'];
const short = ['--rounds', '2', '--seconds', '1', '--chunks', '1,3'];

describe('monta bench dispatch', () => {
  let result: Result;
  beforeAll(async () => {
    result = JSON.parse((await bench(...shape, ...place, ...short, '--json')).out) as Result;
  });

  it('measures every pair of halves in every chunk count, both passes, and checks each result', () => {
    const cases = result.cases.map(({ name, chunks, pass }) => `${name} ${chunks} ${pass}`);
    expect(new Set(cases).size).toBe(10 * 2 * 2);
    expect(cases).toEqual(expect.arrayContaining(['duplicated 1 forward', 'scattered 3 backward', 'sliced 3 forward']));
    for (const { measured, predictedSeconds, boundSeconds, deviation } of result.cases) {
      expect(measured).toHaveLength(2);
      expect(measured.every((seconds) => seconds > 0)).toBe(true);
      expect(predictedSeconds).toBeGreaterThanOrEqual(boundSeconds);
      expect(deviation).toBeLessThan(1e-5);
    }
    expect(result.prediction.ofMedians.cases).toBe(40);
  });

  it('never runs faster than the bytes allow on the emulated links', () => {
    expect(result.emulated).toBe(true);
    for (const { measured, boundSeconds } of result.cases) expect(minOf(measured)).toBeGreaterThan(boundSeconds * 0.95);
  });

  it('counts the bytes that the formulas give: slicing over TP = 2 halves what crosses nodes', () => {
    expect(crossing(result, 'duplicated') / crossing(result, 'sliced')).toBeCloseTo(2, 6);
    expect(crossing(result, 'scattered')).toBe(crossing(result, 'sliced'));
  });

  it('says in words that the network is emulated, at which scale, and what binds', async () => {
    const { out, code } = await bench(...shape, ...place, '--rounds', '1', '--seconds', '1', '--only', 'sliced');
    expect(code).toBe(0);
    expect(out).toMatch(/^.* laptop-2x2 \(emulated\)/u);
    expect(out).toMatch(/^Scale +EMULATED network: .* (?:stretched|shortened to) [\d.]+x$/mu);
    expect(out).toMatch(/^Bound +forward .* that its bytes need on the busiest port/mu);
    expect(out).toMatch(/^duplicated +1 /mu);
    expect(out).not.toMatch(/^scattered /mu);
  });

  it('moves bytes at memory speed with --emulate off, and does not call that emulated', async () => {
    const { out, code } = await bench(...shape, ...place, ...short, '--only', 'sliced', '--emulate', 'off', '--json');
    expect(code).toBe(0);
    const off = JSON.parse(out) as Result;
    expect([off.emulated, off.scale.timeScale]).toEqual([false, null]);
  });

  it.each([
    [[...place], /--model, or --tokens, --hidden, --experts, --topk too/u],
    [[...place, '--tokens', '4', '--hidden', '4', '--experts', '4'], /--topk/u],
    [[...place, ...shape, '--model', 'mixtral-8x7b'], /--model and --tokens/u],
    [[...place, ...shape.slice(0, -1), '5'], /top-5 of 4 experts/u],
    [[...place, ...shape, '--rounds', '0'], /--rounds/u],
    [[...place, ...shape, '--chunks', '0'], /chunk counts/u],
    [[...place, ...shape, '--emulate', 'yes'], /auto, off/u],
    [[...place, ...shape, '--only', 'slcied'], /slcied/u],
    [['--cluster', 'laptop-2x2', '--layout', 'tp=2,dp=3', ...shape], /^--layout/u],
  ])('refuses %j with exit code 2', async (inputs, message) => {
    const { out, err, code } = await bench(...inputs);
    expect({ out, code }).toEqual({ out: '', code: 2 });
    expect(err).toMatch(message);
  });

  it('runs on part of a cluster, and says on which devices', async () => {
    const few = ['--cluster', 'h100-4x4', '--layout', 'tp=2,dp=4,ep=2', '--only', 'sliced', '--chunks', '1'];
    const { out, code } = await bench(...shape, ...few, '--rounds', '1', '--seconds', '1');
    expect(code).toBe(0);
    expect(out).toContain('8 ranks as threads');
    expect(out).toContain('2 of 4 nodes; all 4 devices of each; the others are idle');
  });

  it('computes what a flag of overlap asks for, beside what travels or apart, with the same results', async () => {
    const model = ['--model', 'deepseek-v2-lite', '--cluster', 'laptop-2x2', '--layout', 'dp=4,ep=4'];
    const quick = ['--rounds', '1', '--seconds', '1', '--chunks', '2', '--only', 'scattered'];
    const kinds = ['--overlap-shared', '--no-overlap-experts', '--overlap-weight-gradients'];
    const { out, code } = await bench(...model, ...quick, ...kinds, '--json');
    expect(code).toBe(0);
    const { cases, scale, probe } = JSON.parse(out) as Result & {
      readonly scale: { readonly computes: readonly string[]; readonly computeShare: number };
      readonly probe: { readonly kernels: Readonly<Record<string, unknown>> };
    };
    expect(scale.computes).toEqual(['experts', 'weightGradients', 'shared']);
    expect(scale.computeShare).toBeGreaterThan(0);
    for (const { deviation } of cases) expect(deviation).toBeLessThan(1e-5);
    const timed = Object.keys(probe.kernels).join();
    for (const kernel of ['moe.experts', 'moe.experts.weightGradient', 'mlp', 'mlp.backward'])
      expect(timed).toContain(kernel);
  });

  it.each([
    [['--no-overlap-reductions'], /^--overlap-reductions .*\n.*\n.*monta train --overlap-reductions/u],
    [['--overlap-passes'], /^--overlap-passes .*\n.*\n.*monta train --overlap-passes/u],
    [['--overlap-shared'], /^--overlap-shared {2}4 experts, top-2, hidden 32 has no experts that every token visits/u],
  ])('refuses %j with the reason and what to do', async (flags, words) => {
    const { code, err } = await bench(...shape, ...place, ...short, ...flags);
    expect(code).toBe(2);
    expect(err).toMatch(words);
  });
});

it('reads chunk counts and ways to emulate', () => {
  expect(parseChunks('4,1, 2,4')).toEqual([1, 2, 4]);
  expect([parseEmulate('auto'), parseEmulate('off'), parseEmulate('20')]).toEqual(['auto', 'off', 20]);
});

it('summarizes errors by magnitude', () => {
  expect(summarizeErrors([0.1, -0.2, 0.05, 0.15])).toEqual({
    cases: 4,
    within: 0.75,
    medianError: 0.125,
    worstError: -0.2,
  });
});
