import { describe, expect, it } from 'vitest';
import { getCluster, type Topology } from '../cluster/index.js';
import type { Measurement } from '../cost/index.js';
import { InputError } from '../units/index.js';
import { readNcclLog } from './nccl-log.js';
import { diagnoseAllToAll } from './slow-all-to-all.js';

const row = (seconds: number, more: Partial<Measurement> = {}): Measurement => ({
  source: 'a.log',
  line: 7,
  origin: '',
  gpu: 'H100',
  system: '',
  library: 'nccl',
  op: 'all_to_all',
  ranks: 16,
  nodes: 2,
  bytes: 2 ** 30,
  seconds,
  ...more,
});
const cluster = getCluster('h100-2x8');

const start = 'node01:41:88 [0] NCCL INFO ';
const healthy = [
  'NCCL version 2.27.3+cuda12.9',
  `${start}NET/IB : Using ${Array.from({ length: 8 }, (_, nic) => `[${nic}]mlx5_${nic}:1/IB/SHARP`).join(' ')} ` +
    '[RO]; OOB eth0:10.0.0.1<0>',
  `${start}24 coll channels, 24 collnet channels, 0 nvls channels, 32 p2p channels, 2 p2p channels per peer`,
  `${start}Channel 00/1 : 0[0] -> 8[0] [send] via NET/IB/0/GDRDMA`,
  `${start}Channel 00/1 : 0[0] -> 8[0] [send] via NET/IB/7(3)/GDRDMA`,
  `${start}Channel 01/1 : 0[0] -> 1[1] via P2P/CUMEM`,
];
const suspects = (lines: readonly string[], seconds = 1): string[] =>
  diagnoseAllToAll(row(seconds), cluster, { log: readNcclLog(lines.join('\n')) }).suspects.map(({ what }) => what);

it("NCCL's log is read: version, NICs, channels, ways", () => {
  const log = readNcclLog(healthy.join('\n'));
  expect(log.version).toBe('2.27.3');
  expect(log.nics).toEqual(Array.from({ length: 8 }, (_, nic) => `mlx5_${nic}`));
  expect(log.network).toBe('IB');
  expect(log.channels).toEqual({ collective: 24, p2p: 32, perPeer: 2 });
  expect([...log.connections]).toEqual([
    ['NET/IB/GDRDMA', 2],
    ['P2P/CUMEM', 1],
  ]);
});

describe('an all_to_all', () => {
  it('that reaches what real ones reach is not called slow', () => {
    // 16 B200 over 8 x 400G: superbench-like log, 17.2 GB in 380 ms; 8 A100 of one node: 8.6 GB in 33.5 ms
    // (docs/accuracy.md's logs)
    const b200 = diagnoseAllToAll(row(0.38, { bytes: 2 ** 34 }), getCluster('b200-2x8'));
    expect(b200.suspects).toEqual([]);
    expect(b200.tiers[b200.binding]?.name).toBe('infiniband');
    const a100 = diagnoseAllToAll(row(0.0335, { ranks: 8, nodes: 1, bytes: 2 ** 33 }), getCluster('a100-2x8'));
    expect(a100.suspects).toEqual([]);
    expect(a100.tiers.map(({ name }) => name)).toEqual(['nvlink']);
  });

  it('has the bytes of arithmetic on its ports: half of it leaves the node, over 8 NICs', () => {
    const { tiers } = diagnoseAllToAll(row(1), cluster);
    const [inside, outside] = tiers;
    expect(inside?.bytes).toBeCloseTo((2 ** 30 * 7) / 16, 0);
    expect(outside?.bytes).toBeCloseTo(2 ** 30 / 2, 0);
    expect(outside?.reachedBytesPerSecond).toBeCloseTo(2 ** 29, 0);
  });

  it.each([
    [
      'sockets',
      healthy.map((line) => line.replace(/Using .*/u, 'Using [0]eth0:10.0.0.1<0>').replace('NET/IB', 'NET/Socket')),
      /TCP sockets/u,
    ],
    ['staging', healthy.map((line) => line.replace('/GDRDMA', '')), /staged in the host's memory/u],
    [
      'no peer to peer',
      healthy.map((line) => line.replace('P2P/CUMEM', 'SHM/direct')),
      /inside the node go through the host/u,
    ],
    ['few NICs', healthy.map((line) => line.replace(/ \[2\].* \[RO\]/u, ' [RO]')), /2 of 8 NICs/u],
    ['rails', [...healthy, `${start}NCCL_PXN_DISABLE set by environment to 1.`], /cross rails/u],
    ['channels', [...healthy, `${start}NCCL_MAX_P2P_NCHANNELS set by environment to 2.`], /channels of sends/u],
    [
      'idle variables',
      [...healthy, `${start}NCCL_MAX_NCHANNELS set by environment to 2.`],
      /does not bind an all_to_all/u,
    ],
    ['affinity', [...healthy, `${start}NCCL_IGNORE_CPU_AFFINITY set by environment to 1.`], /far from their NIC/u],
    ['a warning', [...healthy, 'node01:41:88 [0] NCCL WARN Call to ibv_reg_mr failed'], /NCCL warns/u],
  ])('whose log shows %s is told so', (_, lines, expected) => {
    expect(suspects(lines)).toEqual([expect.stringMatching(expected)]);
    expect(suspects(lines, 0.014)).toEqual([]);
  });

  it('without a log is told how many NICs would carry as much', () => {
    const { expectedSeconds } = diagnoseAllToAll(row(1), cluster);
    for (const used of [1, 2, 4]) {
      const [first] = diagnoseAllToAll(row((expectedSeconds * 8) / used), cluster).suspects;
      expect(first?.what).toBe(`as much as ${used} of the node's 8 NICs carry`);
    }
  });

  it('of more ranks than the cluster has is refused with its line', () => {
    expect(() => diagnoseAllToAll(row(1, { ranks: 64, nodes: 8 }), cluster)).toThrow(InputError);
    expect(() => diagnoseAllToAll(row(1, { op: 'all_gather' }), cluster)).toThrow(/no all_to_all/u);
  });
});

describe('the wiring of a node', () => {
  type Nearness = 'PIX' | 'PXB' | 'PHB' | 'NODE' | 'SYS';
  const topology = (nics: number, nearness: (gpu: number, nic: number) => Nearness): Topology => ({
    form: 'nvidia-smi topo -m',
    where: 'topo.txt',
    hosts: 1,
    gpus: Array.from({ length: 8 }, (_, gpu) => ({ name: `GPU${gpu}` })),
    nics: Array.from({ length: nics }, (_, nic) => ({ name: `mlx5_${nic}` })),
    proximity: Array.from({ length: 8 }, (_, gpu) => Array.from({ length: nics }, (__, nic) => nearness(gpu, nic))),
    nvlinks: { kind: 'unsaid' },
  });
  const own = (gpu: number, nic: number): Nearness => (gpu === nic ? 'PIX' : gpu >> 2 === nic >> 2 ? 'NODE' : 'SYS');
  const told = (given: Topology, lines?: readonly string[]): string[] =>
    diagnoseAllToAll(row(1), cluster, {
      topology: given,
      ...(lines === undefined ? {} : { log: readNcclLog(lines.join('\n')) }),
    }).suspects.map(({ what }) => what);

  it('with a NIC beside each GPU, all of them used, clears them: what is left is guessed', () => {
    expect(told(topology(8, own), healthy).join()).not.toMatch(/NIC/u);
    expect(suspects(healthy).join()).toMatch(/far from their NIC/u);
  });

  it('names the NICs that a log does not use, and the GPUs that are then far from theirs', () => {
    const half = healthy.map((line) => line.replace(/ \[4\].* \[RO\]/u, ' [RO]'));
    expect(told(topology(8, own), half)).toEqual([
      expect.stringContaining('4 of 8 NICs of a node are used'),
      '4 of 8 NICs carry nothing',
      '4 of 8 GPUs reach their NIC through the processor',
    ]);
  });

  it('says without a log that there are fewer NICs than the cluster has, and which GPUs share one', () => {
    const behindFirst = topology(4, (gpu, nic) => (nic === (gpu < 5 ? 0 : nic === 3 ? 3 : 1) ? 'PXB' : 'PHB'));
    expect(told(behindFirst)).toEqual([
      'the node has 4 NICs, and h100-2x8 8',
      '5 GPUs share mlx5_0, where 2 would be even',
    ]);
    expect(told(topology(8, () => 'SYS'))).toEqual(['8 of 8 GPUs reach their NIC through the processor']);
  });

  it('says nothing of an exchange inside a node', () => {
    const { suspects: found } = diagnoseAllToAll(row(1, { ranks: 8, nodes: 1 }), cluster, {
      topology: topology(4, () => 'SYS'),
    });
    expect(found.map(({ what }) => what)).toEqual([expect.stringContaining('peer-to-peer is off')]);
  });
});
