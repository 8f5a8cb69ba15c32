/**
 * The time of a whole step of any layout, pipelines included. Small steps are simulated whole. Of large ones every
 * distinct pass of a stage is simulated once, with all its layers, and the passes are then run in the pipeline's order:
 * exact where passes of different micro-batches do not touch. They do where a transfer between stages meets the
 * exchange of experts on a port, where the end of one pass runs beside the next, and where gradients of a stage are
 * reduced while others still compute.
 */
import type { Cluster } from '../cluster/cluster.js';
import { weakestBasis, type Basis, type CostModel, type UnknownEstimate } from '../cost/index.js';
import { placedOn } from '../layout/mesh.js';
import type { Routing } from '../routing/index.js';
import type { Program } from '../schedule/schedule.js';
import { pipelineStep } from '../schedule/step.js';
import { moeShape, stepTokens, type StepShape } from '../schedule/step-shape.js';
import { placeOf } from '../simulate/index.js';
import { PassPrices, type PartOfStep } from './pass-prices.js';
import { runPipeline } from './pipeline-recurrence.js';
import { simulateWhole } from './whole-step.js';
import { routedBinding } from './workload.js';

export interface RunRequest {
  readonly cluster: Cluster;
  readonly step: StepShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly model: CostModel;
  /** passes: one simulation of every distinct pass; whole: one of the step; the smaller ones whole when left out. */
  readonly depth?: 'passes' | 'whole';
}

export interface StageTime {
  /** What its passes take. */
  readonly busySeconds: number;
  /** For which it waits for others until the last gradient is reduced. */
  readonly bubbleSeconds: number;
}

export interface RunSimulation {
  readonly known: true;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  readonly basis: Basis;
  /** Whether the step was simulated in one, or pass by pass. */
  readonly depth: 'passes' | 'whole';
  readonly stages: readonly StageTime[];
  /** Of the time before the update, mean over stages: what they wait for each other. */
  readonly bubbleShare: number;
  readonly updateSeconds: number;
}

/** Operations of all stages up to which a step is simulated whole. */
const wholeUpTo = 20_000;

/** Ranks above which a tree over nodes counts with the mean of its ports. */
const exactUpTo = 64;

const operationsOf = ({ nodes, templates }: Program): number =>
  nodes.reduce((sum, { template }) => sum + (templates[template]?.operations.length ?? 0), 0);

/**
 * Simulates a whole step; `unknown` when the cost model can't price a kernel. Throws `InputError` for stages or
 * micro-batches that do not divide, and for a way to dispatch that does not serve the layout.
 */
export function simulateRun(request: RunRequest): RunSimulation | UnknownEstimate {
  const { cluster, routing, seed, model } = request;
  const step = { ...request.step, layout: placedOn(request.step.layout, cluster) };
  const place = placeOf(step.layout, cluster);
  const bindings = [routedBinding(moeShape(step), routing, seed)];
  const ranks = place.ranks > exactUpTo ? 'kinds' : 'alike';
  const tokens = stepTokens(step) * step.microBatches * step.layout.dp * step.layout.cp;
  const programs = request.depth === 'whole' ? [] : pipelineStep(step);
  const small = programs.reduce((total, program) => total + operationsOf(program), 0) <= wholeUpTo;
  if (request.depth === 'whole' || (request.depth === undefined && small)) {
    const whole = simulateWhole(step, (every) => ({ place, programs: every, bindings, model, ranks }));
    if (!whole.known) return whole;
    const { seconds, beforeUpdateSeconds, busySeconds, basis } = whole;
    const stages = stageTimes(busySeconds, beforeUpdateSeconds);
    const updateSeconds = seconds - beforeUpdateSeconds;
    return { known: true, depth: 'whole', seconds, tokensPerSecond: tokens / seconds, basis, ...stages, updateSeconds };
  }
  const part: PartOfStep = (nodesOf) => ({
    place,
    bindings,
    model,
    ranks,
    programs: programs.map((program, stage) => ({ ...program, nodes: nodesOf(stage, program) })),
  });
  const prices = new PassPrices(step, part);
  const timed = runPipeline(step, prices);
  if (prices.missing.length > 0) return { known: false, missing: prices.missing };
  const { updateSeconds, basis } = prices;
  const stages = stageTimes(timed.busySeconds, timed.finishSeconds);
  const seconds = timed.finishSeconds + updateSeconds;
  return {
    known: true,
    depth: 'passes',
    seconds,
    tokensPerSecond: tokens / seconds,
    basis: weakestBasis([...basis]),
    ...stages,
    updateSeconds,
  };
}

/** What stages are busy, and what they wait of the time before the update. */
function stageTimes(
  busySeconds: readonly number[],
  beforeUpdate: number,
): Pick<RunSimulation, 'stages' | 'bubbleShare'> {
  const stages = busySeconds.map((busy): StageTime => ({
    busySeconds: busy,
    bubbleSeconds: Math.max(0, beforeUpdate - busy),
  }));
  const idle = stages.reduce((total, { bubbleSeconds }) => total + bubbleSeconds, 0);
  return { stages, bubbleShare: idle / (beforeUpdate * stages.length) };
}
