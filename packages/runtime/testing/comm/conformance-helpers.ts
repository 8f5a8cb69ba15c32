/** Values, expectations and small steps that the conformance cases share. */
import type { Communicator, Endpoint, Reduction } from '#runtime/comm/communicator.js';
import type { ConformanceContext } from './conformance-cases.js';
import type { Device, DeviceEvent } from '#runtime/device/device.js';
import type { ElementType, View } from '#runtime/device/view.js';

export const transportedTypes: readonly ElementType[] = ['f32', 'i32', 'bf16', 'f16', 'u8'];

export function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

export function world(context: ConformanceContext, lane = 'inter'): Communicator {
  return context.endpoint.communicator('world', range(context.endpoint.size), context.device.queue(lane));
}

/** A well-mixed 32-bit number from a few small ones (murmur3's finalizer over a running product). */
export function hash(...parts: readonly number[]): number {
  let state = 0x9e3779b9;
  for (const part of parts) {
    state = Math.imul(state ^ part, 0x85ebca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    state ^= state >>> 16;
  }
  return state >>> 0;
}

/** A value that is exact in its type; floats differ much in magnitude, so that the order of a sum shows in its bits. */
function fromBits(type: ElementType, bits: number): number {
  if (type === 'f32') return Math.fround((((bits & 0xffff) - 32768) / 777) * 2 ** ((bits >>> 16) % 24));
  if (type === 'i32') return bits >> 4;
  // 16-bit floats as bit patterns: they only travel.
  return bits & (type === 'u8' ? 0xff : 0xffff);
}

/** Element `index` of `values(type, …, ...parts)`. */
export function value(type: ElementType, index: number, ...parts: readonly number[]): number {
  const state = Math.imul(hash(...parts) + Math.imul(index, 0x9e3779b9), 0x85ebca6b);
  return fromBits(type, state ^ (state >>> 15));
}

/** Numbers that `parts` decide. */
export function values(type: ElementType, length: number, ...parts: readonly number[]): number[] {
  const seed = hash(...parts);
  return Array.from({ length }, (_, index) => {
    const state = Math.imul(seed + Math.imul(index, 0x9e3779b9), 0x85ebca6b);
    return fromBits(type, state ^ (state >>> 15));
  });
}

/** Allocates and fills. */
export function filled(context: ConformanceContext, type: ElementType, contents: readonly number[]): View {
  const view = context.allocate(type, contents.length);
  context.write(view, contents);
  return view;
}

/** Allocates elements that hold `background`, to see which are written. */
export function blank(context: ConformanceContext, type: ElementType, length: number): View {
  return filled(
    context,
    type,
    Array.from({ length }, () => background),
  );
}

export const background = 77;

export function expectEqual(context: ConformanceContext, what: string, view: View, expected: readonly number[]): void {
  const got = context.read(view);
  if (got.length !== expected.length) throw new Error(`${what}: ${got.length} elements, expected ${expected.length}`);
  for (const [index, want] of expected.entries()) {
    if (!Object.is(got[index], want)) {
      throw new Error(
        `${what}: rank ${context.endpoint.rank}, element ${index} of ${expected.length} is ${got[index]}, expected ` +
          `${want}`,
      );
    }
  }
}

/** The reduction of one element's contributions in rank order, rounded as the type rounds. */
export function reduced(type: ElementType, reduction: Reduction, contributions: readonly number[]): number {
  return contributions.reduce((a, b) => {
    if (reduction === 'max') return Math.max(a, b);
    return type === 'f32' ? Math.fround(a + b) : (a + b) | 0;
  });
}

/** Compares with a reduction of `contributions[member][element]`. */
export function expectReduced(
  context: ConformanceContext,
  what: string,
  view: View,
  reduction: Reduction,
  contributions: readonly (readonly number[])[],
): void {
  if (context.sumsInRankOrder || view.type !== 'f32' || reduction === 'max') {
    const expected = Array.from({ length: view.length }, (_, index) =>
      reduced(
        view.type,
        reduction,
        contributions.map((row) => row[index]),
      ),
    );
    expectEqual(context, what, view, expected);
    return;
  }
  for (const [index, got] of context.read(view).entries()) {
    const column = contributions.map((row) => row[index]);
    const exact = column.reduce((a, b) => a + b, 0);
    const magnitude = column.reduce((a, b) => a + Math.abs(b), 0);
    // Any order of n additions errs by at most (n - 1) u sum|x| (1 + ...), u = 2^-24.
    if (!(Math.abs(got - exact) <= column.length * 2 ** -24 * magnitude * 1.01)) {
      throw new Error(`${what}: element ${index} is ${got}, expected about ${exact}`);
    }
  }
}

export function waitAll(device: Device, events: readonly DeviceEvent[]): void {
  for (const event of events) device.wait(event);
}

/** Keeps the thread busy, so that ranks arrive at different times. */
export function dawdle(endpoint: Endpoint, milliseconds: number): void {
  const until = endpoint.now() + milliseconds / 1000;
  while (endpoint.now() < until) endpoint.progress();
}
