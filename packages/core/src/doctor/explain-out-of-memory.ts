/** What an out-of-memory message means under the setting that ran: the allocation, the stage, and the cause. */
import { coordinates } from '../layout/mesh.js';
import {
  closedTotal,
  expectedRows,
  gpuOverheads,
  stageMemory,
  stageProgram,
  stateTensors,
  type MemorySetting,
  type StageMemory,
} from '../memory/index.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import { formatBytes } from '../units/index.js';
import { allocatorRequest, type OutOfMemory } from './out-of-memory.js';

/** A tensor of the step whose size is that of the request. */
export interface Candidate {
  /** The tensor, in words. */
  readonly what: string;
  /** Its size. */
  readonly bytes: number;
}

export const causes = ['too-large', 'fragmented', 'other-process', 'outside-pytorch', 'skew', 'unknown'] as const;
/**
 * too-large: the setting needs more than there is; fragmented: PyTorch holds enough, in pieces; other-process: someone
 * else uses the GPU; outside-pytorch: communication or libraries hold much more than usual; skew: it fits with balanced
 * experts; unknown: it should fit.
 */
export type Cause = (typeof causes)[number];

export interface OutOfMemoryExplanation {
  readonly message: OutOfMemory;
  /** Stage of the pipeline; undefined with several stages and no rank. */
  readonly stage: number | undefined;
  /** Fullest stage's, or of the stage that is known. */
  readonly predicted: StageMemory;
  readonly candidates: readonly Candidate[];
  /** In order: what explains most first. */
  readonly causes: readonly { readonly cause: Cause; readonly why: string; readonly mend: string }[];
  /** Rows of the fullest rank over the mean at which the prediction reaches the message; undefined where none does. */
  readonly imbalance: number | undefined;
}

const gib = 2 ** 30;
const bytes = (value: number): string => formatBytes(value, 'binary');

/** Tensors of a stage by what they are: regions of its templates, and states. */
function tensorsOf(setting: MemorySetting, stage: number): Map<string, number> {
  const found = new Map<string, number>();
  const rowsOf = expectedRows(setting.imbalance);
  for (const { name, regions } of Object.values(stageProgram(setting, stage).templates))
    for (const { id, life, rows, columns, dtype } of regions)
      if (life !== 'parameter' && life !== 'step')
        found.set(`${id} of ${name}`, rowsOf(rows) * columns * dtypeBytes[dtype]);
  for (const { what, bytes: size } of stateTensors(setting, stage)) found.set(what, size);
  return found;
}

/** Tensors whose request would be printed as the message's, nearest first. */
function candidatesFor(message: OutOfMemory, setting: MemorySetting, stage: number): Candidate[] {
  const off = (size: number): number => Math.abs(allocatorRequest(size) - message.requestedBytes);
  return [...tensorsOf(setting, stage)]
    .filter(([, size]) => off(size) <= Math.max(message.precisionBytes, message.requestedBytes * 0.005))
    .sort(([, a], [, b]) => off(a) - off(b))
    .map(([what, size]) => ({ what, bytes: size }));
}

const stagesOf = ({ step }: MemorySetting): number[] => Array.from({ length: step.layout.pp }, (_, stage) => stage);

/** Stage of the pipeline that a message is of; undefined with several stages and no rank. */
export function stageOfMessage(message: OutOfMemory, { step }: MemorySetting): number | undefined {
  const { layout } = step;
  if (layout.pp === 1) return 0;
  if (message.rank === undefined || message.rank >= layout.tp * layout.cp * layout.dp * layout.pp) return undefined;
  return coordinates(layout, message.rank).pp;
}

const mostImbalance = 64;

/** The least imbalance at which a stage takes what the message says, to a per cent; undefined where none does. */
function imbalanceAt(setting: MemorySetting, predicted: StageMemory, target: number): number | undefined {
  const more = (target - predicted.allocatedBytes) * (1 + gpuOverheads.allocatorShare);
  const total = closedTotal(setting, predicted.stage) + more;
  const reaches = (imbalance: number): boolean => closedTotal({ ...setting, imbalance }, predicted.stage) >= total;
  if (setting.step.model.experts === 0 || !reaches(mostImbalance)) return undefined;
  let [low, high] = [setting.imbalance, mostImbalance];
  while (high - low > 0.01 * low) {
    const middle = (low + high) / 2;
    if (reaches(middle)) high = middle;
    else low = middle;
  }
  return high;
}

interface Compared {
  readonly message: OutOfMemory;
  readonly predicted: StageMemory;
  readonly imbalance: number | undefined;
}

type Explained = OutOfMemoryExplanation['causes'][number];

function tooLarge({ message, predicted }: Compared): Explained | undefined {
  if (predicted.totalBytes <= message.capacityBytes) return undefined;
  return {
    /** What explains it. */
    cause: 'too-large',
    why: `the setting needs ${bytes(predicted.totalBytes)} of ${bytes(message.capacityBytes)} at its peak`,
    mend: 'one of the changes below',
  };
}

function fragmented({ message }: Compared): Explained | undefined {
  const { unallocatedBytes, requestedBytes } = message;
  if (unallocatedBytes < requestedBytes) return undefined;
  return {
    cause: 'fragmented',
    why:
      `PyTorch holds ${bytes(unallocatedBytes)} that it has not handed out, in pieces; ` +
      `no piece has ${bytes(requestedBytes)}`,
    mend: 'PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True',
  };
}

function otherProcess({ message }: Compared): Explained | undefined {
  const { capacityBytes, freeBytes, processBytes } = message;
  if (processBytes === undefined) return undefined;
  const others = capacityBytes - freeBytes - processBytes;
  if (others < gib) return undefined;
  return {
    cause: 'other-process',
    why: `${bytes(others)} of the GPU belong to other processes`,
    mend: 'look with nvidia-smi: a run that was killed and lives on, or two ranks on one GPU (CUDA_VISIBLE_DEVICES)',
  };
}

/** What lies outside PyTorch's allocator beyond what is usual, above which it is named. */
const unusualBytes = 1.5 * gib;

function outsidePytorch({ message, predicted }: Compared): Explained | undefined {
  const { processBytes, allocatedBytes, unallocatedBytes } = message;
  if (processBytes === undefined) return undefined;
  const outside = processBytes - allocatedBytes - unallocatedBytes;
  const usual = predicted.communicationBytes + predicted.contextBytes;
  if (outside < usual + unusualBytes) return undefined;
  return {
    cause: 'outside-pytorch',
    why: `${bytes(outside)} of the process are not PyTorch's; buffers of communicators and CUDA take ${bytes(usual)}`,
    mend:
      'fewer communicators or channels (NCCL_MAX_NCHANNELS, NCCL_BUFFSIZE), NCCL_NVLS_ENABLE=0, ' +
      "buffers of DeepEP or NVSHMEM (NVSHMEM_SYMMETRIC_SIZE), Megatron's --use-nccl-ub",
  };
}

function skew({ imbalance, predicted, message }: Compared): Explained | undefined {
  if (imbalance === undefined || imbalance < 1.02 || predicted.totalBytes > message.capacityBytes) return undefined;
  return {
    cause: 'skew',
    why:
      `with balanced experts the peak is ${bytes(predicted.allocatedBytes)}; it is as much as the message says when ` +
      `the fullest rank gets ${imbalance.toFixed(2)} times the mean`,
    mend:
      'in the first steps routers are least balanced: --moe-expert-capacity-factor, a larger auxiliary loss, ' +
      '--recompute-modules moe, or a smaller micro-batch',
  };
}

function unknownCause({ message, predicted }: Compared): Explained {
  const { allocatedBytes, requestedBytes } = message;
  const more = allocatedBytes + requestedBytes - predicted.allocatedBytes;
  return {
    cause: 'unknown',
    why:
      more > 0
        ? `PyTorch has handed out ${bytes(more)} more than the step needs at its peak`
        : 'the step should fit, and its peak was not yet reached',
    mend:
      'look for what the step does not hold: a checkpoint that was loaded to the GPU, evaluation, CUDA graphs, ' +
      'profiling, other models; torch.cuda.memory._record_memory_history names it',
  };
}

/** Explains one message. `setting` is what ran. */
export function explainOutOfMemory(message: OutOfMemory, setting: MemorySetting): OutOfMemoryExplanation {
  const stage = stageOfMessage(message, setting);
  const stages = stage === undefined ? stagesOf(setting) : [stage];
  const all = stages.map((one) => stageMemory(setting, one));
  const predicted = all.reduce((most, one) => (one.totalBytes > most.totalBytes ? one : most));
  const wanted = message.allocatedBytes + message.requestedBytes;
  const fits = predicted.totalBytes <= message.capacityBytes;
  const imbalance = fits && wanted > predicted.allocatedBytes ? imbalanceAt(setting, predicted, wanted) : undefined;
  const compared: Compared = { message, predicted, imbalance };
  const rules = [otherProcess, tooLarge, fragmented, outsidePytorch, skew];
  const found = rules.map((rule) => rule(compared)).filter((one) => one !== undefined);
  return {
    message,
    stage,
    predicted,
    candidates: candidatesFor(message, setting, predicted.stage),
    causes: found.length > 0 ? found : [unknownCause(compared)],
    imbalance,
  };
}
