import { describe, expect, it } from 'vitest';
import { InputError } from '../units/errors.js';
import { reachedBytesPerSecond } from './cluster.js';
import { deviceCount } from './ports.js';
import { clusterPresets, getCluster } from './presets.js';
import { readCluster, toYaml } from './read.js';

const text = `# cluster.yaml
name: a800-2x8
device: { name: A800-SXM4-80GB, memory: 80 GiB, bf16: 312 TFLOPS, memoryBandwidth: 2.04 TB/s }
tiers:
  - { name: nvlink, size: 8, bandwidth: 200 GB/s, latency: 3 us }
  - { name: infiniband, size: 2, bandwidth: 200 Gbps, ports: 4, latency: 6 us }
`;

function message(text: string): string {
  try {
    readCluster(text, 'cluster.yaml');
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  throw new Error('expected an InputError');
}

describe('readCluster', () => {
  it('reads the documented form', () => {
    expect(readCluster(text, 'cluster.yaml')).toEqual({
      name: 'a800-2x8',
      device: {
        name: 'A800-SXM4-80GB',
        memoryBytes: 85_899_345_920,
        flopsPerSecond: { bf16: 312e12 },
        memoryBytesPerSecond: 2.04e12,
      },
      tiers: [
        {
          name: 'nvlink',
          size: 8,
          bytesPerSecond: 200e9,
          latencySeconds: 3e-6,
          ports: 1,
          railAligned: false,
          crossRailSlowdown: 1,
        },
        {
          name: 'infiniband',
          size: 2,
          bytesPerSecond: 25e9,
          latencySeconds: 6e-6,
          ports: 4,
          railAligned: false,
          crossRailSlowdown: 1,
        },
      ],
      sources: ['file cluster.yaml'],
    });
  });

  it('gives every device a port of its own unless told otherwise', () => {
    expect(readCluster(text.replace('ports: 4, ', ''), 'f').tiers[1].ports).toBe(8);
  });

  it.each([
    ['200 Gbps', '200 Gpbs', 'cluster.yaml:6:45  tiers[1].bandwidth: "200 Gpbs" is not a bandwidth'],
    ['size: 8', 'size: 0', 'tiers[0].size: 0 is out of range\n  expected a whole number from 1 to 1048576'],
    ['size: 8', 'size: 2.5', 'tiers[0].size: 2.5 is not a whole number'],
    ['ports: 4', 'ports: -1', 'tiers[1].ports: -1 is out of range'],
    ['ports: 4', 'ports: 9', 'tiers[1].ports: 9 ports for 8 devices'],
    ['ports: 4', 'port: 4', 'tiers[1].port: unknown key "port"'],
    ['ports: 4', 'crossRailSlowdown: 2', 'a cross-rail slowdown without rails'],
    ['latency: 3 us', 'latency: -3 us', 'tiers[0].latency: "-3 us" is negative'],
    ['bandwidth: 200 GB/s', 'bandwidth: 0 GB/s', '"0 GB/s" is not positive'],
    ['bf16: 312 TFLOPS, ', '', 'device: "bf16" is missing'],
    ['memory: 80 GiB', 'memory: 80', '80 is not a size in bytes'],
    ['infiniband', 'nvlink', 'two tiers are called "nvlink"'],
    ['size: 2,', 'size: 999999999,', 'expected a whole number from 1 to 1048576'],
    ['name: a800-2x8', 'nam: a800-2x8', 'did you mean name?'],
  ])('refuses %s written as %s', (from, to, part) => expect(message(text.replace(from, to))).toContain(part));

  it('refuses a file without tiers', () => {
    expect(message(text.slice(0, text.indexOf('tiers:')))).toContain('"tiers" is missing');
    expect(message(`${text.slice(0, text.indexOf('tiers:'))}tiers: []`)).toContain('expected at least 1');
    expect(message('- 1\n- 2\n')).toContain('a list is not a map');
  });
});

describe('presets', () => {
  it.each([...clusterPresets])('%s has sources and survives a round trip through YAML', (name, cluster) => {
    expect(cluster.name).toBe(name);
    expect(cluster.sources.length).toBeGreaterThan(0);
    expect(readCluster(toYaml(cluster), 'x')).toEqual(cluster);
  });

  it('reads names by pattern', () => {
    const big = getCluster('h100-16x8');
    expect(deviceCount(big)).toBe(128);
    expect(big.tiers.map((tier) => tier.ports)).toEqual([1, 8]);
    expect(getCluster('a800-4x8-1nic').tiers[1]).toMatchObject({ size: 4, ports: 1, bytesPerSecond: 25e9 });
    expect(getCluster('a800-1x8').tiers).toHaveLength(1);
    expect(deviceCount(getCluster('gb200-2x72'))).toBe(144);
    expect(deviceCount(getCluster('gb200-nvl72'))).toBe(72);
    expect(getCluster('laptop-2x4').tiers.map((tier) => [tier.size, tier.ports])).toEqual([
      [4, 1],
      [2, 1],
    ]);
  });

  it.each(['a80-2x8', 'h100', 'h100-0x8', 'h100-2x16', 'h100-2x8-9nic', 'h100-1x8-2nic', 'constructor-2x8', ''])(
    'refuses "%s"',
    (name) => expect(() => getCluster(name)).toThrow(InputError),
  );

  it('reads the speed of NICs from a name, and reached shares from presets', () => {
    const mega = getCluster('h100-2x8-8nic-200g');
    expect(mega.tiers[1]).toMatchObject({ bytesPerSecond: 25e9, ports: 8 });
    expect(mega.sources.at(-1)).toContain('200 Gb/s');
    // SimAI's 20.6 GB/s a Hopper link, 18 links
    expect(reachedBytesPerSecond(mega.tiers[0] ?? fail()) / 1e9).toBeCloseTo(18 * 20.6, 1);
  });

  it('hold figures of their sources', () => {
    // HGX B200: 62 TB/s over eight; the driver reports 183,359 MiB
    expect(getCluster('b200-1x8').device).toMatchObject({
      memoryBytesPerSecond: 7.75e12,
      memoryBytes: 183_359 * 2 ** 20,
    });
    expect(getCluster('h20-1x8').device.flopsPerSecond.bf16).toBe(148e12);
    expect(getCluster('h800-1x8').tiers[0]?.bytesPerSecond).toBe(200e9);
    for (const name of ['b300-2x8', 'gb300-nvl72', 'mi300x-2x8']) expect(clusterPresets.has(name)).toBe(true);
  });

  it('go by any case', () => {
    expect(getCluster('H100-2x8')).toEqual(getCluster('h100-2x8'));
    expect(getCluster('GB200-NVL72')).toEqual(getCluster('gb200-nvl72'));
  });

  it.each([
    ['h010-2x8', /did you mean h100-2x8\?/u],
    ['h100-2x', /did you mean h100-2x8\?/u],
  ])('hints at a slip: %s', (name, hint) =>
    expect(() => getCluster(name)).toThrow(expect.objectContaining({ hint: expect.stringMatching(hint) })),
  );

  it.each(['v100-2x8', 'h102-2x8', 'mi250x-2x8', 'tpu-2x8'])('never hints at another device: %s', (name) => {
    expect(() => getCluster(name)).toThrow(expect.objectContaining({ hint: undefined }));
  });
});

function fail(): never {
  throw new Error('no such tier');
}
