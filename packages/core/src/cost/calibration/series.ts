/** Series: the times of one collective on one set of ranks, over sizes; and finding them. */
import { Curve } from './curve.js';
import type { Knot } from './clean-points.js';
import { gpuKey } from './gpus.js';
import { leastSecondsPerByte } from './link-bounds.js';
import type { MeasuredOp } from './measurement.js';

/** Which ranks: hardware, library, collective, and shape of the group. */
export interface SeriesKey {
  /** Device, as the logs name it. */
  readonly gpu: string;
  /** Cluster or fabric; empty when there is only one. */
  readonly system: string;
  readonly library: string;
  readonly op: MeasuredOp;
  readonly ranks: number;
  /** Null when the measurements do not say. */
  readonly nodes: number | null;
  /** Groups of this shape that ran at the same time; absent: one. */
  readonly groups?: number;
}

export interface Series extends SeriesKey {
  /** Rising sizes (total buffer) with times that do not fall; two at least. */
  readonly points: readonly Knot[];
  /** What was measured, or what a formula made of measurements of something else. */
  readonly basis: 'measured' | 'derived';
  /** Where the points come from: files and lines, or how they were derived. */
  readonly sources: readonly string[];
  /** Expected relative error that the derivation adds, as a share; 0 when measured. */
  readonly addedError: number;
}

const curves = new WeakMap<Series, Curve>();

/** The curve of a series, built once. */
export function curveOf(series: Series): Curve {
  let curve = curves.get(series);
  if (curve === undefined) {
    curve = new Curve(series.points, { leastSecondsPerByte: leastSecondsPerByte(series) });
    curves.set(series, curve);
  }
  return curve;
}

/** `H100 (nccl 2.29.2), all_gather over 8 ranks on 1 node`. */
export function describeKey(key: SeriesKey): string {
  const nodes = key.nodes === null ? 'nodes not stated' : `${key.nodes} ${key.nodes === 1 ? 'node' : 'nodes'}`;
  const where = [key.library, key.system].filter((part) => part !== '').join(', ');
  const together = key.groups === undefined ? '' : `, ${key.groups} such groups at once`;
  return `${key.gpu || 'unnamed device'} (${where}), ${key.op} over ${key.ranks} ranks on ${nodes}${together}`;
}

/** Equal for series that one curve may be fitted to. */
export const keyText = (key: SeriesKey): string =>
  [gpuKey(key.gpu), key.system, key.library, key.op, key.ranks, key.nodes ?? '?', key.groups ?? 1].join('|');

/** The same device, cluster and library: what carrying from one rank count or collective to another needs. */
export const sameHardware = (a: SeriesKey, b: SeriesKey): boolean =>
  gpuKey(a.gpu) === gpuKey(b.gpu) && a.system === b.system && a.library === b.library;

/**
 * Groups of the same make: inside a node both, or spread over nodes with the same number of ranks on each. Times of one
 * say nothing about the network that only the other crosses.
 */
export function sameMake(a: SeriesKey, b: SeriesKey): boolean {
  if (a.groups !== b.groups) return false;
  if (a.nodes === null || b.nodes === null) return a.nodes === b.nodes;
  if (a.nodes === 1 || b.nodes === 1) return a.nodes === b.nodes;
  return a.ranks / a.nodes === b.ranks / b.nodes;
}
