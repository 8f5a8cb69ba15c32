import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultSchedulerOptions, PacketScheduler, type SchedulerOptions } from './packet-scheduler.js';
import { maxOf, minOf } from '@monta/core/units';

/** Runs a scheduler on a clock of the test's making until it is idle; `step` says how late the next call comes. */
function drain(scheduler: PacketScheduler, start = 0, lateness: () => number = () => 0): number {
  let now = start;
  for (;;) {
    scheduler.advance(now);
    if (!scheduler.busy) return now;
    now = Math.max(now, scheduler.nextWake()) + lateness();
  }
}

interface Ended {
  bytes: number;
  at: number;
}

function flow(scheduler: PacketScheduler, ports: number[], bytes: number, now = 0, slowdown = 1): Ended {
  const result: Ended = { bytes: 0, at: -1 };
  scheduler.add(
    {
      ports,
      bytes,
      slowdown,
      deliver: (offset, count) => {
        expect(offset).toBe(result.bytes);
        result.bytes += count;
      },
      ended: (time) => (result.at = time),
    },
    now,
  );
  return result;
}

const options = (changes: Partial<SchedulerOptions> = {}): SchedulerOptions => ({
  ...defaultSchedulerOptions,
  ...changes,
});

describe('PacketScheduler', () => {
  it('moves a flow at exactly the rate of its narrowest port, whatever the number of ports', () => {
    const scheduler = new PacketScheduler([4e6, 1e6, 2e6, 8e6]);
    const alone = flow(scheduler, [0, 1, 2, 3], 3_000_000);
    drain(scheduler);
    expect(alone.bytes).toBe(3_000_000);
    // The last packet crosses the faster ports behind the narrowest while it is still being received.
    expect(alone.at).toBeGreaterThanOrEqual(3 - 1e-9);
    expect(alone.at).toBeLessThan(3 + (32 << 10) / 1e6);
  });

  it('needs bytes / rate for a message smaller than a packet, over any number of equal ports', () => {
    const scheduler = new PacketScheduler([1e6, 1e6, 1e6, 1e6]);
    const small = flow(scheduler, [0, 1, 2, 3], 1000);
    drain(scheduler);
    expect(small.at).toBeCloseTo(0.001, 9);
  });

  it('divides the rate of a slowed-down flow', () => {
    const scheduler = new PacketScheduler([1e6, 1e6]);
    const slow = flow(scheduler, [0, 1], 1_000_000, 0, 2.2);
    drain(scheduler);
    expect(slow.at).toBeCloseTo(2.2, 6);
  });

  it('shares a port equally between flows, and gives the rest to who is left', () => {
    const scheduler = new PacketScheduler([1e6, 9e6, 9e6]);
    const short = flow(scheduler, [0, 1], 1_000_000);
    const long = flow(scheduler, [0, 2], 3_000_000);
    drain(scheduler);
    expect(short.at).toBeCloseTo(2, 1);
    expect(long.at).toBeCloseTo(4, 2);
  });

  it('lets a flow that is held up at its receiver leave its sender to others: max-min fair', () => {
    // Nine other senders and sender 0 send to port 10; sender 0 also sends to port 11, which nobody else uses.
    const scheduler = new PacketScheduler(Array.from({ length: 12 }, () => 1e6));
    for (let sender = 1; sender < 10; sender++) flow(scheduler, [sender, 10], 10_000_000);
    const crowded = flow(scheduler, [0, 10], 10_000_000);
    const free = flow(scheduler, [0, 11], 9_000_000);
    drain(scheduler);
    // Its fair share is what the crowded receiver leaves of its own port: 0.9 of it.
    expect(free.at).toBeGreaterThan(9.9);
    expect(free.at).toBeLessThan(10.2);
    expect(crowded.at).toBeCloseTo(100, 0);
  });

  it.each([2, 4, 8, 16])(
    'keeps the ports of an all_to_all of %i busy for at least 97 per cent of the time',
    (members) => {
      fc.assert(
        fc.property(fc.infiniteStream(fc.integer({ min: 0, max: 50 })), (extra) => {
          const scheduler = new PacketScheduler(Array.from({ length: 2 * members }, () => 1e6));
          const sent = Array.from({ length: 2 * members }, () => 0);
          const flows: Ended[] = [];
          for (let from = 0; from < members; from++) {
            for (let step = 1; step < members; step++) {
              const to = members + ((from + step) % members);
              const bytes = 1_000_000 + 1000 * (extra.next().value ?? 0);
              sent[from] = (sent[from] ?? 0) + bytes;
              sent[to] = (sent[to] ?? 0) + bytes;
              flows.push(flow(scheduler, [from, to], bytes));
            }
          }
          drain(scheduler);
          const busiest = maxOf(sent) / 1e6;
          const took = maxOf(flows.map(({ at }) => at));
          expect(took).toBeGreaterThanOrEqual(busiest * (1 - 1e-9));
          expect(busiest / took).toBeGreaterThanOrEqual(0.97);
        }),
        { numRuns: 4, seed: 7 },
      );
    },
  );

  it('reaches 97 % when the devices of a node share ports', () => {
    // 2 nodes x 8 devices, 4 NICs each: device d leaves through NIC floor(d / 2); every device sends to all of the
    // other node.
    const scheduler = new PacketScheduler(Array.from({ length: 16 }, () => 1e6));
    const flows: Ended[] = [];
    for (let device = 0; device < 8; device++) {
      const nic = device >> 1;
      for (let step = 0; step < 8; step++) {
        const peer = (device + step) % 8;
        flows.push(flow(scheduler, [nic, 4 + (peer >> 1)], 200_000));
        flows.push(flow(scheduler, [8 + nic, 12 + (peer >> 1)], 200_000));
      }
    }
    drain(scheduler);
    const busiest = (2 * 8 * 200_000) / 1e6;
    expect(busiest / maxOf(flows.map(({ at }) => at))).toBeGreaterThanOrEqual(0.97);
  });

  it('keeps the average rate when it is called late, as long as lateness stays within the bound', () => {
    const scheduler = new PacketScheduler([1e6, 1e6], options({ catchUpSeconds: 0.02 }));
    const late = flow(scheduler, [0, 1], 2_000_000);
    let turn = 0;
    drain(scheduler, 0, () => ((turn += 7) % 20) / 1000);
    expect(late.at).toBeCloseTo(2, 6);
    expect(scheduler.lostSeconds).toBe(0);
  });

  it('makes up for no more than the bound: a pause stops the network', () => {
    const scheduler = new PacketScheduler([1e6, 1e6], options({ catchUpSeconds: 0.02 }));
    const paused = flow(scheduler, [0, 1], 1_000_000);
    for (let now = 0; now < 0.5; now = scheduler.nextWake()) scheduler.advance(now);
    const before = paused.bytes;
    scheduler.advance(5.5);
    // What passes at once is what the bound and one packet allow.
    expect(paused.bytes - before).toBeLessThanOrEqual(0.02 * 1e6 + 2 * (32 << 10));
    drain(scheduler, 5.5);
    expect(scheduler.lostSeconds).toBeGreaterThan(4.9);
    expect(paused.at).toBeCloseTo(1 + scheduler.lostSeconds, 6);
  });

  it('gives an idle port no credit', () => {
    const scheduler = new PacketScheduler([1e6, 1e6]);
    scheduler.advance(10);
    const afterIdle = flow(scheduler, [0, 1], 500_000, 10);
    drain(scheduler, 10);
    expect(afterIdle.at).toBeCloseTo(10.5, 6);
  });

  it('calls timers at their time, between packets, and starts flows from callbacks at that time', () => {
    const scheduler = new PacketScheduler([1e6]);
    const times: number[] = [];
    let second: Ended | undefined;
    scheduler.schedule(0.25, (time) => {
      times.push(time);
      second = flow(scheduler, [0], 100_000, time);
    });
    scheduler.schedule(0.1, (time) => times.push(time));
    drain(scheduler);
    expect(times).toEqual([0.1, 0.25]);
    expect(second?.at).toBeCloseTo(0.35, 9);
  });

  it('delivers every byte of every flow exactly once, in order, never faster than a port allows', () => {
    const request = fc.record({
      from: fc.nat(5),
      to: fc.nat(5),
      bytes: fc.nat(200_000),
      start: fc.integer({ min: 0, max: 300 }).map((ms) => ms / 1000),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 30 }), fc.nat(15), (requests, lateMs) => {
        const scheduler = new PacketScheduler(Array.from({ length: 12 }, (_, port) => 1e6 * (1 + (port % 3))));
        const order = [...requests].sort((a, b) => a.start - b.start);
        let now = 0;
        const flows: Ended[] = [];
        for (const { from, to, bytes, start } of order) {
          for (; now < start; now = Math.min(start, scheduler.nextWake() + lateMs / 1000)) scheduler.advance(now);
          scheduler.advance(start);
          flows.push(flow(scheduler, [from, 6 + to], bytes, start));
        }
        drain(scheduler, now, () => lateMs / 1000);
        for (const [index, { bytes, at }] of flows.entries()) {
          expect(bytes).toBe(order[index]?.bytes);
          expect(at).toBeGreaterThanOrEqual(order[index]?.start ?? 0);
        }
        for (let port = 0; port < 12; port++) {
          const users = order.flatMap((use, index) =>
            use.from === port || 6 + use.to === port ? [{ ...use, at: flows[index]?.at ?? 0 }] : [],
          );
          const first = minOf(users.map(({ start }) => start));
          const last = Math.max(first, maxOf(users.map(({ at }) => at)));
          const total = users.reduce((sum, { bytes }) => sum + bytes, 0);
          const atLeast = total / (1e6 * (1 + (port % 3)));
          expect(total === 0 || last - first >= atLeast - 1e-9).toBe(true);
        }
      }),
      { seed: 11, numRuns: 200 },
    );
  });
});
