/**
 * Collectives out of Monta's own measured traces, as measurements that curves are fitted to. Curves are of collectives
 * that run alone: those that met others on a port are left out.
 */
import { deviceCount, unitOf, type Cluster } from '../cluster/index.js';
import { measuredOps, type Measurement, type MeasuredOp, type Reading } from '../cost/index.js';
import { fabricOf } from '../traffic/index.js';
import { formatPercent, InputError, maxOf, minOf } from '../units/index.js';
import { clockOffsets, groupKeys } from './clocks.js';
import { balancedRatio, pointsOf, type MeasuredSample } from './measured-points.js';
import { readPerfettoPieces, type TraceHead } from './perfetto-read.js';
import type { Span, SpanCollective } from './span.js';

export interface TraceOptions {
  readonly gpu?: string;
  readonly system?: string;
  /** Tells which ranks share nodes and ports. */
  readonly cluster?: Cluster;
}

/** What stands for the library in measurements from traces. */
export const traceLibrary = 'monta';

/** Steps that warm up caches and thread pools say little. */
const warmUpSteps = 1;

interface CollectiveSpan extends Span {
  readonly collective: SpanCollective;
}

/** The collectives of one trace of a file; other operations are let go while reading. */
interface Collected {
  readonly spans: CollectiveSpan[];
  /** Of each span, in the file. */
  readonly lines: number[];
  firstStep: number;
  lastStep: number;
}

/** One collective of one group, on the aligned clock. */
interface Run extends MeasuredSample {
  readonly step: number;
  readonly balanced: boolean;
  readonly ready: number;
  readonly end: number;
  readonly ports: ReadonlySet<number>;
}

/**
 * Reads the measured traces of a file, given in pieces; only its collectives are kept in memory. Left out with a
 * warning: unbalanced collectives, those that met others on a port, and a first step where there are more. Times of an
 * emulated network are brought back to the cluster's own. Throws `InputError` when the cluster is not given, when the
 * file holds no measured trace, or nothing that is usable.
 */
export function readTraceMeasurements(pieces: Iterable<string>, fileName: string, options: TraceOptions = {}): Reading {
  const { cluster } = options;
  const devices = cluster === undefined ? Infinity : deviceCount(cluster);
  const collected: Collected[] = [];
  const heads = readPerfettoPieces(pieces, fileName, {
    span(span, trace, line) {
      const kept = (collected[trace] ??= { spans: [], lines: [], firstStep: span.step, lastStep: span.step });
      kept.firstStep = Math.min(kept.firstStep, span.step);
      kept.lastStep = Math.max(kept.lastStep, span.step);
      if (!isCollective(span)) return;
      if (span.rank >= devices)
        throw new InputError(`has a rank ${span.rank}`, {
          file: fileName,
          line,
          expected: `ranks of ${cluster?.name}, which has ${devices} devices`,
        });
      kept.spans.push(span);
      kept.lines.push(line);
    },
  });
  if (!heads.some(({ kind }) => kind === 'measured')) {
    throw new InputError('holds simulated times only', {
      file: fileName,
      expected: 'a measured trace, as monta train writes',
      hint: 'what was simulated cannot teach the simulator',
    });
  }
  if (cluster === undefined) {
    throw new InputError('is a trace, which does not say where its ranks are', {
      file: fileName,
      expected: 'the cluster that it was measured on, with --cluster',
    });
  }
  const warnings: string[] = [];
  const measurements = heads.flatMap((head, trace) => {
    const kept = collected[trace];
    if (head.kind !== 'measured' || kept === undefined) return [];
    return measurementsOf({ head, collected: kept, fileName, options: { ...options, cluster }, warnings });
  });
  if (measurements.length === 0) {
    throw new InputError('has no collective that was balanced and alone on its ports', {
      file: fileName,
      expected: 'exchanges of about equal bytes on all ranks, without others beside them',
      hint: warnings[0],
    });
  }
  return { measurements, warnings };
}

const isCollective = (span: Span): span is CollectiveSpan => span.collective !== undefined;

/** The total buffer of a balanced collective in which each of n ranks sent `sent` bytes straight to the others. */
function totalBytes(op: MeasuredOp, ranks: number, sent: number): number {
  switch (op) {
    case 'all_to_all':
    case 'all_gather':
    case 'reduce_scatter':
      return (sent * ranks) / (ranks - 1);
    case 'all_reduce':
      return (sent * ranks) / (2 * (ranks - 1));
    case 'broadcast':
    case 'send':
      return sent;
  }
}

function runsOf({ spans, lines, firstStep, lastStep }: Collected, cluster: Cluster): Run[] {
  const offsets = clockOffsets(spans);
  const keyOf = groupKeys();
  const from = lastStep > firstStep ? firstStep + warmUpSteps : firstStep;
  const meetings = new Map<string, number[]>();
  for (const [index, span] of spans.entries()) {
    if (!(span.bytes > 0) || span.step < from) continue;
    const key = `${span.step}|${span.node}|${span.operation}|${keyOf(span.collective)}`;
    const meeting = meetings.get(key);
    if (meeting) meeting.push(index);
    else meetings.set(key, [index]);
  }
  const placeOf = groupPlaces(cluster);
  return [...meetings.values()].flatMap((meeting) => {
    const members = meeting.flatMap((index) => {
      const span = spans[index];
      return span === undefined ? [] : [{ span, line: lines[index] ?? 1, offset: offsets(span.step, span.rank) }];
    });
    const [first] = members;
    const op = measuredOps.find((one) => one === first?.span.collective.name);
    if (first === undefined || op === undefined || members.length < 2) return [];
    const sent = members.map(({ span }) => span.bytes);
    const ready = maxOf(members.map(({ span, offset }) => span.ready + offset));
    const end = maxOf(members.map(({ span, offset }) => span.end + offset));
    return {
      op,
      ranks: members.length,
      bytes: totalBytes(op, members.length, maxOf(sent)),
      seconds: end - ready,
      line: minOf(members.map(({ line }) => line)),
      step: first.span.step,
      balanced: maxOf(sent) <= balancedRatio * minOf(sent),
      ready,
      end,
      ...placeOf(members.map(({ span }) => span.rank)),
    };
  });
}

/** Nodes that ranks are on, and ports that they reach each other through. */
function groupPlaces(cluster: Cluster): (ranks: readonly number[]) => Pick<Run, 'nodes' | 'ports'> {
  const fabric = fabricOf(cluster);
  const known = new Map<string, Pick<Run, 'nodes' | 'ports'>>();
  return (ranks) => {
    const key = ranks.join(' ');
    const found = known.get(key);
    if (found !== undefined) return found;
    const ports = ranks.flatMap((from) =>
      ranks.flatMap((to) => (from === to ? [] : [...fabric.route(from, to).ports])),
    );
    const place = { nodes: new Set(ranks.map((rank) => unitOf(cluster, 0, rank))).size, ports: new Set(ports) };
    known.set(key, place);
    return place;
  };
}

/** Collectives that used no port while another one used it. */
function aloneOnPorts(runs: readonly Run[]): Run[] {
  const byPort = new Map<string, Run[]>();
  for (const run of runs) {
    for (const port of run.ports) {
      const key = `${run.step} ${port}`;
      const users = byPort.get(key);
      if (users) users.push(run);
      else byPort.set(key, [run]);
    }
  }
  const disturbed = new Set<Run>();
  for (const users of byPort.values()) {
    let last: Run | undefined;
    for (const run of users.sort((a, b) => a.ready - b.ready)) {
      // of those before it only the one that ends last can still be open
      if (last !== undefined && run.ready < last.end && last.ready < run.end) disturbed.add(last).add(run);
      if (last === undefined || run.end > last.end) last = run;
    }
  }
  return runs.filter((run) => !disturbed.has(run));
}

function measurementsOf({
  head: { source, timeScale },
  collected,
  fileName,
  options: { cluster, gpu, system },
  warnings,
}: {
  readonly head: TraceHead;
  readonly collected: Collected;
  readonly fileName: string;
  readonly options: TraceOptions & { readonly cluster: Cluster };
  readonly warnings: string[];
}): Measurement[] {
  const runs = runsOf(collected, cluster);
  const alone = aloneOnPorts(runs);
  const usable = alone.filter((run) => run.balanced && run.seconds > 0);
  const share = (count: number): string => `${count} collectives (${formatPercent(count / runs.length)})`;
  if (alone.length < runs.length)
    warnings.push(`${fileName}: ${share(runs.length - alone.length)} met others on a port, left out`);
  if (usable.length < alone.length)
    warnings.push(`${fileName}: ${share(alone.length - usable.length)} had unequal bytes on their ranks, left out`);
  if (timeScale !== 1 && usable.length > 0) warnings.push(`${fileName}: ${source}: times are divided by ${timeScale}`);
  return pointsOf(usable).map(({ op, ranks, nodes, bytes, seconds, line }) => ({
    op,
    ranks,
    nodes,
    bytes,
    seconds: seconds / timeScale,
    source: fileName,
    line,
    origin: source,
    gpu: gpu ?? cluster.device.name,
    system: system ?? cluster.name,
    library: traceLibrary,
  }));
}
