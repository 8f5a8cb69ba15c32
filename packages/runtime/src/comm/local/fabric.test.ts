import type { Cluster } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { Bytes } from '../../device/cpu/bytes.js';
import { FabricEngine, type FabricOptions } from './fabric.js';
import type { Operation, OperationKind } from '../operation.js';
import { endTimes, partyOf } from '../../../testing/comm/turned-clock.js';
import { maxOf } from '@monta/core/units';

type Tier = Cluster['tiers'][number];
const tier = (changes: Partial<Tier>): Tier => ({
  name: 'tier',
  size: 1,
  bytesPerSecond: 1,
  latencySeconds: 0,
  ports: 1,
  railAligned: false,
  crossRailSlowdown: 1,
  ...changes,
});

/** Two nodes of eight devices that share four NICs. */
function twoNodes(changes: Partial<Tier> = {}): Cluster {
  return {
    name: 'two nodes',
    device: { name: 'rank', memoryBytes: 1e9, flopsPerSecond: { bf16: 1e12 }, memoryBytesPerSecond: 1e11 },
    tiers: [
      tier({ name: 'inside', size: 8, bytesPerSecond: 200e9, latencySeconds: 3e-6 }),
      tier({ name: 'network', size: 2, bytesPerSecond: 25e9, latencySeconds: 6e-6, ports: 4, ...changes }),
    ],
    sources: ['made for this test'],
  };
}

const elements = 16 * 4096;
const memoryBytes = 2 * elements * 4;

interface Outcome {
  readonly memories: Float32Array[];
  /** When each member ended, seconds. */
  readonly ends: number[];
}

/**
 * Runs one operation of all ranks on a clock of the test's making. Rank r holds r * 1000 + index % 97 in its first
 * half.
 */
function run(kind: OperationKind, ranks: number, options: FabricOptions, changes: Partial<Operation> = {}): Outcome {
  const memories = Array.from({ length: ranks }, (_, rank) => {
    const memory = new Bytes(new SharedArrayBuffer(memoryBytes));
    for (let i = 0; i < elements; i++) memory.f32[i] = rank * 1000 + (i % 97);
    return memory;
  });
  const engine = new FabricEngine(memories, options);
  const counts = new Int32Array(ranks).fill(elements / ranks);
  const buffers = {
    send: { byteOffset: 0, length: elements },
    receive: { byteOffset: elements * 4, length: elements },
  };
  const parties = memories.map((_, rank) =>
    partyOf(rank, rank, { kind, ...buffers, counts, receiveCounts: counts, ...changes }),
  );
  const ends = endTimes(engine, [parties]);
  return { memories: memories.map((memory) => memory.f32), ends: parties.map((party) => ends.get(party) ?? -1) };
}

/** Time of an exchange between two ranks on different rails of different nodes. */
function acrossRails(crossRailSlowdown: number): number {
  const cluster = twoNodes({ railAligned: true, crossRailSlowdown, latencySeconds: 0 });
  return maxOf(run('all_to_all', 2, { cluster, timeScale: 1000, devices: [0, 15] }).ends);
}

describe('FabricEngine', () => {
  it.each([1, 400])('takes the busiest port and one latency for an all_to_all, at 1/%d of the speed', (timeScale) => {
    const { memories, ends } = run('all_to_all', 16, { cluster: twoNodes(), timeScale });
    for (const [rank, memory] of memories.entries()) {
      for (let from = 0; from < 16; from++) {
        const index = (rank * elements) / 16 + 5;
        expect(memory[elements + (from * elements) / 16 + 5]).toBe(from * 1000 + (index % 97));
      }
    }
    // A NIC carries what two devices send to the eight of the other node.
    const port = (2 * 8 * (elements / 16) * 4) / (25e9 / timeScale);
    const took = maxOf(ends) - 6e-6 * timeScale;
    expect(took).toBeGreaterThanOrEqual(port * (1 - 1e-6));
    expect(port / took).toBeGreaterThanOrEqual(0.97);
  });

  it('adds one latency to a barrier, and none in a group of one', () => {
    const options = { cluster: twoNodes(), timeScale: 100 };
    expect(run('barrier', 16, options).ends.every((end) => Math.abs(end - 6e-4) < 1e-8)).toBe(true);
    expect(run('barrier', 8, options).ends.every((end) => Math.abs(end - 3e-4) < 1e-8)).toBe(true);
    expect(run('barrier', 1, options).ends).toEqual([0]);
  });

  it('makes an all_reduce of a reduce_scatter and an all_gather, each with its latency', () => {
    const whole = { byteOffset: 0, length: elements };
    const options = { cluster: twoNodes(), timeScale: 100, scheduler: { packetBytes: 1024 } };
    const { memories, ends } = run('all_reduce', 8, options, {
      send: whole,
      receive: whole,
      counts: new Int32Array(0),
    });
    for (const memory of memories) {
      for (const index of [0, 96, 4096, elements - 1]) expect(memory[index]).toBe(28_000 + 8 * (index % 97));
    }
    const step = (7 * (elements / 8) * 4) / 2e9;
    const took = maxOf(ends) - 2 * 3e-4;
    expect(took).toBeGreaterThanOrEqual(2 * step * (1 - 1e-6));
    expect(2 * step).toBeGreaterThanOrEqual(0.97 * took);
  });

  it('slows down what changes rails', () => {
    expect(acrossRails(2.2) / acrossRails(1)).toBeCloseTo(2.2, 6);
  });

  it('says which ranks do not fit the cluster', () => {
    const memories = Array.from({ length: 17 }, () => new Bytes(new SharedArrayBuffer(64)));
    expect(() => new FabricEngine(memories, { cluster: twoNodes(), timeScale: 1 })).toThrow(/two nodes, which has 16/);
    expect(() => new FabricEngine([], { cluster: twoNodes(), timeScale: 0 })).toThrow(/positive number, not 0/);
  });
});
