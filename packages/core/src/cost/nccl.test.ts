import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { clusterPresets, getCluster } from '../cluster/presets.js';
import { fabricOf } from '../traffic/fabric.js';
import { doubleTree } from '../traffic/flows.js';
import { median, quantile, maxOf, minOf } from '../units/index.js';
import { readMeasurementsCsv } from './calibration/csv.js';
import { collectiveAlgorithm, collectiveSeconds, priceCollective } from './collective.js';
import { costModel } from './model.js';
import type { CostInputs } from './inputs.js';
import { ncclAlgorithms } from './nccl.js';
import { busFactor } from './calibration/measurement.js';
import { balanced, presetErrors, presetSeconds } from './preset-collectives.js';

const fixture = new URL('./calibration/fixtures/nccl-tests-logs.csv', import.meta.url);
const logs = readMeasurementsCsv(readFileSync(fixture, 'utf8'), 'nccl-tests-logs.csv').measurements;
const errors = presetErrors(logs);
const mebi = 2 ** 20;
const gibi = 2 ** 30;

/** nccl-tests bus bandwidth, bytes/s. */
const busBandwidth = (preset: string, op: 'all_reduce' | 'all_gather', ranks: number, bytes: number): number =>
  (bytes * (op === 'all_reduce' ? 2 : 1) * (ranks - 1)) / ranks / presetSeconds(preset, op, ranks, bytes);

describe('presets alone against nccl-tests logs of two nodes', () => {
  const absolute = errors
    .filter(({ measurement }) => measurement.bytes >= 16 * mebi)
    .map(({ error }) => Math.abs(error));

  it('are within 12 % in the median from 16 MiB up', () => {
    expect(absolute.length).toBeGreaterThan(80);
    expect(median(absolute)).toBeLessThan(0.12);
  });

  it('are within 10 % at 4 GiB, but for GPUDirect-TCPX of 2023 and a cluster of slow NICs', () => {
    const at = (wanted: (system: string) => boolean): number[] =>
      errors.filter(({ measurement: m }) => m.bytes === 4 * gibi && wanted(m.system)).map(({ error }) => error);
    const tcpx = at((system) => system.includes('a3high'));
    const slow = at((system) => system === 'b200-ib');
    const rest = at((system) => system !== 'b200-ib' && !system.includes('a3high'));
    expect(maxOf(tcpx)).toBeLessThan(-0.2);
    expect(maxOf(slow.map(Math.abs))).toBeLessThan(0.16);
    expect(rest.length).toBeGreaterThan(5);
    expect(maxOf(rest.map(Math.abs))).toBeLessThan(0.1);
  });

  it('are far closer than bytes over nominal bandwidth', () => {
    const large = errors.filter(({ measurement }) => measurement.bytes >= 16 * mebi);
    expect(median(large.map(({ naiveError }) => Math.abs(naiveError)))).toBeGreaterThan(2 * median(absolute));
    expect(quantile(absolute, 0.75)).toBeLessThan(0.25);
  });
});

describe('collectives of NCCL on presets', () => {
  it('reach what was measured: all_reduce of 4 GiB over two H100 nodes, all_gather over B200', () => {
    expect(busBandwidth('h100-2x8', 'all_reduce', 16, 4 * gibi) / 462e9).toBeCloseTo(1, 1);
    const gather = busBandwidth('b200-2x8', 'all_gather', 16, 4 * gibi);
    expect(gather).toBeGreaterThan(307e9);
    expect(gather).toBeLessThan(366e9);
  });

  it.each([
    ['h100', 50, 2, 0.81],
    ['h100', 50, 4, 0.94],
    ['h100', 50, 8, 0.92],
    ['h100', 50, 16, 0.85],
    ['a100', 25, 2, 0.81],
  ])(
    'carry an all_to_all of 1 GiB on %s (NICs of %d GB/s, %d nodes) at the %d of a NIC of published tables',
    (...row) => {
      const [gpu, nic, nodes, published] = row;
      const seconds = presetSeconds(`${gpu}-${nodes}x8`, 'all_to_all', 8 * nodes, gibi);
      const share = (gibi * (nodes - 1)) / nodes / seconds / (nic * 1e9);
      // aliyun/SimAI, ata_ratio.csv: shares of what ConnectX-7 reaches, 48.5 of 50 GB/s, or ConnectX-6, 23.5 of 25
      const reached = gpu === 'h100' ? 48.5 / 50 : 23.5 / 25;
      expect(Math.abs(share / (published * reached) - 1)).toBeLessThan(0.15);
    },
  );

  it('carry an all_to_all of 1 GiB over two H200 nodes at 45.5 GB/s a NIC, within 15 %', () => {
    // NCCL 2.30.4 on two p5en (EFA, 16 x 200 Gb/s a node): 91 GB/s of algorithm bandwidth
    expect(Math.abs(gibi / presetSeconds('h200-2x8', 'all_to_all', 16, gibi) / 91e9 - 1)).toBeLessThan(0.15);
  });

  it('carry large collectives over two B300 nodes within a fifth', () => {
    // GB/s of bus bandwidth, NCCL 2.31.2 on two p6-b300 (EFA, 16 x 400 Gb/s a node)
    const measured = [
      ['all_to_all', gibi / 4, 152],
      ['all_to_all', gibi, 172.5],
      ['all_to_all', 8 * gibi, 179.5],
      ['all_gather', gibi, 690.2],
      ['reduce_scatter', gibi, 691.2],
      ['all_reduce', gibi, 770.6],
    ] as const;
    for (const [op, bytes, busRate] of measured) {
      const seconds = (bytes * busFactor(op, 16)) / (busRate * 1e9);
      expect(Math.abs(presetSeconds('b300-2x8', op, 16, bytes) / seconds - 1), `${op} ${bytes}`).toBeLessThan(0.21);
    }
  });

  it('take 29 to 56 us when small and over two nodes of 8, and more with more ranks', () => {
    for (const preset of ['h100', 'h200', 'b200'])
      for (const op of ['all_gather', 'reduce_scatter', 'all_reduce', 'all_to_all'] as const) {
        const two = presetSeconds(`${preset}-2x8`, op, 16, 1024);
        expect(two, `${preset} ${op}`).toBeGreaterThan(29e-6);
        expect(two, `${preset} ${op}`).toBeLessThan(56e-6);
        expect(presetSeconds(`${preset}-8x8`, op, 64, 1024)).toBeGreaterThan(1.3 * two);
        expect(presetSeconds(`${preset}-1x8`, op, 8, 1024)).toBeLessThan(two);
      }
  });

  it('take NVLS where switches reduce, a tree where they do not, and a ring for gathers', () => {
    const algorithm = (preset: string, op: 'all_reduce' | 'all_gather', bytes: number): string => {
      const cluster = getCluster(preset);
      const members = Array.from({ length: 16 }, (_, rank) => rank);
      return collectiveAlgorithm({
        model: costModel(cluster.device),
        fabric: fabricOf(cluster),
        name: op,
        members,
        load: balanced(op, 16, bytes),
      });
    };
    expect(algorithm('h100-2x8', 'all_reduce', gibi)).toBe('switch');
    // Half the NVLink of an H100: inside its nodes a tree moves more than a ring, 7/4 against 7/4 x 15/16 of the
    // buffer.
    expect(algorithm('h800-2x8', 'all_reduce', gibi)).toBe('ring');
    expect(algorithm('a100-2x8', 'all_reduce', gibi)).toBe('tree');
    expect(algorithm('h100-2x8', 'all_gather', gibi)).toBe('ring');
  });

  it('take the algorithm whose bytes need least of the busiest port when buffers are large', () => {
    const cluster = getCluster('h100-4x8');
    const fabric = fabricOf(cluster);
    const members = Array.from({ length: 32 }, (_, rank) => rank);
    const load = balanced('all_reduce', 32, 4 * gibi);
    const alone = (inputs: Partial<CostInputs>): number =>
      collectiveSeconds(
        fabric,
        priceCollective({ model: costModel(cluster.device, { inputs }), fabric, name: 'all_reduce', members, load }),
      ).portSeconds;
    const each = ncclAlgorithms('all_reduce', fabric, members).map((algorithm) => alone({ algorithm }));
    expect(each).toHaveLength(3);
    expect(alone({})).toBeCloseTo(minOf(each), 12);
  });

  it('use every link of a node that joins its devices in pairs', () => {
    const bytes = gibi;
    const eight = presetSeconds('mi300x-1x8', 'all_gather', 8, bytes);
    const two = presetSeconds('mi300x-1x8', 'all_gather', 2, bytes);
    // 7/8 of the buffer over seven links, 1/2 of it over one
    expect(eight / (bytes / 8 / 48e9)).toBeCloseTo(1, 1);
    expect(two / (bytes / 2 / 48e9)).toBeCloseTo(1, 1);
    // Rings over two nodes share the links too: the network is what binds
    expect(busBandwidth('mi300x-2x8', 'all_gather', 16, 4 * gibi)).toBeGreaterThan(300e9);
  });

  it('have a price on every preset of GPUs', () => {
    const gpus = [...clusterPresets].filter(([, { device }]) => device.multiprocessors !== undefined);
    expect(gpus.length).toBeGreaterThan(12);
    for (const [name] of gpus) expect(presetSeconds(name, 'all_reduce', 8, mebi)).toBeGreaterThan(0);
  });
});

describe('double trees', () => {
  it('give every node of an even number one tree to be inner in, and at most two children in each', () => {
    for (const nodes of [2, 3, 4, 5, 6, 8, 13, 16]) {
      const edges = doubleTree(nodes);
      expect(edges).toHaveLength(2 * (nodes - 1));
      for (const tree of [0, 1]) {
        const own = edges.filter((_, index) => index % 2 === tree);
        expect(new Set(own.map(([child]) => child)).size).toBe(nodes - 1);
        const children = new Map<number, number>();
        for (const [, parent] of own) children.set(parent, (children.get(parent) ?? 0) + 1);
        expect(maxOf(children.values())).toBeLessThanOrEqual(2);
      }
    }
    // With two nodes each sends half the buffer up one tree and half down the other.
    expect(doubleTree(2)).toEqual([
      [1, 0],
      [0, 1],
    ]);
  });
});
