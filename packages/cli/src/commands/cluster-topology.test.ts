import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

/** `nvidia-smi topo -m` of so many GPUs, each with so many links to every other. */
function matrixFile(gpus: number, links: number, before = ''): string {
  const names = Array.from({ length: gpus }, (_, gpu) => `GPU${gpu}`);
  const rows = names.map((name, a) => [name, ...names.map((_, b) => (a === b ? 'X' : `NV${links}`))].join('\t'));
  const file = join(mkdtempSync(join(tmpdir(), 'monta-topology-')), 'topo.txt');
  writeFileSync(file, `${before}\t${names.join('\t')}\tCPU Affinity\n${rows.join('\n')}\n`);
  return file;
}

describe('the topology of a node', () => {
  it('of a tray: warns of the guess, also beside --yaml, and takes what is given', async () => {
    const tray = [matrixFile(4, 18), '--gpu', 'gb200', '--nodes', '18'];
    const guessed = await monta('cluster', ...tray, '--yaml');
    expect(guessed.out).toContain('size: 72');
    expect(guessed.err).toContain('--nvlink-domain');
    const given = await monta('cluster', ...tray, '--nvlink-domain', '36', '--json');
    const { tiers } = JSON.parse(given.out) as { tiers: { size: number }[] };
    expect(tiers.map(({ size }) => size)).toEqual([36, 2]);
    expect(given.err).toBe('');
    const refused = await monta('cluster', 'gb200-nvl72', '--nvlink-domain', '36');
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toContain('--nvlink-domain without a topology');
  });

  it('warns where --gpu contradicts it', async () => {
    const file = matrixFile(8, 12, 'GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-1)\n');
    const contradicted = await monta('cluster', file, '--gpu', 'h100');
    expect(contradicted.code).toBe(0);
    expect(contradicted.err).toContain('says that the GPUs are a100, not H100-SXM5-80GB. H100-SXM5-80GB is taken.');
    expect((await monta('cluster', file, '--gpu', 'a100')).err).toBe('');
  });

  it('warns of it in commands that take it as a cluster, too', async () => {
    const file = matrixFile(4, 12, 'GPU 0: NVIDIA H100 PCIe (UUID: GPU-1)\n');
    for (const command of ['memory', 'simulate'] as const) {
      const { code, err } = await monta(command, '--model', 'olmoe-1b-7b', '--cluster', file, '--layout', 'dp=4,ep=4');
      expect(code).toBe(0);
      expect(err).toContain('12 links of NVLink a GPU');
    }
  });
});
