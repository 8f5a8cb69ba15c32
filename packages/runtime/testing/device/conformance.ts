/**
 * What every device must do, as a vitest suite. It knows only the seam, and of kernels only `copy` and `fill`, which
 * every device has. A launch may end at any time after what it comes after has ended: no case relies on when.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Device,
  type DeviceEvent,
  DeviceMemoryError,
  type HostArray,
  type Launch,
} from '#runtime/device/device.js';
import { readFloats, readInts } from '#runtime/device/host-array.js';
import { elementBytes, part, type ElementType, type View } from '#runtime/device/view.js';
import { random, randomProgram, runInOrder, type Random } from './random-program.js';

export interface DeviceUnderTest {
  /** A device that can hold at least 8 MiB and records launches when `trace` is set. */
  readonly make: (options: { readonly trace: boolean }) => Device;
  /** More bytes than it can hold at once. */
  readonly tooManyBytes: number;
}

const types: readonly ElementType[] = ['f32', 'i32', 'bf16', 'f16', 'u8'];

export const copyOf = (from: View, to: View): Launch => ({
  kernel: 'copy',
  operands: { from: { view: from, rows: 1, columns: from.length }, to: { view: to, rows: 1, columns: to.length } },
  arguments: {},
});

export const fillOf = (to: View, value: number): Launch => ({
  kernel: 'fill',
  operands: { to: { view: to, rows: 1, columns: to.length } },
  arguments: { value },
});

function hostArray(type: ElementType, length: number, value: (index: number) => number): HostArray {
  const make = { f32: Float32Array, i32: Int32Array, bf16: Uint16Array, f16: Uint16Array, u8: Uint8Array }[type];
  const array = new make(length);
  for (let index = 0; index < length; index++) array[index] = value(index);
  return array;
}

const zeros = (length: number): number[] => Array.from({ length }, () => 0);

const sameBytes = (a: HostArray, b: HostArray): boolean => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));

const pattern = (type: ElementType, length: number, seed: number): HostArray => {
  const next = random(seed);
  return hostArray(type, length, () => Math.floor(next() * 250) + 1);
};

export function describeDevice(name: string, { make, tooManyBytes }: DeviceUnderTest): void {
  describe(`${name}: memory`, () => {
    let device: Device;
    beforeAll(() => {
      device = make({ trace: false });
    });
    afterAll(() => device.close());

    it.each(types)('reads back what was written as %s, whole and in part', (type) => {
      const view = device.allocate(type, 1001);
      const values = pattern(type, 1001, 1);
      device.write(view, values);
      const got = hostArray(type, 1001, () => 0);
      device.read(view, got);
      expect(got).toEqual(values);
      const piece = hostArray(type, 7, () => 0);
      device.read(part(view, 990, 7), piece);
      expect([...piece]).toEqual([...values.subarray(990, 997)]);
      device.write(part(view, 3, 7), piece);
      const bytes = new Uint8Array(1001 * elementBytes[type]);
      device.read(view, bytes);
      const expected = values.slice();
      expected.set(piece, 3);
      expect([...bytes]).toEqual([...new Uint8Array(expected.buffer)]);
      device.free(view);
    });

    it('keeps apart what is allocated at the same time, wherever room was given back', () => {
      const next = random(2);
      const live: { view: View; values: HostArray }[] = [];
      const damaged: string[] = [];
      const giveBack = ({ view, values }: { view: View; values: HostArray }, round: number): void => {
        const got = hostArray(view.type, view.length, () => 0);
        device.read(view, got);
        if (!sameBytes(got, values)) damaged.push(`${view.length} ${view.type} in round ${round}`);
        device.free(view);
      };
      let most = 0;
      const take = (type: ElementType, length: number, seed: number): void => {
        const view = device.allocate(type, length);
        most = Math.max(most, device.allocatedBytes);
        const values = pattern(type, length, seed);
        device.write(view, values);
        live.push({ view, values });
      };
      for (let round = 0; round < 300; round++)
        if (live.length > 0 && next() < 0.45) giveBack(live.splice(Math.floor(next() * live.length), 1)[0], round);
        else take(types[Math.floor(next() * types.length)], Math.floor(next() ** 3 * 5000), round);
      expect(damaged).toEqual([]);
      for (const { view } of live) device.free(view);
      expect(device.allocatedBytes).toBe(0);
      expect(device.peakAllocatedBytes).toBe(most);
    });

    it('refuses arrays that are not as the view, and room that it does not have', () => {
      const view = device.allocate('f32', 4);
      expect(() => device.read(view, new Int32Array(4))).toThrow(TypeError);
      expect(() => device.write(view, new Float32Array(5))).toThrow(RangeError);
      expect(() => device.copy(view, part(view, 0, 3))).toThrow(RangeError);
      expect(() => part(view, 2, 3)).toThrow(RangeError);
      expect(() => device.allocate('f32', -1)).toThrow(RangeError);
      expect(() => device.allocate('u8', tooManyBytes)).toThrow(DeviceMemoryError);
      device.free(view);
      expect(() => device.free(view)).toThrow(RangeError);
    });

    it('fills with the nearest value of the type', () => {
      const filled = (type: ElementType, value: number): number => {
        const view = device.allocate(type, 3);
        device.fill(view, value);
        const got = hostArray(type, 3, () => 0);
        device.read(view, got);
        device.free(view);
        expect(new Set(got).size).toBe(1);
        return got[2];
      };
      expect(filled('f32', 0.1)).toBe(Math.fround(0.1));
      expect(filled('i32', -3)).toBe(-3);
      expect(filled('u8', 255)).toBe(255);
      // 1 + 2^-8 lies between two bfloat16 numbers and 1 + 2^-11 between two halves: ties go to the even one, 1.
      expect(filled('bf16', 1 + 2 ** -8)).toBe(0x3f80);
      expect(filled('f16', 1 + 2 ** -11)).toBe(0x3c00);
      expect(filled('bf16', 1 + 2 ** -8 + 2 ** -20)).toBe(0x3f81);
      expect(filled('f16', -2)).toBe(0xc000);
    });

    it('copies between views', () => {
      const [from, to] = [device.allocate('f16', 33), device.allocate('f16', 33)];
      device.write(from, pattern('f16', 33, 5));
      device.fill(to, 0);
      device.copy(from, to);
      const got = new Uint16Array(33);
      device.read(to, got);
      expect(got).toEqual(pattern('f16', 33, 5));
      device.free(from);
      device.free(to);
    });
  });

  describe(`${name}: queues and events`, () => {
    let device: Device;
    beforeAll(() => {
      device = make({ trace: false });
    });
    afterAll(() => device.close());

    const filled = (value: number): View => {
      const view = device.allocate('f32', 64);
      device.fill(view, value);
      return view;
    };
    const first = (view: View): number => readFloats(device, view)[0];

    it('an event is done once it is completed, and stays done', () => {
      const [a, b] = [device.createEvent(), device.createEvent()];
      expect(device.query(a)).toBe(false);
      device.complete(a);
      expect(device.query(a)).toBe(true);
      device.wait(a);
      device.waitAny([b, a]);
      device.waitAny([]);
      expect(device.query(b)).toBe(false);
      device.complete(b);
      device.wait(b);
      for (let i = 0; i < 200_000; i++) device.complete(device.createEvent());
      expect(device.query(a)).toBe(true);
    });

    it('a queue is the same at every call, and keeps its order', () => {
      expect(device.queue('compute')).toBe(device.queue('compute'));
      const [a, b, c] = [filled(1), filled(2), filled(3)];
      const queue = device.queue('compute');
      queue.launch(copyOf(a, b));
      queue.launch(copyOf(b, c));
      queue.launch(fillOf(b, 5));
      device.wait(queue.launch(copyOf(b, a)));
      expect([first(a), first(b), first(c)]).toEqual([5, 5, 1]);
    });

    it('a launch waits for the events that it comes after, of the host and of other queues', () => {
      const [a, b, c] = [filled(1), filled(2), filled(3)];
      const gate = device.createEvent();
      const copied = device.queue('copy').launch(copyOf(a, b), [gate]);
      const again = device.queue('compute').launch(copyOf(b, c), [copied]);
      for (let i = 0; i < 50; i++) expect(device.query(copied) || device.query(again)).toBe(false);
      device.write(a, new Float32Array(64).fill(9));
      device.complete(gate);
      device.wait(again);
      expect(device.query(copied)).toBe(true);
      expect([first(b), first(c)]).toEqual([9, 9]);
    });

    it('a queue whose head waits does not hold up another one', () => {
      const [a, b, c] = [filled(1), filled(2), filled(3)];
      const gate = device.createEvent();
      const held = device.queue('copy').launch(copyOf(a, b), [gate]);
      const behind = device.queue('copy').launch(copyOf(a, c));
      device.wait(device.queue('compute').launch(fillOf(a, 7)));
      device.waitAny([held, device.queue('inter').launch(fillOf(a, 8))]);
      expect([device.query(held), device.query(behind)]).toEqual([false, false]);
      device.complete(gate);
      device.wait(behind);
      expect([first(b), first(c)]).toEqual([8, 8]);
    });

    it('knows its kernels by name', () => {
      const launch = { kernel: 'no.such.kernel', operands: {}, arguments: {} };
      expect(() => device.queue('compute').launch(launch)).toThrow(/no\.such\.kernel/);
    });

    it.each([1, 2, 3, 4])('any program gives what it gives in order (seed %i)', (seed) => {
      const next = random(seed);
      const buffers = 4;
      const views = Array.from({ length: buffers }, () => filled(0));
      for (let round = 0; round < 100; round++) {
        const program = randomProgram(next, { buffers, steps: 20, lanes: ['copy', 'compute', 'inter', 'intra dp'] });
        for (const view of views) device.fill(view, 0);
        const gates: DeviceEvent[] = [];
        const events: DeviceEvent[] = [];
        for (const { lane, from, to, value, after, gated } of program) {
          const launch = from === undefined ? fillOf(views[to], value) : copyOf(views[from], views[to]);
          const before = after.map((index) => events[index]);
          if (gated) {
            gates.push(device.createEvent());
            before.push(gates[gates.length - 1]);
          }
          events.push(device.queue(lane).launch(launch, before));
          lookAround(device, next, events);
        }
        for (const gate of shuffled(gates, next)) {
          device.complete(gate);
          lookAround(device, next, events);
        }
        for (const event of events) device.wait(event);
        expect(views.map(first)).toEqual(runInOrder(program, buffers));
      }
    });

    it('integers and 16-bit floats pass through kernels that move them', () => {
      for (const type of ['i32', 'bf16', 'f16', 'u8'] as const) {
        const [from, to] = [device.allocate(type, 40), device.allocate(type, 40)];
        device.write(from, pattern(type, 40, 6));
        device.queue('compute').launch(fillOf(to, 0));
        device.wait(device.queue('compute').launch(copyOf(part(from, 8, 16), part(to, 16, 16))));
        const got = hostArray(type, 40, () => 1);
        device.read(to, got);
        expect([...got]).toEqual([...zeros(16), ...pattern(type, 40, 6).slice(8, 24), ...zeros(8)]);
      }
    });
  });

  describe(`${name}: records and the end`, () => {
    it('records when launches ran, in the order of their queue, and only then', () => {
      const device = make({ trace: true });
      const view = device.allocate('i32', 1 << 14);
      const queue = device.queue('compute');
      const events = [1, 2, 3].map((value) => queue.launch(fillOf(view, value)));
      device.wait(events[2]);
      const records = device.takeRecords();
      expect(records.map(({ event }) => event)).toEqual(events.map(({ id }) => id));
      const times = records.flatMap(({ start, end }) => [start, end]);
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      expect(device.takeRecords()).toEqual([]);
      device.close();
      const untraced = make({ trace: false });
      untraced.wait(untraced.queue('compute').launch(fillOf(untraced.allocate('i32', 4), 1)));
      expect(untraced.takeRecords()).toEqual([]);
      untraced.close();
    });

    it('runs what was launched before it closes', () => {
      const device = make({ trace: false });
      const [a, b] = [device.allocate('i32', 8), device.allocate('i32', 8)];
      device.fill(a, 4);
      const filled = device.queue('copy').launch(fillOf(a, 5));
      const copied = device.queue('compute').launch(copyOf(a, b), [filled]);
      device.wait(copied);
      expect([...readInts(device, b)]).toEqual([5, 5, 5, 5, 5, 5, 5, 5]);
      const last = device.queue('compute').launch(fillOf(b, 6));
      device.close();
      expect(device.query(last)).toBe(true);
    });
  });
}

/** Asks after some event, so that devices which run when asked run something. */
function lookAround(device: Device, next: Random, events: readonly DeviceEvent[]): void {
  if (next() < 0.3) device.query(events[Math.floor(next() * events.length)]);
}

function shuffled<T>(list: T[], next: Random): T[] {
  return list
    .map((value) => ({ value, key: next() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value);
}
