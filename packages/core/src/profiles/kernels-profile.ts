/**
 * A profile out of kernels alone, for profilers that know their names and times but nothing of the program's groups, as
 * Nsight Systems.
 */
import { unionOf, type Interval } from '../units/index.js';
import { communicationKernel, shortKernelName } from './kernel-names.js';
import type { Communication, RankProfile } from './profile.js';

/** One activity of a device; times in seconds on any one clock. */
export interface DeviceActivity {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

export interface DeviceActivities {
  readonly file: string;
  readonly rank: number;
  readonly device: string;
  readonly devicesPerNode?: number;
  readonly kernels: Iterable<DeviceActivity>;
  readonly copies: Iterable<DeviceActivity>;
  readonly notes: readonly string[];
}

/** Tells communication from computation by the kernels' names. Bytes and groups are not known. */
export function profileOfKernels(given: DeviceActivities): RankProfile {
  const compute: Interval[] = [];
  const copies: Interval[] = [];
  const communications: Communication[] = [];
  let [origin, last] = [Infinity, -Infinity];
  const within = ({ start, end }: DeviceActivity): void => {
    origin = Math.min(origin, start);
    last = Math.max(last, end);
  };
  for (const activity of given.copies) {
    within(activity);
    copies.push([activity.start, activity.end]);
  }
  for (const activity of given.kernels) {
    within(activity);
    const { name, start, end } = activity;
    const kind = communicationKernel(name);
    if (kind === undefined) compute.push([start, end]);
    else communications.push({ ...kind, kernel: shortKernelName(name), start, end, line: 0 });
  }
  const from = (intervals: readonly Interval[]): Interval[] =>
    unionOf(intervals).map(([start, end]): Interval => [start - origin, end - origin]);
  const { file, rank, device, devicesPerNode, notes } = given;
  return {
    file,
    rank,
    device,
    ...(devicesPerNode === undefined ? {} : { devicesPerNode }),
    library: 'nccl',
    seconds: Math.max(0, last - origin),
    compute: from(compute),
    copies: from(copies),
    communications: communications
      .map((one) => ({ ...one, start: one.start - origin, end: one.end - origin }))
      .sort((a, b) => a.start - b.start),
    notes,
  };
}
