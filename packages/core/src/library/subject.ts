/** What the functions of the library are asked about: model, cluster, layout and workload, as people name them. */
import { deviceCount, getCluster, type Cluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { checkModelLayout, checkSequence, occupiedBy, parseLayout, placedOn, type Layout } from '../layout/index.js';
import { getModel, usualSequence, type MoeModel } from '../model/index.js';
import type { Workload as LayerWorkload } from '../plan/index.js';
import type { Routing } from '../routing/index.js';
import { inChunks, moeShape, namedStrategies, type StepShape, type Strategy } from '../schedule/index.js';
import { InputError } from '../units/index.js';

/** What is trained, and where. */
export interface Subject {
  /** A preset by its name or its name on Hugging Face, in any case; or what `readModel` gave. */
  readonly model: string | MoeModel;
  /** A preset like `h100-16x8`; or what `readCluster` gave. */
  readonly cluster: string | Cluster;
}

/** How much is trained at a time. */
export interface Workload {
  /** Tokens of a sequence. Left out: 4,096, or what the model allows if that is less. */
  readonly sequence?: number;
  /** Sequences of one micro-batch of a replica. Left out: searched by `plan`, 1 elsewhere. */
  readonly microBatch?: number;
  /** Sequences of a step over all replicas. Left out: 256 or more for `plan`, elsewhere a micro-batch of each. */
  readonly globalBatch?: number;
}

/** One MoE layer of a model in a layout. */
export interface LayerQuestion extends Subject {
  /** Degrees as `tp=8,dp=2,ep=2`: any of tp, cp, dp, pp, ep, etp, and sp. */
  readonly layout: string;
  readonly workload?: Workload;
  /** How tokens spread over experts. Left out: evenly. */
  readonly routing?: Routing;
  /** Of skewed routing. Left out: 1. */
  readonly seed?: number;
  /** Type of activations and arithmetic. Left out: bf16. */
  readonly dtype?: 'bf16' | 'f32';
  /** The whole MoE layer with router and experts, or dispatch and combine alone. Left out: the layer. */
  readonly scope?: 'layer' | 'dispatch';
}

export const modelOf = ({ model }: Pick<Subject, 'model'>): MoeModel =>
  typeof model === 'string' ? getModel(model) : model;

/** The cluster; under a layout of fewer ranks, what of it they occupy. */
export function clusterOf({
  cluster: given,
  layout,
}: Pick<Subject, 'cluster'> & { readonly layout?: string | undefined }): Cluster {
  const cluster = typeof given === 'string' ? getCluster(given) : given;
  return layout === undefined ? cluster : occupiedBy(layout, cluster);
}

/** What a plan's file calls them. */
export const namesOf = ({ model, cluster }: Subject): { readonly model: string; readonly cluster: string } => ({
  model: typeof model === 'string' ? model : model.name,
  cluster: typeof cluster === 'string' ? cluster : cluster.name,
});

/** Throws `InputError` for what is no whole number of at least 1. */
function counted(path: keyof Workload, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InputError(`${value} is out of range`, {
      path: `workload.${path}`,
      expected: 'a whole number of at least 1',
    });
  return value;
}

/** Throws `InputError` where a field of a workload is no count. */
export function checkedWorkload(workload: Workload = {}): Workload {
  for (const key of ['sequence', 'microBatch', 'globalBatch'] as const)
    if (workload[key] !== undefined) counted(key, workload[key]);
  return workload;
}

function microBatchesOf({ dp }: Layout, { globalBatch, microBatch = 1 }: Workload): number {
  if (globalBatch === undefined) return 1;
  if (globalBatch % (dp * microBatch) === 0) return globalBatch / (dp * microBatch);
  throw new InputError(`${globalBatch} sequences are no whole micro-batches of ${microBatch} on ${dp} replicas`, {
    path: 'workload.globalBatch',
    expected: `a multiple of ${dp * microBatch}`,
  });
}

/** A step of the model in the layout. Throws `InputError` where they do not go together. */
export function stepOf(
  question: LayerQuestion,
  strategy: Strategy = inChunks(namedStrategies.scattered, 1),
): StepShape {
  const model = modelOf(question);
  const cluster = clusterOf(question);
  const parsed = parseLayout(question.layout, deviceCount(cluster));
  checkModelLayout(model, parsed);
  const layout = placedOn(parsed, cluster);
  const workload = checkedWorkload(question.workload);
  const sequence = workload.sequence ?? usualSequence(model);
  checkSequence(sequence, layout);
  return {
    model,
    layout,
    sequence,
    sequences: workload.microBatch ?? 1,
    microBatches: microBatchesOf(layout, workload),
    dtype: question.dtype ?? 'bf16',
    strategy,
  };
}

/** Cluster, shape, routing and prices of the layer. Throws `InputError`. */
export function layerOf(question: LayerQuestion, step: StepShape): LayerWorkload {
  const cluster = clusterOf(question);
  return {
    cluster,
    shape: moeShape(step),
    routing: question.routing ?? { kind: 'uniform' },
    seed: question.seed ?? 1,
    model: costModel(cluster.device, { inputs: { computeType: question.dtype ?? 'bf16' } }),
    scope: question.scope ?? 'layer',
  };
}

/** Throws `InputError` for pipelines and context parallelism, of which a layer's program knows nothing yet. */
export function refuseStages({ layout: { pp, cp } }: StepShape): void {
  if (pp === 1 && cp === 1) return;
  throw new InputError(`pp=${pp}, cp=${cp}: one layer of one stage is priced`, {
    path: 'layout',
    expected: 'pp=1 and cp=1: plan() prices both',
  });
}
