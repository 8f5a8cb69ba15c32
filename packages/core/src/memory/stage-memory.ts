/**
 * Memory of a device of one pipeline stage: states, what passes hold at the worst moment, and what lies beside the
 * framework's tensors.
 */
import type { Device } from '../cluster/cluster.js';
import type { Layout } from '../layout/layout.js';
import { InputError } from '../units/errors.js';
import {
  compileStage,
  stageProgram,
  timelineOptions,
  memoryStep,
  partialLayers,
  type MemorySetting,
} from './setting.js';
import { closedPeak } from './closed-form.js';
import { exchangeBufferBytes } from './exchange-buffers.js';
import type { Program } from '../schedule/schedule.js';
import type { Elements } from '../schedule/template-elements.js';
import { fewestElements, partElements, stageElements, stageHolding, type StageElements } from './stage-elements.js';
import { onDevice, sharingRules, standInElements, stateBytes, type Precision, type StateBytes } from './states.js';
import { memoryTimeline, type Activity, type MemoryTimeline } from './timeline.js';

const mebi = 2 ** 20;

/** What a device holds beside the tensors of training. */
export interface Overheads {
  /** Work space of matrix libraries, from the allocator. */
  readonly workspaceBytes: number;
  /** Share of what is allocated that the allocator holds besides, in pieces that fit nothing. */
  readonly allocatorShare: number;
  /** Buffers of one communicator; a library for experts' rows has its own (`exchange-buffers.ts`). */
  readonly communicatorBytes: number;
  /** The driver's context and loaded kernels. */
  readonly contextBytes: number;
}

/**
 * On GPUs. workspace: TransformerEngine's 4 cuBLAS streams and PyTorch's own, 32 MiB each on Hopper and later
 * (transformer_engine/pytorch/ module/base.py, `get_multi_stream_cublas_workspace`). allocator: reserved over allocated
 * of SimuMax's B200 runs, 1/0.94 (configs/strategy, `mem_factor`). communicator: 16 channels to two neighbours, each
 * with NCCL's default buffer of 4 MiB (NCCL_BUFFSIZE) and 1 MiB of its two other protocols. context: CUDA context and
 * modules, about 0.5 GiB.
 */
export const gpuOverheads: Overheads = {
  workspaceBytes: 5 * 32 * mebi,
  allocatorShare: 1 / 0.94 - 1,
  communicatorBytes: 16 * 2 * 5 * mebi,
  contextBytes: 512 * mebi,
};

/** The embedded runtime takes regions from an arena of its own and has none of these. */
export const noOverheads: Overheads = { workspaceBytes: 0, allocatorShare: 0, communicatorBytes: 0, contextBytes: 0 };

/** Of a cluster's device: one without multiprocessors is a share of a processor, on which the embedded runtime runs. */
export const overheadsOf = ({ multiprocessors }: Pick<Device, 'multiprocessors'>): Overheads =>
  multiprocessors === undefined ? noOverheads : gpuOverheads;

/** Communicators of a rank: one for every group of several ranks, of groups with the same size on one axis once. */
export const communicators = ({ tp, cp, dp, pp, ep, etp, edp }: Layout): number =>
  Number(tp > 1) +
  Number(cp > 1) +
  Number(dp > 1) +
  Number(pp > 1) +
  Number(ep > 1) +
  Number(etp > 1) +
  Number(edp > 1);

export interface StageMemory {
  readonly stage: number;
  readonly states: StateBytes;
  readonly activity: Activity;
  /** States, activity and work space: what the framework's allocator has handed out at the peak. */
  readonly allocatedBytes: number;
  /** Work space of matrix libraries, and stand-ins for fused gradients. */
  readonly workspaceBytes: number;
  readonly allocatorBytes: number;
  readonly communicationBytes: number;
  readonly contextBytes: number;
  readonly totalBytes: number;
  /** Where the peak is. */
  readonly peak: PeakPlace;
  readonly timeline: MemoryTimeline;
}

export interface PeakPlace {
  readonly template: string;
  /** Index of the layer, from 0. */
  readonly layer: number;
  /** Index of the micro-batch, from 0. */
  readonly microBatch: number;
}

const sumOf = ({ weights, gradients, optimizer }: StateBytes): number => weights + gradients + optimizer;

/** States of a device of a stage, and what lies beside them whatever runs. */
export interface Held {
  readonly states: StateBytes;
  /** Stand-ins for gradients that are fused into the main ones. */
  readonly standInBytes: number;
}

const heldBy = (setting: MemorySetting, stage: number, templates: Program['templates']): Held =>
  heldOf(setting, stageElements(stageHolding(setting.step, stage), partElements(setting.step, templates)));

/** What a stage holds of the weights that are on it. */
function heldOf({ step, convention, ...setting }: MemorySetting, { all, kinds }: StageElements): Held {
  const { layout, model } = step;
  const precision = onDevice(setting.precision, setting.hostStates);
  const sharing = sharingRules[setting.sharing];
  const states = stateBytes({ elements: all, layout, precision, sharing, shards: setting.weightShards });
  return { states, standInBytes: standInsOf(convention, precision, kinds, model.experts / layout.ep) };
}

/** Stand-ins for gradients that are fused into the main ones, of a rank with so many experts. */
export const standInsOf = (
  convention: MemorySetting['convention'],
  precision: Precision,
  kinds: Elements,
  localExperts: number,
): number => (convention === 'megatron' ? standInElements(kinds, localExperts) : 0) * precision.weight;

export interface Beside {
  readonly allocatedBytes: number;
  readonly workspaceBytes: number;
  readonly allocatorBytes: number;
  readonly communicationBytes: number;
  readonly contextBytes: number;
  readonly totalBytes: number;
}

/** What lies on a device, as far as it was counted apart. */
export interface Counted {
  /** States, and tensors of passes. */
  readonly bytes: number;
  readonly standInBytes: number;
  readonly communicationBytes: number;
}

/** Buffers of communicators and of the library that exchanges experts' rows. */
const communicationOf = ({ step, exchange }: MemorySetting, { communicatorBytes }: Overheads): number =>
  communicators(step.layout) * communicatorBytes + exchangeBufferBytes(exchange ?? 'nccl', step);

/** Of what the allocator has handed out for tensors and work space, what it holds besides in pieces. */
const inPieces = (allocatedBytes: number, { allocatorShare }: Overheads): number => allocatedBytes * allocatorShare;

/** All together, stand-ins among the bytes: for a search. */
export function bytesOnDevice(bytes: number, communicationBytes: number, overheads: Overheads): number {
  const allocatedBytes = bytes + overheads.workspaceBytes;
  return allocatedBytes + inPieces(allocatedBytes, overheads) + communicationBytes + overheads.contextBytes;
}

/** What lies beside states and tensors of passes, and all together. */
function beside({ bytes, standInBytes, communicationBytes }: Counted, overheads: Overheads): Beside {
  const workspaceBytes = overheads.workspaceBytes + standInBytes;
  const allocatedBytes = bytes + workspaceBytes;
  const allocatorBytes = inPieces(allocatedBytes, overheads);
  const { contextBytes } = overheads;
  const totalBytes = allocatedBytes + allocatorBytes + communicationBytes + contextBytes;
  return { allocatedBytes, workspaceBytes, allocatorBytes, communicationBytes, contextBytes, totalBytes };
}

function besideHeld(
  setting: MemorySetting,
  { states, standInBytes }: Held,
  tensors: number,
  overheads: Overheads,
): Beside {
  const communicationBytes = communicationOf(setting, overheads);
  return beside({ bytes: sumOf(states) + tensors, standInBytes, communicationBytes }, overheads);
}

/** Memory of a stage from its compiled program. */
export function stageMemory(setting: MemorySetting, stage: number, overheads = gpuOverheads): StageMemory {
  const compiled = compileStage(setting, stage);
  const timeline = memoryTimeline(compiled, timelineOptions(setting));
  const held = heldBy(setting, stage, compiled.program.templates);
  const { bytes, activity, operation } = timeline.peak;
  const node = compiled.program.nodes[compiled.operations[operation]?.node ?? 0];
  if (node === undefined)
    throw new InputError(`stage ${stage} runs nothing`, { expected: 'a micro-batch and a layer' });
  const { template, layer, microBatch } = node;
  return {
    stage,
    states: held.states,
    activity,
    ...besideHeld(setting, held, bytes, overheads),
    peak: { template, layer, microBatch: microBatch % memoryStep(setting).microBatches },
    timeline,
  };
}

export interface ClosedStage extends Beside {
  readonly states: StateBytes;
  /** What passes keep and work on at the peak. */
  readonly tensorBytes: number;
}

/** Memory of a stage in closed form: without the program's time line. */
export function closedStage(setting: MemorySetting, stage: number, overheads = gpuOverheads): ClosedStage {
  const program = stageProgram(setting, stage);
  const held = heldBy(setting, stage, program.templates);
  const tensorBytes = closedPeak(setting, stage, program);
  return { states: held.states, tensorBytes, ...besideHeld(setting, held, tensorBytes, overheads) };
}

/** The total of `closedStage`, for a search. */
export const closedTotal = (setting: MemorySetting, stage: number, overheads = gpuOverheads): number =>
  closedStage(setting, stage, overheads).totalBytes;

/** States that a device has at least: for a first sieve of a search. */
export function leastStates({ step, ...setting }: MemorySetting): number {
  const precision = onDevice(setting.precision, setting.hostStates);
  const sharing = sharingRules[setting.sharing];
  const elements = fewestElements(step);
  const { layout } = step;
  return sumOf(stateBytes({ elements, layout, precision, sharing, shards: setting.weightShards }));
}

/** Memory of the fullest stage. */
export function deviceMemory(setting: MemorySetting, overheads = gpuOverheads): StageMemory {
  const stages = Array.from({ length: setting.step.layout.pp }, (_, stage) => stageMemory(setting, stage, overheads));
  const [first, ...others] = stages;
  if (first === undefined) throw new RangeError('a pipeline without stages');
  return others.reduce((fullest, one) => (one.totalBytes > fullest.totalBytes ? one : fullest), first);
}

/** What the figures lack: layers whose activations the program does not compute as the model does. */
export const memoryLacks = ({ step }: Pick<MemorySetting, 'step'>): number => partialLayers(step).size;
