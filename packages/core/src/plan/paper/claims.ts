/**
 * The figures behind docs/paper.md: what the simulator says about the two claims of the MoNTA paper (arXiv 2411.00662).
 */
import { getCluster, type Cluster } from '../../cluster/index.js';
import { costModel, type CostInputs } from '../../cost/index.js';
import { resolveLayout, type Layout } from '../../layout/index.js';
import { completeModel, getModel, type MoeModel } from '../../model/index.js';
import { namedStrategies, type MoeShape, type Strategy } from '../../schedule/index.js';
import type { Simulation } from '../../simulate/index.js';
import { maxOf, minOf } from '../../units/index.js';
import { chooseDispatch, type Candidate, type Choice } from '../choose.js';
import { predictStep } from '../predict-step.js';
import { routedBinding, simulatePass, type Workload } from '../workload.js';

export const nicCounts = [1, 2, 4, 8] as const;

/** Dispatched volumes V of a replica, bytes. */
export const volumes = [1, 4, 16, 64, 256, 1024].map((mebibytes) => mebibytes * 2 ** 20);

/** What NVLink reaches of its nominal bandwidth: what the preset says, or another share. */
function clusterOf(nics: number, nvlink?: number): Cluster {
  const cluster = getCluster(nics === 4 ? 'a800-2x8' : `a800-2x8-${nics}nic`);
  const [inner, ...outer] = cluster.tiers;
  return inner === undefined || nvlink === undefined
    ? cluster
    : { ...cluster, tiers: [{ ...inner, reached: nvlink }, ...outer] };
}

/** Share of NVLink's nominal bandwidth that the preset takes to be reached. */
export const nvlinkReached = getCluster('a800-2x8').tiers[0]?.reached ?? 1;
export const tpEight = (sequenceParallel = false): Layout => resolveLayout({ tp: 8, dp: 2, ep: 2, sequenceParallel });

/** One layer whose dispatched volume is V = k T h s: two experts, top-2, h = 8192, bf16. */
function shapeOf(volume: number): MoeShape {
  return {
    tokens: volume / (2 * 8192 * 2),
    hiddenSize: 8192,
    expertFfn: 28672,
    experts: 2,
    topK: 2,
    layout: tpEight(),
    dtype: 'bf16',
  };
}

const workloadOf = (shape: MoeShape, nics: number, nvlink?: number): Workload => {
  const cluster = clusterOf(nics, nvlink);
  return { cluster, shape, routing: { kind: 'uniform' }, seed: 1, model: costModel(cluster.device), scope: 'dispatch' };
};

function simulated(workload: Workload, strategy: Strategy): Simulation {
  const simulation = simulatePass(
    workload,
    strategy,
    'forward',
    routedBinding(workload.shape, workload.routing, workload.seed),
  );
  if (!simulation.known) throw new Error(`not priced: ${simulation.missing.join(', ')}`);
  return simulation;
}

/**
 * Seconds from the start until the last chunk of a task of the dispatch has ended, and the longest of them, from ready
 * to end.
 */
function stage(simulation: Simulation, task: string): { until: number; longest: number } {
  const spans = simulation.trace.spans.filter((span) => span.template === 'dispatch.forward' && span.task === task);
  return {
    until: maxOf(spans.map((span) => span.end)),
    longest: maxOf(spans.map((span) => span.end - span.ready)),
  };
}

export interface SpeedUp {
  readonly nics: number;
  readonly volume: number;
  /** AllToAll of V by every TP rank, over AllToAll of V/TP. */
  readonly allToAll: number;
  /** Dispatch: duplicated AllToAll, over AllToAll and AllGather one after another. */
  readonly dispatchSerial: number;
  /** Dispatch: the same with the best chunk count. */
  readonly dispatchChunked: number;
  readonly chunks: number;
  /** Dispatch and combine: duplicated over Monta's choice. */
  readonly both: number;
  readonly choice: string;
}

const chunkCounts = [1, 2, 4, 8, 16];

/** One volume over so many NICs a node. nvlink: share of its nominal bandwidth, the preset's when left out. */
export function speedUp(nics: number, volume: number, nvlink?: number): SpeedUp {
  const workload = workloadOf(shapeOf(volume), nics, nvlink);
  const plain = simulated(workload, { ...namedStrategies.duplicated, chunks: { forward: 1, backward: 1 } });
  const baseline = stage(plain, 'all_to_all');
  const sliced = chunkCounts.map((n) =>
    simulated(workload, { ...namedStrategies.sliced, chunks: { forward: n, backward: n } }),
  );
  const [serial] = sliced;
  if (!serial) throw new Error('no chunk counts');
  const gathers = sliced.map((simulation) => stage(simulation, 'all_gather').until);
  const best = gathers.indexOf(minOf(gathers));
  const choice = known(chooseDispatch(workload));
  return {
    nics,
    volume,
    allToAll: baseline.longest / stage(serial, 'all_to_all').longest,
    dispatchSerial: baseline.until / (gathers[0] ?? NaN),
    dispatchChunked: baseline.until / (gathers[best] ?? NaN),
    chunks: chunkCounts[best] ?? 1,
    both: plain.summary.makespanSeconds / choice.best.forward.seconds,
    choice: `${choice.best.name}, ${choice.best.forward.chunks}`,
  };
}

/** By NICs and volume. */
export const speedUps = (sizes: readonly number[] = volumes, nvlink?: number): SpeedUp[] =>
  nicCounts.flatMap((nics) => sizes.map((volume) => speedUp(nics, volume, nvlink)));

function known(choice: ReturnType<typeof chooseDispatch>): Choice {
  if (!choice.known) throw new Error(`not priced: ${choice.missing.join(', ')}`);
  return choice;
}

/** What the paper leaves open about its 2x70B step; every field is varied. */
export interface StepAssumptions {
  readonly nics: number;
  readonly layers: number;
  readonly sequenceParallel: boolean;
  /** Micro-batches per step: how often a layer's communication happens for each reduction of gradients. */
  readonly microBatches: number;
  /** Share of the peak that matrix products reach; by their shapes, as on an H200, when left out. */
  readonly gemmEfficiency?: number;
  readonly topK: 1 | 2;
  /** What NVLink reaches of its nominal bandwidth; as the preset when left out. */
  readonly nvlink?: number;
}

export const centralAssumptions: StepAssumptions = {
  nics: 4,
  layers: 80,
  sequenceParallel: false,
  microBatches: 1,
  topK: 2,
};

export interface StepGain {
  readonly assumptions: StepAssumptions;
  /** Seconds per step. */
  readonly duplicated: number;
  readonly sliced: number;
  /** MoNTA's public code: 4 chunks forward, backward unchunked. */
  readonly pipelinedForward: number;
  readonly scattered: number;
  readonly chosen: number;
  readonly choice: string;
}

/** Llama-2-70B's shape with two experts a layer. */
export function llama(layers: number, topK: number): MoeModel {
  const model = getModel('2x70b');
  return completeModel({ ...model, layers, topK, moeLayers: Array.from({ length: layers }, () => true) });
}

/** The 2x70B step at 8,192 tokens on 16 A800 under given assumptions. */
export function stepGain(assumptions: StepAssumptions): StepGain {
  const { nics, layers, sequenceParallel, microBatches, gemmEfficiency, topK, nvlink } = assumptions;
  const cluster = clusterOf(nics, nvlink);
  const model = llama(layers, topK);
  const layout = tpEight(sequenceParallel);
  const inputs: Partial<CostInputs> = gemmEfficiency === undefined ? {} : { gemmEfficiency };
  const costs = costModel(cluster.device, { inputs, inputSource: 'varied here' });
  const seconds = (strategy: Strategy): number => {
    const prediction = predictStep({
      cluster,
      step: { model, layout, sequence: 8192, sequences: 1, microBatches, dtype: 'bf16', strategy },
      routing: { kind: 'uniform' },
      seed: 1,
      model: costs,
    });
    if (!prediction.known) throw new Error(`not priced: ${prediction.missing.join(', ')}`);
    return prediction.seconds;
  };
  const one = { forward: 1, backward: 1 };
  const shape: MoeShape = { tokens: 8192, hiddenSize: 8192, expertFfn: 28672, experts: 2, topK, layout, dtype: 'bf16' };
  const choice = known(
    chooseDispatch({ cluster, shape, routing: { kind: 'uniform' }, seed: 1, model: costs, scope: 'layer' }),
  );
  const best: Candidate = choice.best;
  return {
    assumptions,
    duplicated: seconds({ ...namedStrategies.duplicated, chunks: one }),
    sliced: seconds({ ...namedStrategies.sliced, chunks: one }),
    pipelinedForward: seconds({ ...namedStrategies.pipelined, chunks: { forward: 4, backward: 1 } }),
    scattered: seconds({ ...namedStrategies.scattered, chunks: one }),
    chosen: seconds(best.strategy),
    choice: `${best.name} ${best.forward.chunks}/${best.backward.chunks}`,
  };
}

/** The central case, and every assumption varied alone. */
export function stepGains(): { readonly varied: string; readonly gain: StepGain }[] {
  const cases: [string, Partial<StepAssumptions>][] = [
    ['central case', {}],
    ...nicCounts
      .filter((nics) => nics !== centralAssumptions.nics)
      .map((nics): [string, Partial<StepAssumptions>] => [`${nics} NIC${nics > 1 ? 's' : ''} a node`, { nics }]),
    ['sequence parallelism on', { sequenceParallel: true }],
    ['16 layers (what fits with Adam)', { layers: 16 }],
    ['4 micro-batches a step', { microBatches: 4 }],
    ['16 micro-batches a step', { microBatches: 16 }],
    ['GEMMs at 70 % of peak', { gemmEfficiency: 0.7 }],
    ['GEMMs at 35 % of peak', { gemmEfficiency: 0.35 }],
    ['top-1', { topK: 1 }],
    ['NVLink at its nominal rate', { nvlink: 1 }],
    ['NVLink at 60 % of its nominal rate', { nvlink: 0.6 }],
    ['1 NIC, 16 micro-batches', { nics: 1, microBatches: 16 }],
    ['8 NICs, 16 micro-batches', { nics: 8, microBatches: 16 }],
    ['8 NICs, top-1', { nics: 8, topK: 1 }],
    ['8 NICs, top-1, 16 micro-batches', { nics: 8, topK: 1, microBatches: 16 }],
    ['8 NICs, top-1, NVLink at its nominal rate', { nics: 8, topK: 1, nvlink: 1 }],
    ['8 NICs, GEMMs at 49 % of peak', { nics: 8, gemmEfficiency: 0.488 }],
    ['8 NICs, top-1, GEMMs at 49 % of peak', { nics: 8, topK: 1, gemmEfficiency: 0.488 }],
    ['8 NICs, top-1, GEMMs at 35 % of peak', { nics: 8, topK: 1, gemmEfficiency: 0.35 }],
    ['1 NIC, NVLink at its nominal rate', { nics: 1, nvlink: 1 }],
  ];
  return cases.map(([varied, change]) => ({ varied, gain: stepGain({ ...centralAssumptions, ...change }) }));
}
