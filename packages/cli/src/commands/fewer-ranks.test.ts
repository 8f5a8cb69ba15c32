import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';
import { trainConfigDocument, trainConfigFrom } from '../config/train-config.js';

const folder = (): string => mkdtempSync(join(tmpdir(), 'monta-fewer-'));
const json = async <T>(...inputs: string[]): Promise<T> => JSON.parse((await monta(...inputs, '--json')).out) as T;

interface Priced {
  readonly part: { readonly ofDevices: number; readonly used: string } | null;
  readonly layout: string;
  readonly devices: number;
  readonly seconds?: number;
  readonly totalBytes?: number;
  readonly best?: { readonly seconds: number };
}

const model = ['--model', 'gpt-oss-120b'];

describe('fewer ranks than devices', () => {
  it.each([
    ['plan', 'gb200-nvl72', 'gb200-1x64', 'dp=64,ep=64', ['--no-flips', '--scope', 'dispatch']],
    ['simulate', 'gb200-nvl72', 'gb200-1x64', 'dp=64,ep=64', []],
    ['memory', 'gb200-nvl72', 'gb200-1x64', 'dp=64,ep=64', []],
    ['simulate', 'h100-16x8', 'h100-4x8', 'tp=8,dp=4,ep=4', ['--of', 'dispatch']],
    ['simulate', 'h100-16x8', 'h100-1x8', 'tp=8,dp=1', ['--of', 'dispatch']],
  ] as const)('%s of %s prices what %s costs, and says which devices', async (command, whole, own, layout, flags) => {
    const of = (cluster: string) => json<Priced>(command, ...model, '--cluster', cluster, '--layout', layout, ...flags);
    const [part, alone] = [await of(whole), await of(own)];
    expect(part.devices).toBe(alone.devices);
    expect(part.part?.ofDevices).toBeGreaterThan(part.devices);
    expect(alone.part).toBeNull();
    expect([part.seconds, part.totalBytes, part.best?.seconds]).toEqual([
      alone.seconds,
      alone.totalBytes,
      alone.best?.seconds,
    ]);
  });

  it('says in words which are used', async () => {
    const shown = await monta('memory', ...model, '--cluster', 'gb200-nvl72', '--layout', 'dp=64,ep=64');
    expect(shown.out).toContain('64 of 72 x GB200');
    expect(shown.out).toContain('devices 0 to 63 of the 72 of the one node; the others are idle');
  });

  it('names a nearest that is on the same devices when it is typed', async () => {
    const asked = ['--model', 'qwen3-30b-a3b', '--cluster', 'h100-2x8', '--sequence', '16384', '--sequences', '4'];
    const { out } = await monta('memory', ...asked, '--layout', 'tp=8,dp=1,etp=1');
    const flags = /^the nearest that fits: (.*) \(/mu.exec(out)?.[1]?.split(' ') ?? [];
    const again = await json<Priced & { fits: boolean }>('memory', ...asked, ...flags);
    expect(again).toMatchObject({ fits: true, devices: 8 });
  });

  it('refuses what fills no nodes equally', async () => {
    const refused = await monta('memory', ...model, '--cluster', 'h100-2x8', '--layout', 'dp=13');
    expect(refused.err).toContain('--layout  13 ranks do not fill nodes of h100-2x8 equally');
    expect(refused.err).toContain('like 12');
  });

  it('searches over fewer devices, and reads its plan back', async () => {
    const file = join(folder(), 'plan.json');
    const few = ['--model', 'olmoe-1b-7b', '--cluster', 'h100-2x8'];
    const one = await json<{ layout: string; expected: unknown }>('plan', ...few, '--devices', '8', '--output', file);
    const own = await json<{ layout: string; expected: unknown }>('plan', ...few.slice(0, 2), '--cluster', 'h100-1x8');
    expect(one.expected).toEqual(own.expected);
    const explained = await monta('explain', file);
    expect(explained.code).toBe(0);
    expect(explained.out).toContain('8 of 16 x H100');
    const refused = await monta('plan', ...few, '--devices', '17');
    expect(refused.err).toContain('--devices  17 ranks on the 16 devices of h100-2x8');
  });

  it('exports a plan with one replica of fewer ranks', async () => {
    const file = join(folder(), 'plan.json');
    const asked = ['--model', 'mixtral-8x7b', '--cluster', 'h100-2x8', '--layout', 'tp=8,dp=1,sp'];
    writeFileSync(file, (await monta('plan', ...asked, '--no-flips', '--scope', 'dispatch', '--json')).out);
    const exported = await monta('export', file, '--to', 'megatron');
    expect(exported.code).toBe(0);
    expect(exported.out).toContain('--tensor-model-parallel-size 8');
    expect(exported.out).not.toMatch(/--nproc-per-node 16/u);
  });

  it('trains on part of an emulated cluster, as its own configuration says again', () => {
    const text = 'cluster: laptop-2x4\nlayout: { tp: 2, dp: 1 }\n';
    const config = trainConfigFrom(text, 'train.yaml');
    expect(config.cluster.part?.ofDevices).toBe(8);
    expect(config.cluster.tiers.map(({ size }) => size)).toEqual([2]);
    const again = trainConfigFrom(JSON.stringify(trainConfigDocument(config)), 'run.json');
    expect(again.layout).toEqual(config.layout);
    expect(again.cluster).toEqual(config.cluster);
  });
});
