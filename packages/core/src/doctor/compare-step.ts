/** A step as profilers recorded it beside the same step as it is predicted, part by part. */
import { estimateStep, type RunSetting, type StepEstimate } from '../estimate/index.js';
import type { CommunicationRow, ProfiledOp, ProfileReport } from '../profiles/index.js';
import { expectedGroupsPerToken } from '../routing/routing.js';
import { comparedDegrees, degreeOfRow, type ComparedDegree } from './degree-of-row.js';
import { kindsOfDegree } from './predicted-kinds.js';

/** One part of a step. Seconds. */
export interface ComparedPart {
  /** Degree whose communication it is, `computing`, or `idle`. */
  readonly part: 'computing' | 'idle' | ComparedDegree;
  /** Of communication: what nothing hides. */
  readonly predicted: number;
  /** As measured, of the same. */
  readonly measured: number;
  /** Of communication: hidden or not. */
  readonly predictedInAll?: number;
  /** As measured, of the same. */
  readonly measuredInAll?: number;
}

/** All communication of one kind of collective for one degree, hidden or not. Seconds of a step. */
export interface ComparedKind {
  readonly op: ProfiledOp;
  /** Undefined where the layout has no such group. */
  readonly degree: ComparedDegree | undefined;
  readonly predicted: number;
  readonly measured: number;
  /** Per step; undefined where none was recorded. */
  readonly calls: number | undefined;
}

export interface StepComparison {
  /** Steps in the traces. */
  readonly steps: number;
  readonly predicted: number;
  readonly measured: number;
  /** The part that takes longest beyond the prediction first. */
  readonly parts: readonly ComparedPart[];
  /** The same communication by kind of collective, the longest first. */
  readonly kinds: readonly ComparedKind[];
  /** Exposed seconds of communication that belongs to no degree of the layout. */
  readonly unassigned: number;
}

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Compares `report`, which holds `steps` steps, with what the estimate of the setting says. */
export function compareStep(report: ProfileReport, setting: RunSetting, steps: number): StepComparison {
  const { ranks, rows } = report;
  const { parts, seconds } = estimateStep(setting);
  const bare = estimateStep({ ...setting, overlap: { tp: false, ep: false, dp: false, pp: false } }).parts;
  const exposed = new Map<ComparedDegree | undefined, number>();
  const inAll = new Map<ComparedDegree | undefined, number>();
  for (const row of rows) {
    const degree = degreeOfRow(row, setting.layout);
    exposed.set(degree, (exposed.get(degree) ?? 0) + (row.exposedSeconds ?? 0) / steps);
    inAll.set(degree, (inAll.get(degree) ?? 0) + row.seconds / steps);
  }
  const perStep = (read: (rank: (typeof ranks)[number]) => number): number => mean(ranks.map(read)) / steps;
  // Rows that ran beside one another were counted each: they share what nothing hid.
  const together = [...exposed.values()].reduce((sum, value) => sum + value, 0);
  const share = together > 0 ? Math.min(1, perStep(({ exposedSeconds }) => exposedSeconds) / together) : 1;
  const communication = comparedDegrees
    .map((part): ComparedPart => ({
      part,
      predicted: parts[part],
      measured: (exposed.get(part) ?? 0) * share,
      predictedInAll: bare[part],
      measuredInAll: inAll.get(part) ?? 0,
    }))
    .filter(({ predictedInAll = 0, measuredInAll = 0 }) => predictedInAll > 0 || measuredInAll > 0);
  const compared: readonly ComparedPart[] = [
    {
      part: 'computing',
      predicted: parts.gemm + parts.grouped + parts.attention + parts.memory + parts.optimizer,
      measured: perStep(({ computeSeconds }) => computeSeconds),
    },
    {
      part: 'idle',
      predicted: parts.bubble + parts.host + parts.straggler,
      measured: perStep(({ idleSeconds }) => idleSeconds),
    },
    ...communication,
  ];
  return {
    steps,
    predicted: seconds,
    measured: perStep((rank) => rank.seconds),
    parts: [...compared].sort((a, b) => b.measured - b.predicted - (a.measured - a.predicted)),
    kinds: kindsOf({ rows, setting, steps, bare }),
    unassigned: (exposed.get(undefined) ?? 0) * share,
  };
}

/** Programs send in one kernel or in two. */
const kindOf = (op: ProfiledOp): ProfiledOp => (op === 'send' || op === 'receive' ? 'send_receive' : op);

function kindsOf({
  rows,
  setting,
  steps,
  bare,
}: {
  readonly rows: readonly CommunicationRow[];
  readonly setting: RunSetting;
  readonly steps: number;
  readonly bare: StepEstimate['parts'];
}): ComparedKind[] {
  const found = new Map<string, ComparedKind>();
  const expected = kindsOfDegree(setting);
  for (const degree of comparedDegrees)
    for (const { op, share } of expected[degree])
      if (bare[degree] > 0)
        found.set(`${degree} ${op}`, { op, degree, predicted: bare[degree] * share, measured: 0, calls: undefined });
  for (const row of rows) {
    const [op, degree] = [kindOf(row.op), degreeOfRow(row, setting.layout)];
    const key = `${degree ?? ''} ${op}`;
    const { predicted = 0, measured = 0, calls = 0 } = found.get(key) ?? {};
    found.set(key, {
      op,
      degree,
      predicted,
      measured: measured + row.seconds / steps,
      calls: calls + row.calls / steps,
    });
  }
  const longest = ({ predicted, measured }: ComparedKind): number => Math.max(predicted, measured);
  return [...found.values()].sort((a, b) => longest(b) - longest(a));
}

const elementBytes = 2;

/**
 * Rows with the bytes of the kernels of expert parallelism, which tell none: by the model's own traffic. A token goes
 * once to every rank that holds one of its experts; experts drawn without preference, rows in 16 bits.
 */
export function withExpertBytes(rows: readonly CommunicationRow[], setting: RunSetting): CommunicationRow[] {
  const { model, layout, sequence, microBatch } = setting;
  const { tp, cp, ep } = layout;
  if (model.experts === 0 || ep === 1) return [...rows];
  const tokens = (microBatch * sequence) / (cp * tp);
  const others = (expectedGroupsPerToken(model.experts, ep, model.topK) * (ep - 1)) / ep;
  const bytesOfCall = tokens * others * model.hiddenSize * elementBytes;
  return rows.map((row) => {
    if ((row.op !== 'dispatch' && row.op !== 'combine') || row.sentBytes !== undefined) return row;
    const sentBytes = row.calls * bytesOfCall;
    const transferring = row.seconds - (row.waitingSeconds ?? 0);
    return { ...row, sentBytes, ...(transferring > 0 ? { busBytesPerSecond: sentBytes / transferring } : {}) };
  });
}
