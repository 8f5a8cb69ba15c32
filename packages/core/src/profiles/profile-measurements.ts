/**
 * Collectives of profiled steps as measurements that curves are fitted to. Curves are of collectives that run alone and
 * evenly: others are left out. Needs the traces of all ranks of a group, since the time of one rank is waiting and
 * transferring together.
 */
import type { Cluster } from '../cluster/index.js';
import { measuredOps, type Measurement, type MeasuredOp, type Reading } from '../cost/index.js';
import { balancedRatio, pointsOf, type MeasuredSample } from '../trace/measured-points.js';
import { formatPercent, InputError } from '../units/index.js';
import { placeOfGroup } from './group-place.js';
import { clockOffsetsOf, meetingsOf, splitsOf, type Meeting, type Split } from './meetings.js';
import type { Communication, RankProfile } from './profile.js';

export interface ProfileMeasurementOptions {
  readonly gpu?: string;
  readonly system?: string;
  readonly cluster?: Cluster;
}

/** Kernels of a rank that ran while another communication kernel of it did. */
function disturbed({ communications }: RankProfile): Set<Communication> {
  const found = new Set<Communication>();
  let last: Communication | undefined;
  for (const one of [...communications].sort((a, b) => a.start - b.start)) {
    if (last !== undefined && one.start < last.end) found.add(last).add(one);
    if (last === undefined || one.end > last.end) last = one;
  }
  return found;
}

/** The whole buffer of a balanced collective; undefined where members sent unequal or unknown amounts. */
function balancedBytes({ arrivals }: Meeting, ranks: number): number | undefined {
  const [first] = arrivals;
  if (first?.communication.op !== 'all_to_all') return first?.communication.bytes;
  const sent = arrivals.flatMap(({ communication }) => communication.sentBytes ?? []);
  const most = sent.reduce((a, b) => Math.max(a, b), 0);
  const least = sent.reduce((a, b) => Math.min(a, b), Infinity);
  return sent.length === arrivals.length && least > 0 && most <= balancedRatio * least
    ? (most * ranks) / (ranks - 1)
    : undefined;
}

interface Usable extends MeasuredSample {
  readonly profile: RankProfile;
}

interface Tally {
  whole: number;
  beside: number;
  uneven: number;
}

function sampleOf(
  meeting: Meeting,
  about: {
    readonly splits: ReadonlyMap<Communication, Split>;
    readonly beside: ReadonlySet<Communication>;
    readonly tally: Tally;
  },
  place: { readonly profiles: ReadonlyMap<number, RankProfile>; readonly cluster: Cluster | undefined },
): Usable[] {
  const [first] = meeting.arrivals;
  const op = measuredOps.find((one): one is MeasuredOp => one === first?.communication.op);
  const ranks = first?.communication.group?.ranks;
  const profile = place.profiles.get(first?.rank ?? -1);
  const times = meeting.arrivals.flatMap(({ communication }) => about.splits.get(communication)?.transferring ?? []);
  if (
    first === undefined ||
    op === undefined ||
    ranks === undefined ||
    profile === undefined ||
    times.length < ranks.length
  )
    return [];
  about.tally.whole += 1;
  if (meeting.arrivals.some(({ communication }) => about.beside.has(communication))) {
    about.tally.beside += 1;
    return [];
  }
  const bytes = balancedBytes(meeting, ranks.length);
  const seconds = times.reduce((a, b) => Math.max(a, b));
  if (bytes === undefined || !(bytes > 0 && seconds > 0)) {
    about.tally.uneven += 1;
    return [];
  }
  const { nodes } = placeOfGroup(ranks, place.cluster, profile.devicesPerNode);
  return nodes === undefined
    ? []
    : [{ op, ranks: ranks.length, nodes, bytes, seconds, line: first.communication.line, profile }];
}

/**
 * Measurements of the collectives that all their ranks recorded, alone on their rank and evenly. Throws `InputError`
 * when there are none.
 */
export function profileMeasurements(
  profiles: readonly RankProfile[],
  { gpu, system, cluster }: ProfileMeasurementOptions = {},
): Reading {
  const meetings = meetingsOf(profiles);
  const splits = splitsOf(meetings, clockOffsetsOf(meetings));
  const beside = new Set(profiles.flatMap((profile) => [...disturbed(profile)]));
  const byRank = new Map(profiles.map((profile) => [profile.rank, profile]));
  const tally: Tally = { whole: 0, beside: 0, uneven: 0 };
  const samples = meetings.flatMap((meeting) =>
    sampleOf(meeting, { splits, beside, tally }, { profiles: byRank, cluster }),
  );
  const [one] = profiles;
  const name = one === undefined ? '' : one.file;
  const share = (count: number): string => `${count} collectives (${formatPercent(count / tally.whole)})`;
  const warnings = [
    ...(tally.beside > 0 ? [`${share(tally.beside)} ran beside other communication of a rank, left out`] : []),
    ...(tally.uneven > 0 ? [`${share(tally.uneven)} moved unequal or unknown amounts, left out`] : []),
  ];
  if (samples.length === 0)
    throw new InputError('no collective was recorded by all its ranks, alone and evenly', {
      file: name,
      expected: 'traces of all ranks of a group, of PyTorch 2.2 or later',
      ...(warnings[0] === undefined ? {} : { hint: warnings.join('; ') }),
    });
  warnings.push('collectives of a training step run beside kernels that compute: nccl-tests alone may be faster');
  return { measurements: measurementsOf(samples, { gpu, system }), warnings };
}

function measurementsOf(samples: readonly Usable[], { gpu, system }: ProfileMeasurementOptions): Measurement[] {
  const [one] = samples;
  return pointsOf(samples).map(({ op, ranks, nodes, bytes, seconds, line }) => ({
    op,
    ranks,
    nodes,
    bytes,
    seconds,
    source: one?.profile.file ?? '',
    line,
    origin: 'profile of a training step',
    gpu: gpu ?? one?.profile.device ?? '',
    system: system ?? '',
    library: one?.profile.library ?? 'nccl',
  }));
}
