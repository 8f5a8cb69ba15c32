import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';
import { ofCapacity } from './fit-text.js';

interface Memory {
  readonly fits: boolean;
  readonly totalBytes: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly changes: readonly { readonly what: string; readonly totalBytes: number; readonly time: string }[];
}

const step = ['--model', 'qwen3-30b-a3b', '--cluster', 'h100-2x8', '--layout', 'dp=16,ep=16'];

describe('monta memory', () => {
  it('says what takes memory, part by part, and what would take less and at what cost', async () => {
    const { out, code } = await monta('memory', ...step, '--json');
    expect(code).toBe(0);
    const memory = JSON.parse(out) as Memory;
    expect(memory.fits).toBe(true);
    expect(Object.values(memory.parts).reduce((a, b) => a + b, 0)).toBeCloseTo(memory.totalBytes, -1);
    for (const { totalBytes } of memory.changes) expect(totalBytes).toBeLessThan(memory.totalBytes);
    const full = memory.changes.find(({ what }) => what === '--recompute full');
    expect(full?.time).toMatch(/^\+\d.* % a token, estimated$/u);
    const changed = JSON.parse((await monta('memory', ...step, '--recompute', 'full', '--json')).out) as Memory;
    expect(changed.totalBytes / (full?.totalBytes ?? 0)).toBeCloseTo(1, 3);
  });

  it('counts weight shards, and the buffers of the library that exchanges rows', async () => {
    const partsOf = async (...flags: string[]): Promise<Memory['parts']> =>
      (JSON.parse((await monta('memory', ...step, ...flags, '--json')).out) as Memory).parts;
    const [plain, changed] = [await partsOf(), await partsOf('--weight-shards', '4', '--exchange', 'deepep')];
    expect(changed['weights']).toBeLessThan(plain['weights'] ?? 0);
    expect(changed['communication buffers'] ?? 0).toBeGreaterThan((plain['communication buffers'] ?? 0) + 1e8);
    const { err, code } = await monta('memory', ...step, '--expert-weight-shards', '2');
    expect(err).toMatch(/^--expert-weight-shards  2 weight shards of 1 ranks \(edp\)/u);
    expect(code).toBe(2);
    const dense = ['--model', 'llama-3-8b', '--cluster', 'h100-2x8', '--layout', 'dp=16'];
    const refused = await monta('memory', ...dense, '--expert-weight-shards', '2');
    expect(refused).toMatchObject({ code: 2, err: expect.stringContaining('llama-3-8b has no experts') });
  });

  it("counts a forward beside another micro-batch's backward, and refuses it in a pipeline", async () => {
    const mixtral = ['--model', 'mixtral-8x7b', '--cluster', 'h100-2x8', '--micro-batches', '4'];
    const memoryOf = async (...flags: string[]): Promise<Memory> =>
      JSON.parse((await monta('memory', ...mixtral, ...flags, '--json')).out) as Memory;
    const [behind, beside] = [
      await memoryOf('--layout', 'dp=16,ep=8'),
      await memoryOf('--layout', 'dp=16,ep=8', '--overlap-passes'),
    ];
    expect(beside.totalBytes).toBeGreaterThan(behind.totalBytes + 32 * 2 ** 20);
    const without = beside.changes.find(({ what }) => what === '--no-overlap-passes');
    expect(without?.totalBytes).toBeCloseTo(behind.totalBytes, -1);
    const { err, code } = await monta('memory', ...mixtral, '--layout', 'dp=8,ep=8,pp=2', '--overlap-passes');
    expect(err).toMatch(/^--overlap-passes  .*pp=2/u);
    expect(code).toBe(2);
  });

  it('says that layers are not computed whole of those alone of which it is true', async () => {
    const leftOut = async (model: string, cluster: string, layout: string): Promise<number> => {
      const { out } = await monta('memory', '--model', model, '--cluster', cluster, '--layout', layout, '--json');
      return (JSON.parse(out) as { readonly partialLayers: number }).partialLayers;
    };
    // Selection biases are computed; feed-forwards without gates are not.
    expect(await leftOut('moonlight-16b-a3b', 'h100-2x8', 'dp=16,ep=16')).toBe(0);
    expect(await leftOut('glm-4.5-air', 'h100-8x8', 'dp=64,ep=64')).toBe(0);
    expect(await leftOut('nemotron-3-8b', 'h100-1x8', 'dp=8')).toBe(32);
  });

  it('bounds rows of experts by their capacity', async () => {
    const mixtral = ['--model', 'mixtral-8x7b', '--cluster', 'h100-2x8', '--layout', 'dp=16,ep=8', '--json'];
    const saved = async (...flags: string[]): Promise<number> =>
      (JSON.parse((await monta('memory', ...mixtral, ...flags)).out) as Memory).parts[
        'activations kept for the backward'
      ] ?? 0;
    const skewed = await saved('--imbalance', '4');
    const bounded = await saved('--imbalance', '4', '--capacity-factor', '1.5');
    expect(bounded).toBeLessThan(skewed);
    expect(bounded).toBe(await saved('--imbalance', '1.5'));
    // Rows that are dropped in balanced routing too: half of them.
    const [all, half] = [await saved(), await saved('--capacity-factor', '0.5')];
    const shares = (await saved('--imbalance', '2')) - all;
    expect((all - half) / (shares / 2)).toBeCloseTo(1, 1);
    const { out } = await monta('memory', ...mixtral.slice(0, -1), '--capacity-factor', '1.25');
    expect(out).toMatch(/Experts +at most 1.25 times an even share each.*--imbalance/u);
  });

  it.each([
    ['--imbalance', '2'],
    ['--capacity-factor', '2'],
    ['--exchange', 'deepep'],
    ['--paged-stash', '1.1'],
  ])('refuses %s of a model without experts', async (flag, value) => {
    const dense = ['--model', 'llama-3-8b', '--cluster', 'h100-2x8', '--layout', 'dp=16'];
    const { err, code } = await monta('memory', ...dense, flag, value);
    expect({ code, err }).toMatchObject({ code: 2, err: expect.stringContaining('llama-3-8b has no experts') });
    expect(err.startsWith(flag)).toBe(true);
  });

  it('counts no driver and no libraries of GPUs on shares of a processor, where the main job runs', async () => {
    const main = ['--model', 'tiny-bytes', '--cluster', 'laptop-2x4', '--layout', 'tp=4,dp=2,ep=2'];
    const { out } = await monta('memory', ...main, '--json');
    const { fits, totalBytes, parts } = JSON.parse(out) as Memory;
    expect(fits).toBe(true);
    expect(totalBytes).toBeLessThan(64 * 2 ** 20);
    expect(Object.keys(parts)).not.toContain("driver's context");
    const shown = (await monta('memory', ...main)).out;
    expect(shown).toMatch(/Rests on +Megatron-Core's rules, without a driver and libraries of GPUs/u);
    expect((await monta('memory', ...step)).out).toMatch(/Rests on +what Megatron-Core with TransformerEngine keeps/u);
  });

  it('tells needs and room apart however near they are', () => {
    const text = (total: number, capacity: number): string =>
      ofCapacity({ totalBytes: total * 2 ** 30, capacityBytes: capacity * 2 ** 30 });
    expect(text(140.3, 79.6)).toBe('140 of 80 GiB');
    expect(text(80.2, 79.6)).toBe('80.2 of 79.6 GiB');
    expect(text(79.62, 79.6)).toBe('79.62 of 79.60 GiB');
    expect(text(3.96, 4)).toBe('3.96 of 4.00 GiB');
    expect(text(0.0113, 1)).toBe('0.01 of 1.00 GiB');
  });

  it('draws what is held over the passes, and begins with whether it fits', async () => {
    const svg = join(mkdtempSync(join(tmpdir(), 'monta-')), 'memory.svg');
    const { out, code } = await monta(
      'memory',
      ...step.slice(0, 4),
      '--layout',
      'dp=16',
      '--sharing',
      'none',
      '--svg',
      svg,
    );
    expect(code).toBe(0);
    const [first, second] = out.split('\n');
    expect(first).toMatch(/^does not fit: \d+ of 80 GiB$/u);
    expect(second).toMatch(/^the nearest that fits: --layout /u);
    expect(readFileSync(svg, 'utf8')).toContain('<svg');
  });

  it('has in JSON the nearest that the text prints, of a planned layout too; null where it fits', async () => {
    interface Near {
      readonly flags: Readonly<Record<string, unknown>>;
      readonly command: string | null;
      readonly totalBytes: number;
    }
    const asked = [...step.slice(0, 4), '--layout', 'dp=16', '--sharing', 'none'];
    const nearest = async (command: string): Promise<Near | null> =>
      (JSON.parse((await monta(command, ...asked, '--json')).out) as { nearest: Near | null }).nearest;
    const [near, planned] = [await nearest('memory'), await nearest('plan')];
    const text = (await monta('memory', ...asked)).out.split('\n')[1] ?? '';
    for (const [key, value] of Object.entries(near?.flags ?? {}))
      expect(text).toContain(`--${key.replace(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`)} ${String(value)}`);
    // What is said to fit does, in as many bytes, when it is asked for.
    const words = /that fits: (.*) \(/u.exec(text)?.[1]?.split(' ') ?? [];
    const again = await monta('memory', ...step.slice(0, 4), ...words, '--json');
    const { fits, totalBytes } = JSON.parse(again.out) as Memory;
    expect(fits).toBe(true);
    expect((near?.totalBytes ?? 0) / totalBytes).toBeCloseTo(1, 2);
    expect(planned?.command === null).toBe(!String(planned?.flags['layout']).includes('pp='));
    const room = JSON.parse((await monta('memory', ...step, '--json')).out) as { nearest: Near | null };
    expect(room.nearest).toBeNull();
  });

  it('names all that the nearest changes: virtual stages too; no layout that weight shards do not divide', async () => {
    const nearest = async (...flags: string[]): Promise<Memory> => {
      const [first, second = ''] = (await monta('memory', ...flags)).out.split('\n');
      expect(first).toMatch(/^does not fit/u);
      const changes = (/^the nearest that fits: (.*) \(/u.exec(second)?.[1] ?? '').split(' ');
      const kept = flags.filter((flag, index) => ![flag, flags[index - 1] ?? ''].some((one) => changes.includes(one)));
      const { out, code } = await monta('memory', ...kept, ...changes, '--json');
      expect(code).toBe(0);
      return JSON.parse(out) as Memory;
    };
    const deep = ['--model', 'deepseek-v3', '--cluster', 'h100-32x8', '--micro-batches', '8'];
    const virtual = [...deep, '--virtual-stages', '2', '--layout', 'tp=2,dp=32,ep=32,pp=4'];
    expect(await nearest(...virtual)).toMatchObject({ fits: true });
    const sharded = [...deep, '--weight-shards', '64', '--layout', 'tp=1,dp=128,ep=32,pp=2'];
    expect(await nearest(...sharded)).toMatchObject({ fits: true });
  });

  it.each([
    [['--recompute', 'everything'], 'none, selective, full'],
    [['--imbalance', '0.5'], 'from 1 to 65536'],
    [['--imbalance', '1e9'], 'from 1 to 65536'],
    [['--imbalance', '100'], '--imbalance  100 times the mean'],
    [['--sequence', '100000000'], '--sequence'],
    [['--layout', 'dp=8,cp=2,ep=16', '--sequence', '4098'], '--sequence  cp=2 cannot cut 4098 tokens'],
    [['--layout', 'tp=8,dp=2,ep=2,sp', '--sequence', '4097'], 'expected a sequence of a multiple of 8'],
    [['--layout', 'tp=3'], 'tp'],
    [['--virtual-stages', '4'], '--virtual-stages  4 virtual stages without a pipeline'],
    [
      ['--layout', 'dp=8,pp=2', '--virtual-stages', '64', '--micro-batches', '2'],
      '--virtual-stages  128 virtual stages',
    ],
    [['--layout', 'dp=8,pp=2', '--virtual-stages', '2'], '--micro-batches  1 micro-batches'],
    [['--paged-stash', '0.9'], '"0.9" is no paged stash'],
  ])('refuses %j', async (flags, part) => {
    const { err, code } = await monta(
      'memory',
      ...step.slice(0, 4),
      ...(flags[0] === '--layout' ? [] : step.slice(4)),
      ...flags,
    );
    expect(code).toBe(2);
    expect(err).toContain(part);
  });
});

describe('monta plan', () => {
  it('says first that a layout does not fit, with the nearest that does, then prints its table', async () => {
    const { out, code } = await monta(
      'plan',
      '--model',
      'qwen3-30b-a3b',
      '--cluster',
      'h100-1x8',
      '--layout',
      'dp=8',
      '--sharing',
      'none',
      '--no-flips',
    );
    expect(code).toBe(0);
    const lines = out.split('\n');
    expect(lines[0]).toMatch(/^does not fit: \d{3} of 80 GiB$/u);
    expect(lines[1]).toContain('the nearest that fits: --layout ');
    expect(out).toContain('▸');
  });

  it('names what this command takes, else the command that takes it; each fits when pasted', async () => {
    const asked = ['--model', '2x70b truncated to 79 layers', '--cluster', 'a800-4x8', '--layout', 'tp=8,dp=4,ep=2'];
    const { out } = await monta(
      'plan',
      ...asked,
      '--no-flips',
      '--sequence',
      '2048',
      '--no-overlap-chunks',
      '--virtual-stages',
      '1',
    );
    const [first, second, command = ''] = out.split('\n');
    expect(first).toMatch(/^does not fit: /u);
    expect(second).toMatch(/in one stage; the nearest that fits is a pipeline \((.*)\)/u);
    const words = Array.from(command.matchAll(/'([^']*)'|(\S+)/gu), ([, quotation, word]) => quotation ?? word ?? '');
    expect(words.slice(0, 2)).toEqual(['monta', 'memory']);
    const pasted = await monta(...words.slice(1));
    expect(pasted).toMatchObject({ code: 0, out: expect.stringMatching(/^fits: /u) as string });
    expect(pasted.out).toMatch(/pp=2/u);

    // A pipeline is nearer, and fits.
    const deep = ['--model', 'mixtral-8x22b', '--cluster', 'h100-8x8', '--no-flips'];
    const near = (await monta('plan', ...deep, '--layout', 'tp=8,dp=8,ep=1')).out.split('\n')[1] ?? '';
    const flags = (/^the nearest that fits: (.*) \(/u.exec(near)?.[1] ?? '').split(' ');
    expect(flags.join(' ')).not.toMatch(/pp=/u);
    const again = await monta('plan', ...deep, ...flags);
    expect(again.code).toBe(0);
    expect(again.out).not.toContain('does not fit');
  });
});
