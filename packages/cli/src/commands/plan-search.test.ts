import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readPlan } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { monta, type Ran } from '../../testing/run-monta.js';

const model = 'mixtral-8x7b truncated to 8 layers';
const plan = (...inputs: string[]): Promise<Ran> => monta('plan', '--model', model, '--cluster', 'h100-2x8', ...inputs);

describe('monta plan without a layout', () => {
  const folder = mkdtempSync(join(tmpdir(), 'monta-plan-'));
  const file = join(folder, 'plan.json');
  let ran: Ran;
  beforeAll(async () => {
    ran = await plan('--framework', 'megatron', '--sharing', 'distributed-optimizer', '--output', file);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('prints the fastest plan first, others of its kind behind, and why', () => {
    expect(ran.code).toBe(0);
    expect(ran.out).toContain('mixtral-8x7b, 8 layers · 16 x H100-SXM5-80GB');
    expect(ran.out.match(/^▸ /gmu)).toHaveLength(1);
    for (const label of ['Why', 'Overlap', 'Bytes', 'Memory', 'Bounds', 'Margin', 'If', 'Ranks', 'Searched'])
      expect(ran.out).toMatch(new RegExp(`^${label} `, 'mu'));
    expect(ran.out).toMatch(/one node fewer \(8 devices\)/u);
  });

  it('writes what export takes', async () => {
    const written = readPlan(readFileSync(file, 'utf8'), file);
    expect(written).toMatchObject({ model, cluster: 'h100-2x8', framework: 'megatron', globalBatch: 256 });
    const exported = await monta('export', file, '--to', 'torchrun');
    expect(exported).toMatchObject({ code: 0 });
    expect(exported.out).toContain(`--micro-batch-size ${written.sequences}`);
    expect(exported.out).toContain('--global-batch-size 256');
  });

  it('keeps to bounds, and prints the same plan as JSON', async () => {
    const { out } = await plan('--tp', '2', '--pp', '2..4', '--micro-batch', '1', '--json');
    const read = readPlan(out, 'out');
    expect(read.layout).toMatch(/^tp=2,.*pp=[24]/u);
    expect(read.sequences).toBe(1);
    expect(read.search.complete).toBe(true);
  });

  it("says what chooses chunks, where the plan's framework has any and nothing was judged", async () => {
    const one = ['--pp', '1', '--cp', '1', '--global-batch', '16'];
    const programs = (await plan(...one, '--framework', 'monta')).out;
    expect(programs).toMatch(/^Chunks +one a pass: --judge 5 beside/mu);
    expect((await plan('--cp', '2', '--global-batch', '16')).out).toMatch(
      /^Chunks +one a pass, as this plan is no program here \(programs have no context parallelism\)/mu,
    );
    const judged = (await plan(...one, '--framework', 'monta', '--judge', '1')).out;
    expect(judged).not.toMatch(/^Chunks /mu);
    expect(judged).toMatch(/^Judged /mu);
    expect(ran.out).not.toMatch(/^Chunks /mu);
  }, 120_000);

  it('names the file of a plan whose model is none here', async () => {
    const other = join(folder, 'other.json');
    writeFileSync(other, JSON.stringify({ ...readPlan(readFileSync(file, 'utf8'), file), model: 'nope' }));
    const { err, code } = await monta('explain', other);
    expect(err).toMatch(/other\.json {2}model: "nope" is not a known model/u);
    expect(code).toBe(2);
  });

  it('judges those that are programs by simulation, and says what is fastest', async () => {
    const flags = ['--pp', '1', '--global-batch', '16', '--judge', '2'];
    const { out } = await plan(...flags, '--no-flips');
    expect(out).toMatch(/^Judged +of 2 simulated, /mu);
    const { judged = [] } = readPlan((await plan(...flags, '--json')).out, 'out');
    expect(judged).toHaveLength(2);
    for (const { simulatedSeconds = 0, estimatedSeconds } of judged)
      expect(Math.abs(Math.log(simulatedSeconds / estimatedSeconds))).toBeLessThan(1);
    const refused = readPlan((await plan(...flags, '--cp', '2', '--json')).out, 'out').judged ?? [];
    expect(refused[0]?.why).toContain('context parallelism');
  });

  it.each([
    [['--tp', '3'], 2, 'has tp=3'],
    [['--dtype', 'f32'], 2, '--dtype'],
    [['--imbalance', '100'], 2, '--imbalance  100 times the mean'],
    ...[
      ['--pp', '2'],
      ['--host-states'],
      ['--dispatcher', 'gathered'],
      ['--rank-order', 'pp-dp'],
      ['--first-stage-layers', '3'],
      ['--judge', '3'],
      ['--exact'],
    ].map((bound) => [['--layout', 'dp=16,ep=8', ...bound], 2, 'either --layout or bounds'] as const),
    ...[
      ['--paged-stash', '1.1', '--imbalance', '2'],
      ['--exchange', 'deepep'],
      ['--calibration', 'links.json'],
      ['--routing', 'zipf:1'],
      ['--sequences', '2'],
      ['--capacity-factor', '1.25'],
      ['--gemm-efficiency', '0.5'],
      ['--payload', 'fp8'],
    ].map((flags) => [flags, 2, `${flags[0]}  is of one layout`] as const),
    [['--global-batch', '7', '--dp', '16'], 2, 'no layout'],
  ] as const)('refuses %j in words', async (flags, code, words) => {
    const refused = await plan(...flags);
    expect(refused.code).toBe(code);
    expect(refused.err).toContain(words);
  });

  it('says what is near where nothing fits', async () => {
    const refused = await monta('plan', '--model', 'mixtral-8x22b', '--cluster', 'h100-1x8', '--no-flips');
    expect(refused.code).toBe(2);
    expect(refused.err).toMatch(/no layout of mixtral-8x22b \(141 billion parameters\) fits on 8 x /u);
    expect(refused.err).toMatch(/the nearest that fits: .* devices/u);
  });
});

describe('plans from files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'monta-plan-'));
  const [first, second] = ['a.json', 'b.json'].map((name) => join(folder, name)) as [string, string];
  beforeAll(async () => {
    await plan('--framework', 'megatron', '--no-flips', '--output', first);
    await plan('--tp', '4', '--pp', '2', '--no-flips', '--output', second);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('are explained', async () => {
    const { out, code } = await monta('explain', first);
    expect(code).toBe(0);
    for (const label of ['Why', 'Memory', 'Bounds', 'Ranks']) expect(out).toMatch(new RegExp(`^${label} `, 'mu'));
    expect(out).not.toContain('the file says');
    const { expected } = readPlan(readFileSync(first, 'utf8'), first);
    const json = JSON.parse((await monta('explain', first, '--json')).out) as { seconds: number };
    expect(json.seconds).toBeCloseTo(expected.seconds, 9);
  });

  it('are priced anew where the file says otherwise', async () => {
    const written = readPlan(readFileSync(first, 'utf8'), first);
    const older = join(folder, 'older.json');
    const expected = { ...written.expected, seconds: written.expected.seconds * 1.25 };
    writeFileSync(older, JSON.stringify({ ...written, expected }));
    expect((await monta('explain', older)).out).toMatch(/this version prices it 20 % faster/u);
  });

  it('are laid beside one another', async () => {
    const same = await monta('compare', first, first);
    expect(same.out).toContain('both plans are the same');
    const { out } = await monta('compare', first, second);
    expect(out).toMatch(/layout +\S+ +tp=4/u);
    const { speed, differences } = JSON.parse((await monta('compare', first, second, '--json')).out) as {
      speed: number;
      differences: { asked: { field: string }[]; chosen: { field: string }[] };
    };
    expect(speed).toBeLessThan(1);
    expect(differences.asked.map(({ field }) => field)).toEqual(['framework']);
    expect(differences.chosen.map(({ field }) => field)).toContain('layout');
  });

  it.each([
    ['a plan of another version', (text: string) => text.replace('"version": 1', '"version": 9'), 'version'],
    ['no plan at all', () => '{ "model": "x" }', 'kind'],
    ['a layout of other devices', (text: string) => text.replace('h100-2x8', 'h100-1x8'), 'tp·cp·dp·pp'],
  ])('are refused in words: %s', async (_, change, words) => {
    const file = join(folder, 'changed.json');
    writeFileSync(file, change(readFileSync(first, 'utf8')));
    const { code, err } = await monta('explain', file);
    expect(code).toBe(2);
    expect(err).toContain(words);
  });

  it('are simulated and trained as far as programs go', async () => {
    const small = join(folder, 'small.json');
    const flags = ['--model', 'tiny-bytes', '--cluster', 'laptop-2x4', '--framework', 'monta', '--global-batch', '16'];
    await monta('plan', ...flags, '--sequence', '64', '--output', small);
    const { sequences, layout } = readPlan(readFileSync(small, 'utf8'), small);
    const { out, code } = await monta('simulate', '--plan', small, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ model: 'tiny-bytes', layout, sequence: 64, sequences });
    const twice = await monta('simulate', '--plan', small, '--model', 'tiny-bytes');
    expect([twice.code, twice.err]).toEqual([2, expect.stringContaining('the plan says what is simulated')]);
    const staged = await monta('simulate', '--plan', second);
    expect([staged.code, staged.err]).toEqual([2, expect.stringContaining('2 stages of a pipeline are not run here')]);
    const sharded = join(folder, 'sharded.json');
    writeFileSync(sharded, JSON.stringify({ ...readPlan(readFileSync(small, 'utf8'), small), sharing: 'fsdp' }));
    const shared = await monta('train', '--plan', sharded);
    expect([shared.code, shared.err]).toEqual([2, expect.stringContaining('sharing')]);
  });

  it('are not exported where no framework runs them', async () => {
    const file = join(folder, 'dualpipe.json');
    const written = readPlan(readFileSync(second, 'utf8'), second);
    writeFileSync(file, JSON.stringify({ ...written, schedule: 'dualpipe' }));
    const { code, err } = await monta('export', file, '--to', 'megatron');
    expect(code).toBe(2);
    expect(err).toContain('dualpipe is not written for any framework');
  });
});
