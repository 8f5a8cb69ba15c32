/**
 * What pairs of devices tell of every tier: bandwidth, latency, ports and who shares them. Times as they pass on the
 * backend.
 */
import { wholeBytes, type Experiment } from './network-experiment.js';
import { appendAll, minOf } from '@monta/core/units';

export interface LinkFigures {
  readonly name: string;
  readonly bytesPerSecond: number;
  /** False when ports below were the narrower ones all the time. */
  readonly reached: boolean;
  readonly latencySeconds: number;
  readonly ports: number;
  readonly crossRailSlowdown: number;
  readonly sharingSlowdown: number;
  /** A transfer that takes about as long as `transferSeconds` asked. */
  readonly bytes: number;
}

export interface LinkProbe {
  /** Tiers from the inside out; `size` units of the tier below each. */
  readonly tiers: readonly { readonly name: string; readonly size: number }[];
  /** Times of an experiment's repetitions. */
  readonly run: (experiment: Experiment) => readonly number[];
  /** The time that counts among them. */
  readonly pick: (seconds: readonly number[]) => number;
  /** How long a transfer must take at least to be told from noise. */
  readonly transferSeconds: number;
  readonly maximumBytes: number;
}

const smallBytes = 64;
const firstBytes = 4096;
/**
 * A slope lies between a size and one so many times larger; the larger must then take so many times longer at least, or
 * both are timed again.
 */
const [largerSize, steadyRatio] = [3, 2];
const slopeAttempts = 4;
/** Two pairs that share a port take twice as long; half way between is the border. */
const sharingBorder = 1.5;
/** Closer than this to the narrower tier's time, a tier was not reached. */
const reachedBorder = 1.15;
/** A change of rail that costs less does not matter. */
const railBorder = 1.04;

/** The lower quartile: whatever disturbs a measurement makes it longer. */
export function typical(seconds: readonly number[]): number {
  const sorted = [...seconds].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 4)] ?? Number.NaN;
}

/**
 * The shortest: an emulated network never delivers early, and a machine with more threads than processors delivers
 * late.
 */
export const shortest = (seconds: readonly number[]): number => minOf(seconds);

/** Probes all tiers, from the inside out. */
export function probeLinks(probe: LinkProbe): LinkFigures[] {
  const figures: LinkFigures[] = [];
  let unit = 1;
  for (const [tier, { name, size }] of probe.tiers.entries()) {
    if (size > 1) figures.push(tier === 0 ? innermost(probe, name, size) : outer(probe, name, unit, figures));
    unit *= size;
  }
  return figures;
}

interface Pair {
  readonly latencySeconds: number;
  readonly bytesPerSecond: number;
  readonly bytes: number;
  /** Of `bytes`, without latency. */
  readonly transferSeconds: number;
}

/** One message from device 0 to another: latency from the smallest, bandwidth from the slope between two large ones. */
function pairOf(probe: LinkProbe, to: number): Pair {
  const runs = (bytes: number): readonly number[] => probe.run({ op: 'send', groups: [[0, to]], bytes });
  const time = (bytes: number): number => probe.pick(runs(bytes));
  const small = time(smallBytes);
  const limit = probe.maximumBytes / 4;
  let bytes = firstBytes;
  for (;;) {
    const missing = Math.max(probe.transferSeconds, small) / Math.max(time(bytes) - small, 1e-9);
    if (missing <= 1 || bytes >= limit) break;
    bytes = Math.min(limit, bytes * Math.min(16, Math.max(2, missing)));
  }
  const [low, high] = [wholeBytes(bytes, 2), wholeBytes(largerSize * bytes, 2)];
  const slope = secondsPerByte(probe.pick, runs, [low, high], small);
  return {
    latencySeconds: Math.max(0, small - smallBytes * slope),
    bytesPerSecond: 1 / slope,
    bytes: high,
    transferSeconds: high * slope,
  };
}

/**
 * The slope between two sizes. Both are timed again, and all times count, as long as the smaller does not take longer
 * than a message of next to nothing, and the larger `steadyRatio` times as long as the smaller: a machine that was busy
 * in one of them would make links look many times faster than they are, or even give a negative slope. Where that does
 * not help, the larger's whole time counts, latency and all, which is too long rather than senseless.
 */
function secondsPerByte(
  pick: LinkProbe['pick'],
  runs: (bytes: number) => readonly number[],
  [low, high]: readonly [low: number, high: number],
  latencySeconds: number,
): number {
  const [lowTimes, highTimes]: [number[], number[]] = [[], []];
  for (let attempt = 0; attempt < slopeAttempts; attempt++) {
    appendAll(lowTimes, runs(low));
    appendAll(highTimes, runs(high));
    const [shorter, longer] = [pick(lowTimes) - latencySeconds, pick(highTimes) - latencySeconds];
    if (shorter > 0 && longer >= steadyRatio * shorter) return (longer - shorter) / (high - low);
  }
  return pick(highTimes) / high;
}

/** How many times longer these pairs take together than one alone, without latency; at least 1. */
function slowdown(probe: LinkProbe, pair: Pair, pairs: readonly (readonly number[])[]): number {
  // Differences of two sizes, so that latency and the filling of pipelines cancel.
  const small = wholeBytes(pair.bytes / largerSize, 2);
  const time = (bytes: number): number => probe.pick(probe.run({ op: 'send', groups: pairs, bytes }));
  return Math.max(1, ((time(pair.bytes) - time(small)) * pair.bytesPerSecond) / (pair.bytes - small));
}

function innermost(probe: LinkProbe, name: string, size: number): LinkFigures {
  const pair = pairOf(probe, 1);
  const sharing =
    size > 2
      ? slowdown(probe, pair, [
          [0, 1],
          [0, 2],
        ])
      : 1;
  return {
    name,
    bytesPerSecond: pair.bytesPerSecond,
    reached: true,
    latencySeconds: pair.latencySeconds,
    ports: size > 2 && sharing < sharingBorder ? 2 : 1,
    crossRailSlowdown: 1,
    sharingSlowdown: sharing,
    bytes: pair.bytes,
  };
}

/** A tier that joins units of `unit` devices. */
function outer(probe: LinkProbe, name: string, unit: number, inner: readonly LinkFigures[]): LinkFigures {
  const pair = pairOf(probe, unit);
  const across = (devices: readonly number[]): [number, number][] => devices.map((device) => [device, unit + device]);
  const prefix = (count: number): number[] => Array.from({ length: count }, (_, device) => device);
  const rail = unit > 1 ? slowdown(probe, pair, [[0, 2 * unit - 1]]) : 1;
  const common = {
    name,
    latencySeconds: pair.latencySeconds,
    crossRailSlowdown: rail > railBorder ? rail : 1,
    bytes: pair.bytes,
  };
  const all = unit > 1 ? slowdown(probe, pair, across(prefix(unit))) : 1;
  if (inner.length <= 1) {
    // Nothing lies between: neighbours that do not slow each other down have ports of their own.
    let ports = 1;
    for (let device = 1; device < unit; device++) {
      const seconds = probe.pick(probe.run({ op: 'send', groups: across([device - 1, device]), bytes: pair.bytes }));
      if ((seconds - pair.latencySeconds) / pair.transferSeconds < sharingBorder) ports += 1;
    }
    return { ...common, bytesPerSecond: pair.bytesPerSecond, reached: true, ports, sharingSlowdown: all };
  }
  // Ports of the tiers below come first. More and more devices send until the time grows no more: so many share a port
  // up here.
  const below = inner.at(-1);
  const sharedBelow = below?.sharingSlowdown ?? 1;
  let sharers = 1;
  const counts = prefix(Math.ceil(Math.log2(unit))).map((power) => 2 ** power);
  for (const count of [...counts.slice(1), unit]) {
    const here = count === unit ? all : slowdown(probe, pair, across(prefix(count)));
    if (here * reachedBorder >= all) {
      sharers = count;
      break;
    }
  }
  const narrowestBelow = (sharedBelow / (below?.bytesPerSecond ?? Infinity)) * pair.bytesPerSecond;
  const alone = pair.bytesPerSecond * reachedBorder < (below?.bytesPerSecond ?? 0) && all < reachedBorder;
  const reached = alone || all > narrowestBelow * reachedBorder;
  if (alone) sharers = 1;
  return {
    ...common,
    bytesPerSecond: (pair.bytesPerSecond * sharers) / all,
    reached,
    ports: reached ? Math.max(1, Math.round(unit / sharers)) : 1,
    sharingSlowdown: all,
  };
}
