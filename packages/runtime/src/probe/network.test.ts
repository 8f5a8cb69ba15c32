/**
 * The probe against networks whose figures are known: three clusters, emulated on a clock of the test's making, where
 * links and curves must come back exactly, and one by real threads in real time, where a thread may wake late. The
 * probe sees only names and sizes of the tiers.
 */
import {
  deviceCount,
  fitCalibration,
  readCalibration,
  writeCalibration,
  type Cluster,
  type Measurement,
  maxOf,
} from '@monta/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bytes } from '../device/cpu/bytes.js';
import { FabricEngine } from '../comm/local/fabric.js';
import { endTimes, partyOf } from '../../testing/comm/turned-clock.js';
import { easyTimeScale, probeNetwork } from './network.js';
import { probeLinks, shortest } from './network-links.js';
import type { Experiment } from './network-experiment.js';

type Tier = Cluster['tiers'][number];

const tier = (
  name: string,
  size: number,
  bytesPerSecond: number,
  latencySeconds: number,
  more: Partial<Tier> = {},
): Tier => ({
  name,
  size,
  bytesPerSecond,
  latencySeconds,
  ports: 1,
  railAligned: false,
  crossRailSlowdown: 1,
  ...more,
});

const cluster = (name: string, ...tiers: Tier[]): Cluster => ({
  name,
  device: { name: 'rank', memoryBytes: 1e9, flopsPerSecond: { bf16: 1e12 }, memoryBytesPerSecond: 1e11 },
  tiers,
  sources: ['made for this test'],
});

const clusters = [
  cluster('one port', tier('bus', 3, 1e9, 20e-6), tier('ethernet', 2, 0.2e9, 50e-6)),
  cluster(
    'two rails',
    tier('nvlink', 4, 200e9, 3e-6),
    tier('infiniband', 2, 25e9, 6e-6, { ports: 2, railAligned: true, crossRailSlowdown: 1.8 }),
  ),
  cluster(
    'narrow spine',
    tier('pcie', 2, 25e9, 4e-6),
    tier('leaf', 2, 12.5e9, 7e-6, { ports: 2 }),
    tier('spine', 2, 10e9, 12e-6),
  ),
];

/** Bytes cross in packets: ports are shared and filled by whole ones. */
const packets = 0.01;

describe('what pairs tell on an emulated network', () => {
  /** Makes engines of one network, at time zero. */
  const network = (given: Cluster, timeScale: number) => {
    const memory = new Bytes(new SharedArrayBuffer(1 << 24));
    const memories = Array.from({ length: deviceCount(given) }, () => memory);
    return () => new FabricEngine(memories, { cluster: given, timeScale, scheduler: { packetBytes: 1024 } });
  };

  /** Times of sends that start together, on the engine's own clock. */
  const emulated = (given: Cluster, timeScale: number) => {
    const started = network(given, timeScale);
    return ({ groups, bytes }: Experiment): number[] => {
      const engine = started();
      const buffer = { byteOffset: 0, length: bytes / 4 };
      const messages = groups.map(([from = 0, to = 0]) => [
        partyOf(from, 0, { kind: 'send', send: buffer }),
        partyOf(to, 1, { kind: 'receive', receive: buffer }),
      ]);
      return [maxOf(endTimes(engine, messages).values())];
    };
  };

  it.each(clusters)('is the figures of $name', (given) => {
    const timeScale = easyTimeScale(given);
    const found = probeLinks({
      tiers: given.tiers,
      run: emulated(given, timeScale),
      pick: shortest,
      transferSeconds: 0.03,
      maximumBytes: 1 << 24,
    });
    expect(found.map(({ name, ports, reached }) => ({ name, ports, reached }))).toEqual(
      given.tiers.map(({ name, ports }) => ({ name, ports, reached: true })),
    );
    for (const [index, { bytesPerSecond, latencySeconds, crossRailSlowdown }] of given.tiers.entries()) {
      const link = found[index];
      expect(Math.abs(((link?.bytesPerSecond ?? 0) * timeScale) / bytesPerSecond - 1)).toBeLessThan(packets);
      expect(Math.abs((link?.latencySeconds ?? 0) / timeScale / latencySeconds - 1)).toBeLessThan(packets);
      expect(Math.abs((link?.crossRailSlowdown ?? 0) / crossRailSlowdown - 1)).toBeLessThan(packets);
    }
  });

  /** An all_to_all of a pair of neighbours has the latency of its tier, and half of the buffer crosses. */
  it.each(clusters)('fits the curve of the innermost tier of $name', (given) => {
    const timeScale = easyTimeScale(given);
    const started = network(given, timeScale);
    const measured = [2 ** 10, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 21].map((bytes, index): Measurement => {
      const half = bytes / 8;
      const counts = Int32Array.of(half, half);
      const view = (byteOffset: number) => ({ byteOffset, length: 2 * half });
      const ends = endTimes(started(), [
        [0, 1].map((rank) =>
          partyOf(rank, rank, {
            kind: 'all_to_all',
            send: view(0),
            receive: view(bytes),
            counts,
            receiveCounts: counts,
          }),
        ),
      ]);
      return {
        gpu: 'rank',
        system: given.name,
        library: 'emulated',
        op: 'all_to_all',
        ranks: 2,
        nodes: 1,
        bytes,
        seconds: maxOf(ends.values()) / timeScale,
        source: 'probe',
        line: index + 1,
        origin: 'emulated',
      };
    });
    const [pair] = fitCalibration(measured).fits;
    expect(Math.abs((pair?.busBytesPerSecond ?? 0) / (given.tiers[0]?.bytesPerSecond ?? 1) - 1)).toBeLessThan(packets);
  });
});

/** Links so slow beside their latencies that it is the latencies which say how far time is stretched. */
const leisurely = cluster(
  'two slow rails',
  tier('nvlink', 2, 10e9, 3e-6),
  tier('infiniband', 2, 4e9, 4e-6, { ports: 2, railAligned: true, crossRailSlowdown: 1.8 }),
);

describe('probing emulated networks', () => {
  // How exact the figures are is seen above, on a clock of the test's making. Here threads may wake late, and every
  // figure may be off by what else runs on the machine: an order of magnitude tells units and the slowed clock.
  it('finds tiers and their figures in real time', async () => {
    const given = leisurely;
    const timeScale = easyTimeScale(given);
    const { probe, measurements } = await probeNetwork({
      emulated: { cluster: given, timeScale },
      ops: ['all_to_all'],
      repetitions: 3,
    });
    const near = (found: number | undefined, expected: number): boolean =>
      Math.abs(Math.log10((found ?? 0) / expected)) < 1;
    expect(probe.tiers.map(({ name }) => name)).toEqual(given.tiers.map(({ name }) => name));
    for (const [index, { bytesPerSecond, latencySeconds, crossRailSlowdown }] of given.tiers.entries()) {
      const found = probe.tiers[index];
      expect(near(found?.bytesPerSecond, bytesPerSecond)).toBe(true);
      expect(near(found?.latencySeconds, latencySeconds)).toBe(true);
      expect(near(found?.crossRailSlowdown, crossRailSlowdown)).toBe(true);
      expect(found?.ports).toBeGreaterThanOrEqual(1);
    }
    // Curves too: all_to_all of a pair has the latency of its tier, and half of the buffer crosses.
    const { calibration, fits } = fitCalibration(measurements);
    const pair = fits.find(({ series }) => series.ranks === 2 && series.nodes === 1);
    expect(near(pair?.busBytesPerSecond, given.tiers[0]?.bytesPerSecond ?? 1)).toBe(true);
    const whole = { ...calibration, probes: [probe] };
    expect(readCalibration(writeCalibration(whole), 'probe.json').probes).toEqual([probe]);
  });
});

describe('what pairs tell on ideal links', () => {
  /** Times by the definition of tiers, without threads: the busiest port and one latency. */
  const ideal =
    (given: Cluster) =>
    ({ groups, bytes }: Experiment): number[] => {
      const load = new Map<string, number>();
      let latency = 0;
      for (const [from = 0, to = 0] of groups) {
        let unit = 1;
        for (const [level, { size, ports, bytesPerSecond, latencySeconds }] of given.tiers.entries()) {
          const crossed = Math.floor(from / unit / size) === Math.floor(to / unit / size);
          if (level > 0 || crossed) {
            for (const [end, side] of [
              [from, 'out'],
              [to, 'in'],
            ] as const) {
              const key = `${level} ${Math.floor(end / unit)} ${Math.floor(((end % unit) * ports) / unit)} ${side}`;
              load.set(key, (load.get(key) ?? 0) + bytes / bytesPerSecond);
            }
          }
          if (crossed) {
            latency = Math.max(latency, latencySeconds);
            break;
          }
          unit *= size;
        }
      }
      return [latency + maxOf(load.values())];
    };

  const probeOf = (given: Cluster) =>
    probeLinks({ tiers: given.tiers, run: ideal(given), pick: shortest, transferSeconds: 1e-3, maximumBytes: 2 ** 34 });

  it.each([1, 2, 3, 4, 8])('finds %i ports of 8 devices exactly', (ports) => {
    const [inner, outer] = probeOf(cluster('ports', tier('a', 8, 100e9, 3e-6), tier('b', 2, 20e9, 5e-6, { ports })));
    expect(inner?.bytesPerSecond).toBeCloseTo(100e9, -3);
    expect(outer?.ports).toBe(ports);
    expect(outer?.bytesPerSecond).toBeCloseTo(20e9, -3);
    expect(outer?.latencySeconds).toBeCloseTo(5e-6, 10);
    expect(outer?.sharingSlowdown).toBeCloseTo(Math.ceil(8 / ports), 6);
  });

  it('says when an outer tier was too wide to be seen', () => {
    const [, , spine] = probeOf(
      cluster('wide', tier('a', 2, 100e9, 3e-6), tier('b', 2, 10e9, 5e-6), tier('c', 2, 400e9, 9e-6)),
    );
    expect(spine?.reached).toBe(false);
    expect(spine?.bytesPerSecond).toBeLessThanOrEqual(400e9);
  });

  describe('on a busy machine', () => {
    const given = cluster('two tiers', tier('a', 4, 50e9, 3e-6), tier('b', 2, 20e9, 5e-6, { ports: 2 }));
    /** `delay` is added to all times of a call, by its number. */
    const disturbed = (delay: (call: number) => number) => {
      let call = 0;
      return probeLinks({
        tiers: given.tiers,
        run: (experiment) => {
          const late = delay(call++);
          return ideal(given)(experiment).map((seconds) => seconds + late);
        },
        pick: shortest,
        transferSeconds: 1e-3,
        maximumBytes: 2 ** 34,
      });
    };

    it('takes no link for much faster than it is, whichever single measurement is disturbed', () => {
      for (const late of [1e-4, 1e-3, 1e-2])
        for (let busy = 0; busy < 40; busy++)
          disturbed((call) => (call === busy ? late : 0)).forEach(({ bytesPerSecond }, index) => {
            // Between a size and three times that, a third is what passes for a slope: 3 t against 1.5 t.
            expect(bytesPerSecond / (given.tiers[index]?.bytesPerSecond ?? 0)).toBeLessThan(1.34);
          });
    });

    it('gives figures that make sense, whatever is disturbed', () => {
      fc.assert(
        fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 60 }), (delays) => {
          for (const link of disturbed((call) => delays[call % delays.length] ?? 0)) {
            expect(link.bytesPerSecond).toBeGreaterThan(0);
            expect(Number.isFinite(link.bytesPerSecond)).toBe(true);
            expect(link.latencySeconds).toBeGreaterThanOrEqual(0);
            expect(link.sharingSlowdown).toBeGreaterThanOrEqual(1);
            expect(link.ports).toBeGreaterThanOrEqual(1);
          }
        }),
      );
    });
  });
});
