import { describe, expect, it } from 'vitest';
import { dumpOfHost, matrix, pciTree, thrown } from '../../../testing/cluster/topologies.js';
import { getCluster } from '../presets.js';
import { topologyContradictions } from './contradictions.js';
import { readTopology } from './read-topology.js';
import { topologyCluster } from './topology-cluster.js';
import type { Topology } from './topology.js';

describe('a tray of a rack', () => {
  const tray = readTopology(
    matrix({ gpus: 4, nics: 4, link: () => 'NV18', proximity: (gpu, nic) => (gpu === nic ? 'NODE' : 'SYS') }),
    'tray.txt',
  );
  const sizes = (options: { readonly nodes: number; readonly domain?: number }) =>
    topologyCluster(tray, { gpu: 'gb200', ...options }).cluster.tiers.map(({ size, ports }) => [size, ports]);

  it('is joined to others by NVLink as far as is given', () => {
    expect(sizes({ nodes: 18, domain: 72 })).toEqual([[72, 1]]);
    expect(sizes({ nodes: 36, domain: 72 })).toEqual([
      [72, 1],
      [2, 72],
    ]);
    expect(sizes({ nodes: 18, domain: 36 })).toEqual([
      [36, 1],
      [2, 36],
    ]);
    expect(sizes({ nodes: 9, domain: 72 })).toEqual([[36, 1]]);
    // as the preset of such racks has it
    const [inner, outer] = getCluster('gb200-2x72').tiers;
    const [own, network] = topologyCluster(tray, { gpu: 'gb200', nodes: 36, domain: 72 }).cluster.tiers;
    expect([own?.bytesPerSecond, own?.size]).toEqual([inner?.bytesPerSecond, inner?.size]);
    expect([network?.bytesPerSecond, network?.ports]).toEqual([outer?.bytesPerSecond, outer?.ports]);
  });

  it('says that it guesses where nobody says how far', () => {
    const { cluster, grounds, notes } = topologyCluster(tray, { gpu: 'gb200', nodes: 36 });
    expect(cluster.tiers.map(({ size }) => size)).toEqual([72, 2]);
    expect(grounds[0]).toMatchObject({ ground: 'guessed' });
    expect(grounds[0]?.because).toContain('18 links');
    expect(notes.join(' ')).toMatch(/shows 4 GPUs with 18 links.*guess: 2 domains of 72 GPUs.*--nvlink-domain/u);
    const given = topologyCluster(tray, { gpu: 'gb200', nodes: 36, domain: 72 });
    expect(given.grounds[0]).toMatchObject({ ground: 'given' });
    expect(given.notes).toEqual([]);
  });

  it('refuses domains that trays do not fill, and where there is no switch', () => {
    const asked = (nodes: number, domain?: number) =>
      thrown(() => topologyCluster(tray, { gpu: 'gb200', nodes, ...(domain === undefined ? {} : { domain }) }));
    expect(asked(19).message).toContain('19 trays of 4 GPUs do not fill 2 racks of up to 72 equally');
    expect(asked(20, 72)).toMatchObject({ path: '--nvlink-domain', expected: 'a multiple of 18 trays' });
    expect(asked(18, 70).message).toContain('70 GPUs are no whole trays of 4');
    const four = readTopology(matrix({ gpus: 4, nics: 0, link: () => 'NV4', proximity: () => 'SYS' }), 'four.txt');
    expect(thrown(() => topologyCluster(four, { gpu: 'a100', domain: 8 })).message).toContain('without a switch');
  });
});

describe('a device that the file contradicts', () => {
  const dump = (device: string, sm: number, megabits = 400_000) =>
    readTopology(
      `<system version="1">${dumpOfHost({ host: 7, gpus: 8, nics: 1, megabits, device, sm })}</system>`,
      'dump.xml',
    );
  const notes = (topology: Topology, gpu: string) => topologyCluster(topology, { gpu, nodes: 2 }).notes;

  it('is named, by its PCI id, its capability, or its links', () => {
    expect(notes(dump('0x2335', 90), 'a100')).toEqual([
      'dump.xml says that the GPUs are H200-SXM-141GB, not A100-SXM4-80GB. A100-SXM4-80GB is taken.',
      'dump.xml says sm="90"; A100-SXM4-80GB is sm="80". A100-SXM4-80GB is taken.',
      'dump.xml says 18 links of NVLink a GPU, 450 GB/s; a100 has 300 GB/s. A100-SXM4-80GB is taken.',
    ]);
    expect(notes(dump('0x9999', 90), 'b200')).toContain(
      'dump.xml says sm="90"; B200-SXM-180GB is sm="100". B200-SXM-180GB is taken.',
    );
    const twelve = matrix({ gpus: 8, nics: 0, link: () => 'NV12', proximity: () => 'SYS' });
    expect(notes(readTopology(twelve, 'topo.txt'), 'h100')).toEqual([
      'topo.txt says 12 links of NVLink a GPU, 300 GB/s; h100 has 450 GB/s. H100-SXM5-80GB is taken.',
    ]);
    expect(notes(readTopology(twelve, 'topo.txt'), 'mi300x')).toEqual([
      'topo.txt is of nvidia-smi; MI300X-192GB is no GPU of NVIDIA. MI300X-192GB is taken.',
    ]);
    expect(notes(dump('0x2335', 90), 'h200')).toEqual([]);
    expect(notes(dump('0x9999', 90), 'h100')).toEqual([]);
  });

  it('also where the card is one for a slot', () => {
    const ids = 'vendor="0x10de" device="0x20b5"';
    const cards = readTopology(pciTree({ switches: 4, gpus: 2, nics: 1, speed: '16 GT/s', ids }), 'cards.xml');
    expect(topologyCluster(cards).notes).toEqual([
      'cards.xml says that the GPUs are A100-PCIE-80GB, not A100-SXM4-80GB. A100-SXM4-80GB is taken.',
    ]);
  });

  it('and a NIC that is given more than its card sends', () => {
    // ConnectX-7 sends 400 Gb/s
    expect(notes(dump('0x2335', 90, 800_000), 'h200')).toEqual([
      'dump.xml gives mlx5_7 and 7 others more than such a card (ConnectX-7) sends: 100 GB/s against 50 GB/s. ' +
        'The former is taken.',
    ]);
  });

  it('and a whole cluster of other nodes', () => {
    const of = (name: string) => topologyContradictions(dump('0x2335', 90), getCluster(name));
    expect(of('h200-2x8')).toEqual([]);
    expect(of('a800-2x8')).toEqual([
      'dump.xml says that the GPUs are H200-SXM-141GB, not A800-SXM4-80GB.',
      'dump.xml says sm="90"; A800-SXM4-80GB is sm="80".',
      'dump.xml says 18 links of NVLink a GPU, 450 GB/s; a800 has 200 GB/s.',
      'dump.xml has 8 NICs beside 8 GPUs; a800-2x8 has 4 beside 8.',
      'dump.xml has 400 GB/s out of 8 GPUs; a800-2x8 has 100 GB/s.',
    ]);
    expect(of('h200-2x4')).toContain('dump.xml has 8 GPUs in a node; h200-2x4 has 4.');
  });
});
