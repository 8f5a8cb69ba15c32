/** A step as profilers recorded it beside the same step as it is predicted, part by part. */
import { estimateStep, type RunSetting } from '../estimate/index.js';
import { groupMembers, type Layout } from '../layout/index.js';
import type { AxisGroup } from '../layout/layout.js';
import type { CommunicationRow, ProfileReport } from '../profiles/index.js';
import { expectedGroupsPerToken } from '../routing/routing.js';

/** Degrees whose communication is told apart; experts' groups count as ep, whatever cuts them. */
export const comparedDegrees = ['tp', 'cp', 'ep', 'dp', 'pp'] as const;
export type ComparedDegree = (typeof comparedDegrees)[number];

/** One part of a step. Seconds. */
export interface ComparedPart {
  readonly part: 'computing' | 'idle' | ComparedDegree;
  /** Of communication: what nothing hides. */
  readonly predicted: number;
  readonly measured: number;
  /** Of communication: hidden or not. */
  readonly predictedInAll?: number;
  readonly measuredInAll?: number;
}

export interface StepComparison {
  /** Steps in the traces. */
  readonly steps: number;
  readonly predicted: number;
  readonly measured: number;
  /** The part that takes longest beyond the prediction first. */
  readonly parts: readonly ComparedPart[];
  /** Exposed seconds of communication that belongs to no degree of the layout. */
  readonly unassigned: number;
}

const ofLabels: readonly (readonly [RegExp, ComparedDegree])[] = [
  [/expert.*(?:data|dp)|^ep_?dp$/iu, 'dp'],
  [/expert|^ep$|^ep_tp$/iu, 'ep'],
  [/context|^cp$/iu, 'cp'],
  [/pipeline|^pp$/iu, 'pp'],
  [/data|^dp/iu, 'dp'],
  [/tensor|^tp$/iu, 'tp'],
];

const ofGroups: readonly (readonly [AxisGroup, ComparedDegree])[] = [
  ['tp', 'tp'],
  ['cp', 'cp'],
  ['ep', 'ep'],
  ['etp', 'ep'],
  ['expert', 'ep'],
  ['edp', 'dp'],
  ['dp', 'dp'],
  ['pp', 'pp'],
];

const stepOf = ([first = 0, second = first]: readonly number[]): number => second - first;

/** What a row's communication is for: by the name of its group, its kind, or the ranks of the layout's groups. */
export function degreeOfRow(row: CommunicationRow, layout: Layout): ComparedDegree | undefined {
  const { op, label, ranks, stride } = row;
  if (op === 'dispatch' || op === 'combine' || op === 'notify') return 'ep';
  const named = ofLabels.find(([pattern]) => label !== '' && pattern.test(label))?.[1];
  if (named !== undefined) return named;
  if (op === 'send' || op === 'receive') return 'pp';
  if (ranks === undefined || ranks === 1) return undefined;
  const fitting = ofGroups.filter(([group]) => {
    const members = groupMembers(layout, group, 0);
    return members.length === ranks && (stride === undefined || stepOf(members) === stride);
  });
  const degrees = new Set(fitting.map(([, degree]) => degree));
  if (op === 'all_to_all' && degrees.has('ep')) return 'ep';
  // gradients are reduced whole or scattered; activations of tensor parallelism are gathered and scattered
  if (op === 'all_reduce' && degrees.has('dp')) return 'dp';
  return [...degrees][0];
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
    unassigned: (exposed.get(undefined) ?? 0) * share,
  };
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
