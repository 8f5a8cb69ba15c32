/** Files that stand for a cluster, and logs of nccl-tests on it. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { shownError } from '../base/shown-error.js';
import { evidenceRows } from './dropped-subject.js';
import { readSubject, type SubjectFiles } from './subject.js';

/** Four GPUs in pairs of 18 links, a NIC beside each, as `nvidia-smi topo -m` prints them. */
const topology = {
  name: 'topo.txt',
  text: [
    '\tGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity',
    'GPU0\t X \tNV18\tPIX\tSYS\t0-47\t0',
    'GPU1\tNV18\t X \tSYS\tPIX\t48-95\t1',
    'NIC0\tPIX\tSYS\t X \tSYS',
    'NIC1\tSYS\tPIX\tSYS\t X ',
    '',
    'NIC Legend:',
    '  NIC0: mlx5_0',
    '  NIC1: mlx5_1',
    '',
  ].join('\n'),
};

/** As nccl-tests prints one table of `all_gather_perf`, at 300 GB/s of bus bandwidth. */
function log(gpu: string): string {
  const rows = [20, 24, 28].map((power) => {
    const bytes = 2 ** power;
    const microseconds = (bytes * 0.5) / 300e3;
    const rate = bytes / microseconds / 1e3;
    const results = [microseconds, rate, rate / 2].map((one) => one.toFixed(2));
    return `${bytes} ${bytes / 4} float none -1 ${results.join(' ')} 0`;
  });
  return [
    '# nThread 1 nGpus 2 minBytes 1048576 maxBytes 268435456 step: 16(factor)',
    '# Using devices',
    `#  Rank  0 Group  0 Pid 10 on node1 device  0 [0x1b] ${gpu}`,
    `#  Rank  1 Group  0 Pid 10 on node1 device  1 [0x43] ${gpu}`,
    '#       size         count      type   redop    root     time   algbw   busbw #wrong',
    '#        (B)    (elements)                               (us)  (GB/s)  (GB/s)',
    ...rows,
    '',
  ].join('\n');
}

const read = (files: SubjectFiles, fields: Readonly<Record<string, string>> = {}) =>
  readSubject({ fields: { model: 'mixtral-8x7b', cluster: 'h100-2x8', ...fields }, files });

const complaint = async (asked: Promise<unknown>): Promise<ReturnType<typeof shownError>> => {
  try {
    await asked;
  } catch (error) {
    return shownError(error);
  }
  throw new Error('no complaint');
};

describe('a topology', () => {
  it('stands for as many nodes as are asked for', async () => {
    const { cluster, evidence } = await read({ cluster: topology }, { nodes: '4', gpu: 'h100' });
    expect(cluster.tiers.map(({ size }) => size)).toEqual([2, 4]);
    expect(cluster.tiers[0]?.bytesPerSecond).toBe(18 * 25e9);
    expect(evidence?.grounds.map(({ ground }) => ground)).toEqual(['given', 'guessed']);
  });

  it('asks at their fields for what it does not say', async () => {
    expect((await complaint(read({ cluster: topology }))).field).toBe('gpu');
    expect((await complaint(read({ cluster: topology }, { gpu: 'h100', nodes: '0' }))).field).toBe('nodes');
  });

  it('is complained of at the cluster, with its place in the file', async () => {
    const text = 'tiers:\n  - { name: nvlink, size: 8, bandwidth: 200 Gpbs }\n';
    const { field, message } = await complaint(read({ cluster: { name: 'model', text } }));
    expect(field).toBe('cluster');
    expect(message).toContain('model:');
  });
});

describe('logs of nccl-tests', () => {
  const h100 = 'NVIDIA H100 80GB HBM3';

  it('measure the tier that they ran over', async () => {
    const { cluster, evidence } = await read({ logs: [{ name: 'all_gather.txt', text: log(h100) }] });
    if (evidence === undefined) throw new Error('no evidence');
    const [inside, across] = evidenceRows(cluster, evidence);
    expect(inside).toMatchObject({ ground: 'measured', measured: '300 GB/s' });
    expect(across).toMatchObject({ ground: 'given', measured: undefined });
  });

  it('of another device measure nothing of this one', async () => {
    const { cluster, evidence } = await read({
      logs: [{ name: 'all_gather.txt', text: log('NVIDIA A100-SXM4-80GB') }],
    });
    if (evidence === undefined) throw new Error('no evidence');
    expect(evidenceRows(cluster, evidence).map(({ measured }) => measured)).toEqual([undefined, undefined]);
  });

  it('as published are read', async () => {
    const name = 'cluster-toolkit-a3mega-allgather.txt';
    const path = new URL(`../../../core/src/cost/calibration/fixtures/${name}`, import.meta.url);
    const { evidence } = await read({ logs: [{ name, text: readFileSync(path, 'utf8') }] });
    expect(evidence?.grounds.map(({ ground }) => ground)).toEqual(['given', 'measured']);
    expect(evidence?.notes.join()).toContain('does not say its GPU');
  });

  it('that are none are complained of by their name', async () => {
    const { field, message } = await complaint(read({ logs: [{ name: 'x.txt', text: 'size time busbw\n' }] }));
    expect([field, message.includes('x.txt')]).toEqual(['cluster', true]);
  });
});
