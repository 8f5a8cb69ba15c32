/**
 * Collectives out of Monta's own measured traces. A trace does not say which ranks formed a group, but they show it: members of one
 * collective have one `ready` (the moment the last of them had come). Spans count from their own rank's start, so clocks are aligned first,
 * by a collective of all ranks. Which collective an operation is, the templates of the schedule tell. Curves are of collectives that run
 * alone: those that met others on a port are left out.
 */
import {
  fabricOf,
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
  median,
  quantile,
  type Reading,
  type Span,
  type Trace,
} from '@monta/core';

export interface TraceOptions {
  readonly gpu?: string;
  readonly system?: string;
  /** Tells which ranks share nodes and ports. */
  readonly cluster?: Cluster;
}

/** Clocks of ranks agree to this; two collectives of one operation in different groups rarely become ready as close. */
const sameReadySeconds = 1e-6;

/** Largest over smallest bytes of the members up to which a collective counts as balanced, as curves assume. */
const balancedRatio = 1.25;

/** What stands for the library in measurements from traces. */
const traceLibrary = 'monta';

/** Steps that warm up caches and thread pools say little. */
const warmUpSteps = 1;

/** Largest over smallest size that a curve needs; nearer sizes say nothing of the slope. */
const leastSpread = 2;

/** Sizes within a quarter of an octave are one point. */
const sizesPerOctave = 4;

interface KnownCollective {
  readonly op: MeasuredOp;
  /** All ranks take part. */
  readonly world: boolean;
}

/** Operation (`template/id` without the chunk's number) to collective, with and without sequence parallelism. */
function collectivesOf(sequenceParallel: boolean): Map<string, KnownCollective> {
  const known = new Map<string, KnownCollective>();
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
          if (op === undefined || body.kind !== 'collective') continue;
          known.set(withoutChunk(`${name}/${id}`), { op, world: body.group === 'world' });
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
      return (sent * ranks) / (ranks - 1);
    case 'all_reduce':
      return (sent * ranks) / (2 * (ranks - 1));
    case 'broadcast':
    case 'send':
      return sent;
  }
}

type LocatedSpan = Span & { readonly line: number };

/** Spans of one operation split into groups by the moment at which they were ready. */
function groupsOf(spans: readonly LocatedSpan[]): LocatedSpan[][] {
  const groups: LocatedSpan[][] = [];
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
  readonly nodes: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Of its first span in the file. */
  readonly line: number;
}

/** One collective of one group, on the aligned clock. */
interface Run extends Sample {
  readonly balanced: boolean;
  readonly ready: number;
  readonly end: number;
  readonly ports: ReadonlySet<number>;
}

/**
 * Reads the measured traces of a file. Left out with a warning: unbalanced collectives, those that met others on a port, and a first step
 * where there are more. Times of an emulated network are brought back to the cluster's own. Throws `InputError` when the cluster is not
 * given, when the file holds no measured trace, or nothing that is usable.
 */
export function readTrace(text: string, fileName: string, options: TraceOptions = {}): Reading {
  const traces = readPerfetto(text, fileName).filter(({ kind }) => kind === 'measured');
  if (traces.length === 0) {
    throw new InputError('holds simulated times only', {
      file: fileName,
      expected: 'a measured trace, as monta train writes',
      hint: 'what was simulated cannot teach the simulator',
    });
  }
  const { cluster } = options;
  if (cluster === undefined) {
    throw new InputError('is a trace, which does not say where its ranks are', {
      file: fileName,
      expected: 'the cluster that it was measured on, with --cluster',
    });
  }
  const warnings: string[] = [];
  const lines = linesOf(text, traces);
  const measurements = traces.flatMap((trace) => measurementsOf(trace, lines, fileName, cluster, options, warnings));
  if (measurements.length === 0) {
    throw new InputError('has no collective that was balanced and alone on its ports', {
      file: fileName,
      expected: 'exchanges of about equal bytes on all ranks, without others beside them',
      hint: warnings[0],
    });
  }
  return { measurements, warnings };
}

/**
 * Takes out, with a warning, what traces saw of a collective at one size only, or nearly: that tells nothing of latency and bandwidth. Several
 * traces together may have sizes enough. Throws `InputError` when nothing is left.
 */
export function withSpreadSizes({ measurements, warnings }: Reading): Reading {
  const series = new Map<string, Measurement[]>();
  for (const m of measurements) {
    const place = `${m.op} over ${m.ranks} ranks on ${m.nodes ?? '?'} node${m.nodes === 1 ? '' : 's'}`;
    const key = m.library === traceLibrary ? `${m.gpu}|${m.system}|${place}` : '';
    series.set(key, [...(series.get(key) ?? []), m]);
  }
  const narrow: string[] = [];
  const spread = [...series].flatMap(([key, members]) => {
    const sizes = members.map((m) => m.bytes);
    if (key === '' || Math.max(...sizes) >= leastSpread * Math.min(...sizes)) return members;
    const at = members[0] === undefined ? '' : `${members[0].source}:${members[0].line}`;
    const place = key.replace(/^.*\|/u, '');
    narrow.push(`${at}: sizes of ${place} are too near to each other to tell latency from bandwidth, left out`);
    return [];
  });
  const all = [...warnings, ...narrow];
  if (spread.length > 0) return { measurements: spread, warnings: all };
  throw new InputError('no collective was seen alone at sizes that differ', {
    file: [...new Set(measurements.map((m) => m.source))].join(', '),
    expected: 'a collective of the same ranks at two sizes, one at least twice the other',
    hint: `give several traces, of runs with other chunks, batches or sequences (${all.join('; ')})`,
  });
}

/** The lines on which the measured spans stand, one event a line as Monta writes them; 1 for files that something else laid out. */
function linesOf(text: string, traces: readonly Trace[]): ReadonlyMap<Span, number> {
  const spans = traces.flatMap((trace) => trace.spans);
  const lines = text.split('\n').flatMap((line, i) => (line.includes('"cat":"measured"') ? [i + 1] : []));
  return new Map(lines.length === spans.length ? spans.map((span, i) => [span, lines[i] ?? 1]) : []);
}

/** Every rank's clock against that of the first, by step: a collective of all ranks is ready for all at one moment. */
function offsetsOf(spans: readonly Span[], known: ReadonlyMap<string, KnownCollective>): Map<string, number> {
  const offsets = new Map<string, number>();
  const first = new Map<number, number>();
  for (const span of spans) {
    const key = `${span.step}|${span.rank}`;
    if (known.get(withoutChunk(span.operation))?.world !== true || offsets.has(key)) continue;
    const base = first.get(span.step) ?? span.ready;
    first.set(span.step, base);
    offsets.set(key, base - span.ready);
  }
  return offsets;
}

/** How many times slower than the cluster the trace's network was, as its source says; 1 for a real one. */
const timeScaleOf = (source: string): number => Number(/ at 1\/([\d.]+) of its speed/u.exec(source)?.[1] ?? 1);

function runsOf(trace: Trace, lines: ReadonlyMap<Span, number>, cluster: Cluster): Run[] {
  const operations = new Set(trace.spans.map((span) => withoutChunk(span.operation)));
  const known = collectivesOf(operations.has('attention.forward/gather'));
  const offsets = offsetsOf(trace.spans, known);
  const steps = trace.spans.map((span) => span.step);
  const warm = Math.max(...steps) > Math.min(...steps) ? Math.min(...steps) + warmUpSteps : -Infinity;
  const byCollective = new Map<string, LocatedSpan[]>();
  for (const span of trace.spans) {
    if (!known.has(withoutChunk(span.operation)) || !(span.bytes > 0) || span.step < warm) continue;
    const key = `${span.step}|${span.node}|${span.operation}`;
    const offset = offsets.get(`${span.step}|${span.rank}`) ?? 0;
    const line = lines.get(span) ?? 1;
    const aligned = { ...span, line, ready: span.ready + offset, end: span.end + offset };
    byCollective.set(key, [...(byCollective.get(key) ?? []), aligned]);
  }
  const fabric = fabricOf(cluster);
  return [...byCollective.values()].flatMap(groupsOf).flatMap((group) => {
    const op = known.get(withoutChunk(group[0]?.operation ?? ''))?.op;
    const ranks = group.length;
    if (op === undefined || ranks < 2) return [];
    const sent = group.map((span) => span.bytes);
    const ready = Math.max(...group.map((span) => span.ready));
    const end = Math.max(...group.map((span) => span.end));
    const ports = group.flatMap((from) =>
      group.flatMap((to) => (from === to ? [] : [...fabric.route(from.rank, to.rank).ports])),
    );
    return {
      op,
      ranks,
      nodes: new Set(group.map((span) => unitOf(cluster, 0, span.rank))).size,
      bytes: totalBytes(op, ranks, Math.max(...sent)),
      seconds: end - ready,
      line: Math.min(...group.map((span) => span.line)),
      balanced: Math.max(...sent) <= balancedRatio * Math.min(...sent),
      // steps follow one another, so those of different steps never meet
      ready: ready + (group[0]?.step ?? 0) * stepApart,
      end: end + (group[0]?.step ?? 0) * stepApart,
      ports: new Set(ports),
    };
  });
}

/** Longer than any step, seconds. */
const stepApart = 1e6;

function measurementsOf(
  trace: Trace,
  lines: ReadonlyMap<Span, number>,
  fileName: string,
  cluster: Cluster,
  { gpu, system }: TraceOptions,
  warnings: string[],
): Measurement[] {
  const runs = runsOf(trace, lines, cluster);
  const meets = (a: Run, b: Run): boolean =>
    a !== b && a.ready < b.end && b.ready < a.end && [...a.ports].some((port) => b.ports.has(port));
  const alone = runs.filter((run) => !runs.some((other) => meets(run, other)));
  const usable = alone.filter((run) => run.balanced && run.seconds > 0);
  const share = (count: number): string => `${count} collectives (${formatPercent(count / runs.length)})`;
  if (alone.length < runs.length)
    warnings.push(`${fileName}: ${share(runs.length - alone.length)} met others on a port, left out`);
  if (usable.length < alone.length)
    warnings.push(`${fileName}: ${share(alone.length - usable.length)} had unequal bytes on their ranks, left out`);
  const timeScale = timeScaleOf(trace.source);
  if (timeScale !== 1 && usable.length > 0)
    warnings.push(`${fileName}: ${trace.source}: times are divided by ${timeScale}`);
  return pointsOf(usable).map(({ op, ranks, nodes, bytes, seconds, line }) => ({
    op,
    ranks,
    nodes,
    bytes,
    seconds: seconds / timeScale,
    source: fileName,
    line,
    origin: trace.source,
    gpu: gpu ?? cluster.device.name,
    system: system ?? cluster.name,
    library: traceLibrary,
  }));
}

/**
 * One point per collective, group shape and size: the median of the sizes, and the lower quartile of the times, since what disturbs a collective
 * (a rank whose processor is taken away, say) only ever makes it longer.
 */
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
    const bytes = Math.round(median(bin.map((sample) => sample.bytes)));
    return [
      {
        ...one,
        bytes,
        seconds: quantile(
          bin.map((sample) => sample.seconds),
          0.25,
        ),
      },
    ];
  });
}
