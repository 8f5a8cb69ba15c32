/**
 * Collectives out of Monta's own measured traces. A trace does not say which ranks formed a group, but they show it: members of one
 * collective have one `ready` (the moment the last of them had come). Which collective an operation is, the templates of the schedule tell.
 */
import {
  formatPercent,
  getModel,
  InputError,
  namedStrategies,
  readPerfetto,
  resolveLayout,
  trainingStep,
  unitOf,
  type Cluster,
  type Measurement,
  type MeasuredOp,
  measuredOps,
  type Reading,
  type Span,
  type Trace,
} from '@monta/core';
import { medianOf } from './median.js';

export interface TraceOptions {
  readonly gpu?: string;
  readonly system?: string;
  /** Tells which ranks share a node; without it the number of nodes stays open. */
  readonly cluster?: Cluster;
}

/** Clocks of ranks agree to this; two collectives of one operation in different groups rarely become ready as close. */
const sameReadySeconds = 1e-6;

/** Largest over smallest bytes of the members up to which a collective counts as balanced, as curves assume. */
const balancedRatio = 1.25;

/** Steps that warm up caches and thread pools say little. */
const warmUpSteps = 1;

/** Sizes within an eighth of an octave are one point. */
const sizesPerOctave = 8;

/** Operation (`template/id` without the chunk's number) to collective, with and without sequence parallelism. */
function collectivesOf(sequenceParallel: boolean): Map<string, MeasuredOp> {
  const known = new Map<string, MeasuredOp>();
  const layouts = [
    { tp: 4, dp: 4, ep: 4, etp: 4 },
    { tp: 4, dp: 4, ep: 4, etp: 1 },
  ];
  for (const degrees of layouts) {
    for (const { dispatch, combine } of Object.values(namedStrategies)) {
      const layout = resolveLayout({ ...degrees, sequenceParallel });
      if (dispatch === 'duplicated' && layout.etp !== layout.tp) continue;
      const { templates } = trainingStep({
        model: getModel('mixtral-8x7b'),
        layout,
        sequence: 1024,
        sequences: 1,
        microBatches: 1,
        dtype: 'bf16',
        strategy: { dispatch, combine, chunks: { forward: 2, backward: 2 } },
      });
      for (const { name, operations } of Object.values(templates)) {
        for (const { id, body } of operations) {
          const op = body.kind === 'collective' ? measuredOps.find((one) => one === body.name) : undefined;
          if (op !== undefined) known.set(withoutChunk(`${name}/${id}`), op);
        }
      }
    }
  }
  return known;
}

const withoutChunk = (operation: string): string => operation.replace(/\.\d+$/u, '');

/** The total buffer of a balanced collective in which each of n ranks sent `sent` bytes straight to the others. */
function totalBytes(op: MeasuredOp, ranks: number, sent: number): number {
  switch (op) {
    case 'all_to_all':
    case 'all_gather':
    case 'reduce_scatter':
      return op === 'all_to_all' || op === 'reduce_scatter'
        ? (sent * ranks) / (ranks - 1)
        : (sent / (ranks - 1)) * ranks;
    case 'all_reduce':
      return (sent * ranks) / (2 * (ranks - 1));
    case 'broadcast':
    case 'send':
      return sent;
  }
}

/** Spans of one operation split into groups by the moment at which they were ready. */
function groupsOf(spans: readonly Span[]): Span[][] {
  const groups: Span[][] = [];
  for (const span of [...spans].sort((a, b) => a.ready - b.ready)) {
    const last = groups.at(-1);
    const ready = last?.[0]?.ready;
    if (last !== undefined && ready !== undefined && span.ready - ready <= sameReadySeconds) last.push(span);
    else groups.push([span]);
  }
  return groups;
}

interface Sample {
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number | null;
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * Reads the measured traces of a file. Unbalanced collectives, those that other ranks were computing beside included as they are, and
 * steps of warming up are left out with a warning. Throws `InputError` when the file holds no measured trace, or nothing that is usable.
 */
export function readTrace(text: string, fileName: string, options: TraceOptions = {}): Reading {
  const traces = readPerfetto(text, fileName).filter(({ kind }) => kind === 'measured');
  if (traces.length === 0) {
    throw new InputError('holds simulated times only', {
      file: fileName,
      expected: 'a measured trace, as monta train writes with --trace',
      hint: 'what was simulated cannot teach the simulator',
    });
  }
  const warnings: string[] = [];
  const measurements = traces.flatMap((trace) => measurementsOf(trace, fileName, options, warnings));
  if (measurements.length === 0) {
    throw new InputError('has no balanced collective of at least two ranks', {
      file: fileName,
      expected: 'exchanges of about equal bytes on all ranks',
      hint: warnings[0],
    });
  }
  return { measurements, warnings };
}

function measurementsOf(trace: Trace, fileName: string, options: TraceOptions, warnings: string[]): Measurement[] {
  const operations = new Set(trace.spans.map((span) => withoutChunk(span.operation)));
  const known = collectivesOf(operations.has('attention.forward/gather'));
  const last = Math.max(...trace.spans.map((span) => span.step));
  const first = Math.min(...trace.spans.map((span) => span.step));
  const byCollective = new Map<string, Span[]>();
  for (const span of trace.spans) {
    if (span.lane === 'compute' || !(span.bytes > 0) || !known.has(withoutChunk(span.operation))) continue;
    if (last - first >= warmUpSteps && span.step < first + warmUpSteps) continue;
    const key = `${span.step}|${span.node}|${span.operation}`;
    byCollective.set(key, [...(byCollective.get(key) ?? []), span]);
  }
  let unbalanced = 0;
  const samples: Sample[] = [];
  for (const group of [...byCollective.values()].flatMap(groupsOf)) {
    const op = known.get(withoutChunk(group[0]?.operation ?? ''));
    const sent = group.map((span) => span.bytes);
    if (op === undefined || group.length < 2) continue;
    if (Math.max(...sent) > balancedRatio * Math.min(...sent)) {
      unbalanced += 1;
      continue;
    }
    const seconds = Math.max(...group.map((span) => span.end)) - Math.max(...group.map((span) => span.ready));
    if (!(seconds > 0)) continue;
    const { cluster } = options;
    const nodes = cluster === undefined ? null : new Set(group.map((span) => unitOf(cluster, 0, span.rank))).size;
    samples.push({ op, ranks: group.length, nodes, bytes: totalBytes(op, group.length, Math.max(...sent)), seconds });
  }
  const place = `${fileName} (${trace.source})`;
  if (unbalanced > 0) {
    warnings.push(
      `${place}: ${unbalanced} collectives (${formatPercent(unbalanced / (unbalanced + samples.length))}) with unequal bytes on their ranks, left out`,
    );
  }
  return pointsOf(samples).map((sample) => ({
    ...sample,
    source: fileName,
    line: 1,
    origin: trace.source,
    gpu: options.gpu ?? options.cluster?.device.name ?? '',
    system: options.system ?? options.cluster?.name ?? '',
    library: 'monta',
  }));
}

/** One point per collective, group shape and size: medians. */
function pointsOf(samples: readonly Sample[]): Sample[] {
  const bins = new Map<string, Sample[]>();
  for (const sample of samples) {
    const size = Math.round(Math.log2(sample.bytes) * sizesPerOctave);
    const key = `${sample.op}|${sample.ranks}|${sample.nodes}|${size}`;
    bins.set(key, [...(bins.get(key) ?? []), sample]);
  }
  return [...bins.values()].flatMap((bin) => {
    const [one] = bin;
    if (one === undefined) return [];
    const middle = (read: (sample: Sample) => number): number => medianOf(bin.map(read));
    return [{ ...one, bytes: Math.round(middle((s) => s.bytes)), seconds: middle((s) => s.seconds) }];
  });
}
