/**
 * A predicted step as a timeline: the parts of the closed form, spread over the passes of the micro-batches in the
 * order of 1F1B. Lengths are the estimate's and add up to its step; within a pass the parts come in the order of a
 * layer.
 */
import { estimateStep, microBatchesOf, type RunSetting, type StepEstimate } from '../estimate/index.js';
import { groupMembers } from '../layout/index.js';
import { placeOfGroup } from '../profiles/index.js';
import type { Lane } from '../schedule/index.js';
import type { Span, Trace } from '../trace/index.js';
import type { ComparedDegree } from './degree-of-row.js';
import type { Interval } from '../units/index.js';
import { kindsOfDegree } from './predicted-kinds.js';

type Parts = StepEstimate['parts'];

/** Parts of a pass, in a layer's order. */
const order = ['tp', 'gemm', 'attention', 'cp', 'memory', 'ep', 'grouped', 'ep', 'pp', 'host'] as const;

const tasks: Partial<Record<keyof Parts, string>> = {
  gemm: 'dense products',
  attention: "attention's core",
  memory: 'kernels that memory bounds',
  grouped: "experts' products",
  host: 'host',
  optimizer: 'optimizer',
  bubble: 'bubble',
  straggler: 'slowest rank',
};

const degrees: readonly string[] = ['tp', 'cp', 'ep', 'dp', 'pp'];
const isDegree = (part: keyof Parts): part is ComparedDegree => degrees.includes(part);

/** Neither computes nor communicates. */
const idle: readonly (keyof Parts)[] = ['host', 'bubble', 'straggler'];

/** Passes of a stage in the order of 1F1B: forward passes to fill, then in turns, then backward passes. */
export function passesOf(stage: number, stages: number, microBatches: number): readonly ('forward' | 'backward')[] {
  const ahead = Math.min(microBatches, stages - 1 - stage);
  return [
    ...Array<'forward'>(ahead).fill('forward'),
    ...Array.from({ length: microBatches - ahead }, () => ['forward', 'backward'] as const).flat(),
    ...Array<'backward'>(ahead).fill('backward'),
  ];
}

class Timeline {
  readonly spans: Span[] = [];
  /** When kernels compute; neighbours are one. */
  readonly #busy: Interval[] = [];
  #now: number;

  constructor(
    readonly at: { readonly step: number; readonly rank: number },
    start: number,
    readonly lanes: Readonly<Record<ComparedDegree, Lane>>,
    readonly names: Readonly<Record<ComparedDegree, string>>,
  ) {
    this.#now = start;
  }

  #add(task: string, lane: Lane, [from, to]: Interval): void {
    this.spans.push({
      ...this.at,
      node: this.spans.length,
      operation: `predicted/${task}`,
      template: 'predicted',
      task,
      chunk: 0,
      of: 1,
      lane,
      issued: from,
      ready: from,
      end: to,
      bytes: 0,
    });
  }

  /** Communication that shows `exposed` of its `whole` time: the rest runs beside what was computed last. */
  communicate(degree: ComparedDegree, exposed: number, whole: number): void {
    const end = this.#now + exposed;
    const pieces: Interval[] = exposed > 0 ? [[this.#now, end]] : [];
    let hidden = whole - exposed;
    for (let at = this.#busy.length - 1; at >= 0 && hidden > 0; at--) {
      const [from, to] = this.#busy[at] ?? [0, 0];
      const taken = Math.min(hidden, to - from);
      const [first] = pieces;
      if (first?.[0] === to) pieces[0] = [to - taken, first[1]];
      else pieces.unshift([to - taken, to]);
      hidden -= taken;
    }
    for (const piece of pieces) this.#add(this.names[degree], this.lanes[degree], piece);
    this.#now = end;
  }

  compute(part: keyof Parts, seconds: number): void {
    const [start, end] = [this.#now, this.#now + seconds];
    this.#now = end;
    if (idle.includes(part) || seconds <= 0) return;
    this.#add(tasks[part] ?? part, 'compute', [start, end]);
    const last = this.#busy.at(-1);
    if (last?.[1] === start) this.#busy[this.#busy.length - 1] = [last[0], end];
    else this.#busy.push([start, end]);
  }
}

interface Predicted {
  readonly setting: RunSetting;
  readonly parts: Parts;
  /** The same with nothing hidden. */
  readonly bare: Parts;
}

/** One pass takes its share of a step's parts. */
function pass(timeline: Timeline, { parts, bare }: Predicted, share: number): void {
  for (const part of order) {
    const half = part === 'ep' ? share / 2 : share;
    if (isDegree(part)) timeline.communicate(part, parts[part] * half, bare[part] * half);
    else timeline.compute(part, parts[part] * half);
  }
}

function stepOf(timeline: Timeline, predicted: Predicted, stage: number): void {
  const { setting, parts, bare } = predicted;
  const { pp } = setting.layout;
  const microBatches = microBatchesOf(setting);
  // the backward is two passes' work, three with what is computed again
  const forward = setting.recompute === 'full' ? 1 / 4 : 1 / 3;
  const filling = pp > 1 ? (parts.bubble * forward * stage) / (pp - 1) : 0;
  timeline.compute('bubble', filling);
  for (const kind of passesOf(stage, pp, microBatches))
    pass(timeline, predicted, (kind === 'forward' ? forward : 1 - forward) / microBatches);
  timeline.compute('bubble', parts.bubble - filling);
  timeline.compute('straggler', parts.straggler);
  timeline.communicate('dp', parts.dp, bare.dp);
  timeline.compute('optimizer', parts.optimizer);
}

/** Which ranks are drawn, and how often the step repeats. */
export interface PredictedFor {
  /** The first of each stage stands for it. */
  readonly ranks: readonly number[];
  readonly steps: number;
  /** What is predicted, for people. */
  readonly name: string;
}

/** The trace of a predicted step on one rank of each stage that is asked for: ranks of a stage do the same. */
export function predictedTrace(setting: RunSetting, { ranks, steps, name }: PredictedFor): Trace {
  const { parts, seconds } = estimateStep(setting);
  const bare = estimateStep({ ...setting, overlap: { tp: false, ep: false, dp: false, pp: false } }).parts;
  const { layout, cluster } = setting;
  const stageOf = (rank: number): number => groupMembers(layout, 'pp', rank).indexOf(rank);
  const stages = new Map<number, number>();
  for (const rank of ranks) if (!stages.has(stageOf(rank))) stages.set(stageOf(rank), rank);
  const kinds = kindsOfDegree(setting);
  const laneOf = (members: readonly number[]): Lane =>
    placeOfGroup(members, cluster, undefined).nodes === 1 ? 'intra' : 'inter';
  const spans = [...stages].flatMap(([stage, rank]) => {
    const lanes = {
      tp: laneOf(groupMembers(layout, 'tp', rank)),
      cp: laneOf(groupMembers(layout, 'cp', rank)),
      ep: laneOf(groupMembers(layout, 'expert', rank)),
      dp: laneOf(groupMembers(layout, 'dp', rank)),
      pp: laneOf(groupMembers(layout, 'pp', rank)),
    };
    const named = (degree: ComparedDegree): string =>
      `${degree.toUpperCase()} ${kinds[degree].map(({ op }) => op).join(' and ')}`;
    const names = { tp: named('tp'), cp: named('cp'), ep: named('ep'), dp: named('dp'), pp: named('pp') };
    return Array.from({ length: steps }, (_, step) => {
      const timeline = new Timeline({ step: 0, rank }, step * seconds, lanes, names);
      stepOf(timeline, { setting, parts, bare }, stage);
      return timeline.spans;
    }).flat();
  });
  return {
    kind: 'simulated',
    source: `${name}: closed form of a step, parts of a pass in a layer's order, one rank a stage`,
    ranks: spans.reduce((most, { rank }) => Math.max(most, rank + 1), 0),
    timeScale: 1,
    spans,
  };
}
