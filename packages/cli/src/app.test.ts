import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { clusterPresets, countParameters, getModel, modelPresets, readCluster } from '@monta/core';
import { monta } from '../testing/run-monta.js';
import { runMonta } from './app.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-app-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('monta', () => {
  it('explains itself without arguments, and every command with --help and examples', async () => {
    const overview = await monta();
    expect(overview.code).toBe(0);
    const commands = [...overview.out.matchAll(/^ {2}(\w+) {2,}\w/gmu)].map((match) => match[1] ?? '');
    expect(commands).toEqual(expect.arrayContaining(['plan', 'cluster', 'model']));
    for (const command of commands) {
      const help = await monta(command, '--help');
      expect(help).toMatchObject({ code: 0, err: '' });
      expect(help.out.split('EXAMPLES\n')[1]).toContain(`  monta ${command}`);
    }
  });

  it('prints its version', async () => {
    expect(await monta('--version')).toMatchObject({ code: 0, out: '9.9.9\n' });
  });

  it('suggests the nearest command and flag, exit code 2, nothing on standard output', async () => {
    expect(await monta('clsuter')).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('did you mean cluster?'),
    });
    expect(await monta('cluster', '--jsno')).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('did you mean --json?'),
    });
  });
});

describe('monta cluster', () => {
  it('lists every known cluster', async () => {
    const { out, code } = await monta('cluster');
    expect(code).toBe(0);
    for (const name of clusterPresets.keys()) expect(out).toMatch(new RegExp(`^${name} `, 'mu'));
  });

  it.each([...clusterPresets.keys()])('prints %s as a file that reads back as the same cluster', async (name) => {
    const { out, code } = await monta('cluster', name, '--yaml');
    expect(code).toBe(0);
    expect(readCluster(out, 'x.yaml')).toMatchObject({
      name,
      device: clusterPresets.get(name)?.device,
      tiers: clusterPresets.get(name)?.tiers,
    });
  });

  it('prints JSON in SI units', async () => {
    const { out } = await monta('cluster', 'a800-2x8', '--json');
    expect(JSON.parse(out)).toMatchObject({
      devices: 16,
      device: { memoryBytes: 80 * 2 ** 30 },
      tiers: [{ size: 8 }, { size: 2 }],
    });
  });

  it('points at the place of a wrong value', async () => {
    const path = file(
      'bad.yaml',
      'name: x\ndevice: { name: d, memory: 1 GiB, bf16: 1 TFLOPS, memoryBandwidth: 1 GB/s }\ntiers:\n' +
        '  - { name: a, size: 2, bandwidth: 200 Gpbs, latency: 1 us }\n',
    );
    const { err, out, code } = await monta('cluster', path);
    expect({ out, code }).toEqual({ out: '', code: 2 });
    expect(err).toContain(`${path}:4:36  tiers[0].bandwidth`);
    expect(err).toContain('did you mean 200 Gbps?');
  });

  it.each([
    ['no-such.yaml', /no such file/u],
    [folder, /is a folder/u],
    ['a800-2x9000x', /not a known cluster/u],
  ])('says what is wrong with %s', async (name, message) => {
    const { err, code } = await monta('cluster', name);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });

  it('reports a truncated file where it breaks off', async () => {
    const path = file('cut.json', '{"name": "x", "device": {"name": "d", "mem');
    const { err, code } = await monta('cluster', path);
    expect(code).toBe(2);
    expect(err).toContain(`${path}:1:`);
  });
});

/** The JSON of a model at a sequence length. */
async function flops(sequence: string) {
  const { out } = await monta('model', 'mixtral-8x7b', '--sequence', sequence, '--json');
  return JSON.parse(out) as {
    sequence: number;
    trainingFlopsPerToken: number;
    forwardFlopsPerToken: { total: number };
  };
}

describe('monta model', () => {
  it('lists every known model', async () => {
    const { out } = await monta('model');
    for (const name of modelPresets.keys()) expect(out).toMatch(new RegExp(`^${name} `, 'mu'));
  });

  it('shows parts that add up to the total', async () => {
    for (const model of modelPresets.values()) {
      const { out } = await monta('model', model.name);
      const counts = [...out.matchAll(/^([a-z][a-z -]*?) {2,}([\d,]+) /gmu)].map((match): [string, number] => [
        match[1] ?? '',
        Number((match[2] ?? '').replaceAll(',', '')),
      ]);
      const total = counts.find(([part]) => part === 'total')?.[1];
      const parts = counts.filter(([part]) => part !== 'total' && part !== 'multi-token prediction');
      expect(total).toBe(countParameters(model).total);
      expect(parts.reduce((sum, [, count]) => sum + count, 0)).toBe(total);
    }
  });

  it('counts more FLOPs for longer sequences, and says for which', async () => {
    const [short, long] = [await flops('1024'), await flops('32,768')];
    expect(long.sequence).toBe(32_768);
    expect(long.trainingFlopsPerToken).toBeGreaterThan(short.trainingFlopsPerToken);
    expect(short.trainingFlopsPerToken).toBeCloseTo(3 * short.forwardFlopsPerToken.total, 0);
    expect(getModel('mixtral-8x7b').layers).toBe(32);
  });

  it.each(['0', '8k', 'many'])('refuses a sequence of %s', async (sequence) => {
    expect(await monta('model', 'mixtral-8x7b', '--sequence', sequence)).toMatchObject({ code: 2, out: '' });
  });
});

it('says where its results did not get out, with exit code 2', async () => {
  let told = '';
  const full = {
    write(): never {
      throw Object.assign(new Error('write failed'), { code: 'ENOSPC', syscall: 'write' });
    },
  };
  const stderr = { write: (text: string) => (told += text) };
  expect(await runMonta(['model', '2x70b', '--json'], '1', { stdout: full, stderr, env: {} })).toBe(2);
  expect(told).toMatch(/^standard output {2}the disk is full\n/u);
});
