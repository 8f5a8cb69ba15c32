/**
 * Lays a predicted trace over a measured one, operation by operation. Waiting for peers and transferring are told
 * apart, since a wrong wait is somebody else's error: of the rank that came late.
 */
import { median, quantile } from '../units/index.js';
import type { Span, Trace } from './span.js';

/** Median over ranks and steps, seconds. */
export interface PhaseTimes {
  readonly waitingSeconds: number;
  /** Transferring, or running. */
  readonly busySeconds: number;
  /** Start of the busy phase, from the step's start. */
  readonly readySeconds: number;
  readonly bytes: number;
}

export interface ComparedOperation {
  readonly node: number;
  readonly operation: string;
  readonly lane: Span['lane'];
  readonly predicted: PhaseTimes;
  readonly measured: PhaseTimes;
  /** predicted / measured - 1 of the busy phase; undefined when none was measured. */
  readonly busyError: number | undefined;
  /** Ranks that ran it in both. */
  readonly ranks: number;
}

export interface TraceComparison {
  /** In order of the predicted start. */
  readonly operations: readonly ComparedOperation[];
  readonly predictedSeconds: number;
  /** Median over measured steps. */
  readonly measuredSeconds: number;
  /** predicted / measured - 1 of the whole; undefined when nothing was measured. */
  readonly error: number | undefined;
  /** Median and 90th percentile of |busyError| over operations that were measured to take time. */
  readonly medianAbsoluteError: number | undefined;
  readonly p90AbsoluteError: number | undefined;
  /** In one trace only, as `node operation`. */
  readonly onlyPredicted: readonly string[];
  readonly onlyMeasured: readonly string[];
  /** Operations whose bytes differ: the two traces then do not show the same work. */
  readonly differentBytes: readonly string[];
}

interface Sample {
  readonly node: number;
  readonly operation: string;
  readonly lane: Span['lane'];
  readonly byRank: Map<number, Span[]>;
}

/**
 * Compares two traces, matched by node, operation and rank. Several steps (only measured traces have them) are reduced
 * to their median on each rank, then ranks to theirs.
 */
export function compareTraces(predicted: Trace, measured: Trace): TraceComparison {
  const a = samples(predicted);
  const b = samples(measured);
  const operations: ComparedOperation[] = [];
  const differentBytes: string[] = [];
  for (const [key, p] of a) {
    const m = b.get(key);
    if (!m) continue;
    const ranks = [...p.byRank.keys()].filter((rank) => m.byRank.has(rank));
    if (ranks.length === 0) continue;
    const compared = {
      node: p.node,
      operation: p.operation,
      lane: p.lane,
      predicted: phases(p, ranks),
      measured: phases(m, ranks),
      ranks: ranks.length,
    };
    const busyError = relative(compared.predicted.busySeconds, compared.measured.busySeconds);
    operations.push({ ...compared, busyError });
    if (Math.round(compared.predicted.bytes) !== Math.round(compared.measured.bytes)) differentBytes.push(key);
  }
  operations.sort((x, y) => x.predicted.readySeconds - y.predicted.readySeconds || x.node - y.node);
  const errors = operations.flatMap(({ busyError }) => (busyError === undefined ? [] : [Math.abs(busyError)]));
  const predictedSeconds = stepSeconds(predicted);
  const measuredSeconds = stepSeconds(measured);
  return {
    operations,
    predictedSeconds,
    measuredSeconds,
    error: relative(predictedSeconds, measuredSeconds),
    medianAbsoluteError: errors.length > 0 ? median(errors) : undefined,
    p90AbsoluteError: errors.length > 0 ? quantile(errors, 0.9) : undefined,
    onlyPredicted: [...a.keys()].filter((key) => !b.has(key)),
    onlyMeasured: [...b.keys()].filter((key) => !a.has(key)),
    differentBytes,
  };
}

function samples(trace: Trace): Map<string, Sample> {
  const result = new Map<string, Sample>();
  for (const span of trace.spans) {
    const key = `${span.node} ${span.operation}`;
    let sample = result.get(key);
    if (!sample) {
      sample = { node: span.node, operation: span.operation, lane: span.lane, byRank: new Map() };
      result.set(key, sample);
    }
    const list = sample.byRank.get(span.rank);
    if (list) list.push(span);
    else sample.byRank.set(span.rank, [span]);
  }
  return result;
}

function phases(sample: Sample, ranks: readonly number[]): PhaseTimes {
  const of = (value: (span: Span) => number): number =>
    median(ranks.map((rank) => median((sample.byRank.get(rank) ?? []).map(value))));
  return {
    waitingSeconds: of((span) => span.ready - span.issued),
    busySeconds: of((span) => span.end - span.ready),
    readySeconds: of((span) => span.ready),
    bytes: of((span) => span.bytes),
  };
}

function stepSeconds(trace: Trace): number {
  const ends = new Map<number, number>();
  for (const span of trace.spans) ends.set(span.step, Math.max(ends.get(span.step) ?? 0, span.end));
  return ends.size > 0 ? median([...ends.values()]) : 0;
}

function relative(predicted: number, measured: number): number | undefined {
  return measured > 0 ? predicted / measured - 1 : undefined;
}
