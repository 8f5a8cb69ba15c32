import { assert, constantFrom, infiniteStream, integer, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dumpOfHost, hwloc, matrix, pciTree, range, thrown } from '../../../testing/cluster/topologies.js';
import { readCluster, toYaml } from '../read.js';
import { looksTopology, readTopology } from './read-topology.js';
import { topologyCluster } from './topology-cluster.js';
import { nearestNics, proximities } from './topology.js';

const gigabit = 1e9 / 8;

describe('nvidia-smi topo -m', () => {
  const h100 = matrix({
    gpus: 8,
    nics: 9,
    link: () => 'NV18',
    // NIC 8 is the host's own.
    proximity: (gpu, nic) => (gpu === nic ? 'PIX' : nic === 8 || gpu >> 2 !== nic >> 2 ? 'SYS' : 'NODE'),
  });

  it('reads GPUs behind NVSwitch, each with its NIC', () => {
    const topology = readTopology(h100, 'topo.txt');
    expect(topology.gpus).toHaveLength(8);
    expect(topology.nvlinks).toEqual({ kind: 'switched', links: 18 });
    expect(range(8).map((gpu) => nearestNics(topology, gpu))).toEqual(range(8).map((gpu) => [gpu]));
    expect(topology.nics[3]?.name).toBe('mlx5_3');
  });

  it('makes a cluster with what was asked for beside it, and says what is guessed', () => {
    const { cluster, grounds, notes } = topologyCluster(readTopology(h100, 'dir/topo.txt'), { nodes: 4, gpu: 'H100' });
    expect(cluster.name).toBe('topo');
    expect(cluster.tiers.map(({ size, ports }) => [size, ports])).toEqual([
      [8, 1],
      [4, 8],
    ]);
    expect(cluster.tiers[0]?.bytesPerSecond).toBe(450e9);
    expect(grounds.map(({ tier, ground }) => [tier, ground])).toEqual([
      ['nvlink', 'given'],
      ['network', 'guessed'],
    ]);
    expect(notes.join(' ')).toContain('mlx5_8');
    expect(readCluster(toYaml(cluster), 'written')).toEqual(cluster);
  });

  it('takes the GPU from what stands beside the matrix', () => {
    const { cluster } = topologyCluster(readTopology(`GPU 0: NVIDIA B200 (UUID: GPU-1)\n${h100}`, 'topo.txt'));
    expect(cluster.device.name).toContain('B200');
    expect(cluster.tiers).toHaveLength(1);
    // 18 links of generation 5.
    expect(cluster.tiers[0]?.bytesPerSecond).toBe(900e9);
    const { message, expected, hint } = thrown(() => topologyCluster(readTopology(h100, 'topo.txt')));
    expect(message).toContain('which GPU');
    expect(expected).toContain('--gpu');
    expect(hint).toContain('monta cluster topo.txt');
  });

  it('tells links between pairs from a switch', () => {
    // HGX A100 of four: 12 links of a GPU shared out over three peers.
    const four = readTopology(matrix({ gpus: 4, nics: 0, link: () => 'NV4', proximity: () => 'SYS' }), 'four.txt');
    const { cluster } = topologyCluster(four, { gpu: 'a100' });
    expect(cluster.tiers[0]).toMatchObject({ size: 4, ports: 4, bytesPerSecond: 100e9 });
    // DGX A100: 12 links to every peer at once can only be a switch.
    const eight = readTopology(matrix({ gpus: 8, nics: 0, link: () => 'NV12', proximity: () => 'SYS' }), 'eight.txt');
    expect(topologyCluster(eight, { gpu: 'a100' }).cluster.tiers[0]).toMatchObject({ ports: 1, bytesPerSecond: 300e9 });
    // Bridges between pairs of cards: the others are reached over PCIe.
    const bridged = matrix({
      gpus: 4,
      nics: 0,
      link: (a, b) => (a >> 1 === b >> 1 ? 'NV12' : 'SYS'),
      proximity: () => 'SYS',
    });
    const pairs = topologyCluster(readTopology(bridged, 'pairs.txt'), { gpu: 'a100' });
    expect(pairs.cluster.tiers.map(({ name, size }) => [name, size])).toEqual([
      ['nvlink', 2],
      ['pcie', 2],
    ]);
    expect(pairs.cluster.tiers[0]?.bytesPerSecond).toBe(300e9);
    expect(pairs.grounds.map(({ ground }) => ground)).toEqual(['given', 'guessed']);
    // Two boards of four H100, each behind switches of its own.
    const boards = matrix({
      gpus: 8,
      nics: 8,
      link: (a, b) => (a >> 2 === b >> 2 ? 'NV18' : 'SYS'),
      proximity: (gpu, nic) => (gpu === nic ? 'PIX' : 'SYS'),
    });
    const islands = topologyCluster(readTopology(boards, 'boards.txt'), { gpu: 'h100', nodes: 2 });
    expect(islands.cluster.tiers.map(({ size, ports, bytesPerSecond }) => [size, ports, bytesPerSecond])).toEqual([
      [4, 1, 450e9],
      [2, 4, 31.5e9],
      [2, 8, 50e9],
    ]);
    // Two links to one neighbour, one to the others: all reach each other.
    const mesh = matrix({
      gpus: 4,
      nics: 0,
      link: (a, b) => (a >> 1 === b >> 1 ? 'NV2' : 'NV1'),
      proximity: () => 'SYS',
    });
    const unequal = topologyCluster(readTopology(mesh, 'mesh.txt'), { gpu: 'a100' });
    expect(unequal.grounds[0]?.ground).toBe('guessed');
    expect(unequal.notes.join(' ')).toContain('more links than others');
    const pcie = matrix({ gpus: 2, nics: 0, link: () => 'PHB', proximity: () => 'SYS' });
    expect(topologyCluster(readTopology(pcie, 'pcie.txt'), { gpu: 'a100' }).cluster.tiers[0]?.name).toBe('pcie');
  });

  it('gives back whatever was printed', () => {
    const shape = record({
      gpus: integer({ min: 1, max: 8 }),
      nics: integer({ min: 0, max: 9 }),
      words: infiniteStream(constantFrom(...proximities)),
    });
    assert(
      property(shape, ({ gpus, nics, words }) => {
        const expected = range(gpus).map(() => range(nics).map(() => words.next().value));
        const link = (a: number, b: number): string => (a + b === 1 ? 'NV2' : 'SYS');
        const text = matrix({ gpus, nics, link, proximity: (gpu, nic) => expected[gpu]?.[nic] ?? 'SYS' });
        const { proximity } = readTopology(text, 'topo.txt');
        expect(proximity).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  it('says which line is wrong', () => {
    const lines = h100.split('\n');
    const cut = thrown(() => readTopology(lines.slice(0, 5).join('\n'), 'topo.txt'));
    expect(cut.message).toContain('4 rows for 17 columns');
    const slip = thrown(() => readTopology(h100.replace('NV18', 'NW18'), 'topo.txt'));
    expect(slip.message).toContain('row GPU0 has "NW18" for GPU1');
    expect(slip.line).toBe(2);
    expect(looksTopology('name: mine\ndevice: {}')).toBe(false);
  });
});

describe("NCCL's topology XML", () => {
  it('reads PCI trees alone, as Azure ships them', () => {
    const v5 = readTopology(pciTree({ switches: 8, gpus: 1, nics: 1, speed: '32.0 GT/s PCIe' }), 'ndv5.xml');
    expect(v5.nvlinks).toEqual({ kind: 'unsaid' });
    expect(v5.proximity[2]).toEqual(['PHB', 'PHB', 'PIX', 'PHB', 'SYS', 'SYS', 'SYS', 'SYS']);
    const h100 = topologyCluster(v5, { gpu: 'h100', nodes: 2 });
    // ND H100 v5 has eight ConnectX-7 of 400 Gb/s: 63 GB/s of a slot carry no more.
    expect(h100.cluster.tiers[1]).toMatchObject({ ports: 8, bytesPerSecond: 400 * gigabit });
    expect(h100.grounds.map(({ ground }) => ground)).toEqual(['guessed', 'guessed']);
    expect(h100.notes).toEqual([]);
    // ND A100 v4: two GPUs and two NICs of 200 Gb/s on a switch.
    const v4 = readTopology(pciTree({ switches: 4, gpus: 2, nics: 2, speed: '16 GT/s' }), 'ndv4.xml');
    expect(topologyCluster(v4, { gpu: 'a100', nodes: 2 }).cluster.tiers[1]).toMatchObject({
      ports: 8,
      bytesPerSecond: 200 * gigabit,
    });
  });

  it('shares a NIC between the GPUs of its switch', () => {
    const ids = 'vendor="0x10de" device="0x20b0"';
    const p4d = readTopology(pciTree({ switches: 4, gpus: 2, nics: 1, speed: '8 GT/s', ids }), 'p4d.xml');
    const { cluster, notes } = topologyCluster(p4d, { nodes: 2 });
    expect(cluster.tiers[1]).toMatchObject({ ports: 4, bytesPerSecond: 100 * gigabit });
    expect(cluster.device).toMatchObject({ name: 'A100-SXM4-40GB', memoryBytes: 40 * 2 ** 30 });
    expect(notes).toEqual([]);
  });

  it('reads whole dumps: NVSwitch, several NICs a GPU, ranks in an order of their own', () => {
    const text = `<system version="1">${dumpOfHost({ host: 7, gpus: 8, nics: 4, megabits: 100_000 })}</system>`;
    const topology = readTopology(text, 'dump.xml');
    expect(topology.nvlinks).toEqual({ kind: 'switched', links: 18 });
    expect(topology.gpus.map(({ name }) => name)).toEqual(range(8).map((gpu) => `7:${gpu}1:00.0`));
    expect(nearestNics(topology, 2).map((nic) => topology.nics[nic]?.name)).toEqual(
      range(4).map((n) => `mlx5_${8 + n}`),
    );
    const { cluster, grounds, notes } = topologyCluster(topology, { nodes: 2 });
    expect(cluster.device.name).toContain('H200');
    expect(cluster.tiers[1]).toMatchObject({ ports: 8, bytesPerSecond: 400 * gigabit });
    expect(grounds.map(({ ground }) => ground)).toEqual(['given', 'given']);
    expect(notes).toEqual([]);
  });

  it('takes hosts that NVLink joins for one domain', () => {
    const hosts = range(18).map((host) =>
      dumpOfHost({ host, gpus: 4, nics: 1, megabits: 400_000, firstRank: 4 * host, device: '0x2941', sm: 100 }),
    );
    const topology = readTopology(`<system version="1">${hosts.join('')}</system>`, 'rack.xml');
    expect(topology.hosts).toBe(18);
    const { cluster } = topologyCluster(topology, { nodes: 2 });
    expect(cluster.tiers.map(({ size }) => size)).toEqual([72, 2]);
    expect(cluster.tiers[0]?.bytesPerSecond).toBe(900e9);
  });

  it('refuses what is no topology, and says where', () => {
    expect(thrown(() => readTopology('<system><cpu></system>', 'a.xml'))).toMatchObject({ file: 'a.xml', line: 1 });
    expect(thrown(() => readTopology('<system version="1"></system>', 'a.xml')).message).toContain('no GPU');
    expect(thrown(() => readTopology('<?xml version="1.0"?><html/>', 'a.xml')).message).toContain('<html>');
    expect(thrown(() => readTopology(`<system>${'<pci>'.repeat(5000)}`, 'a.xml')).message).toContain('deep');
    // Entities that stand for others are not followed.
    const bomb = '<!DOCTYPE s [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><system><cpu>&b;</cpu></system>';
    expect(thrown(() => readTopology(bomb, 'a.xml')).message).toContain('well-formed');
  });
});

describe("hwloc's XML", () => {
  it('finds GPUs and the NICs that speak RDMA, by host bridge and package', () => {
    const topology = readTopology(hwloc(), 'p4d.xml');
    expect(topology.gpus.map(({ model, numa }) => [model, numa])).toEqual(
      range(8).map((gpu) => ['A100-SXM4-40GB', gpu < 4 ? 0 : 1]),
    );
    expect(topology.nics.map(({ name }) => name)).toEqual(['rdmap10s27', 'rdmap20s27', 'rdmap90s27', 'rdmapa0s27']);
    expect(topology.proximity[0]).toEqual(['PHB', 'NODE', 'SYS', 'SYS']);
    const { cluster, grounds, notes } = topologyCluster(topology, { nodes: 2 });
    expect(cluster.tiers[1]).toMatchObject({ ports: 4, bytesPerSecond: 100 * gigabit });
    expect(grounds.map(({ ground }) => ground)).toEqual(['guessed', 'guessed']);
    expect(notes).toEqual([]);
  });
});
