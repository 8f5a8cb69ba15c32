/**
 * The figures behind a price that no cluster file holds. Every one is an input with a default, and every default says
 * where it comes from; `describeInputs` lists them for the person.
 */
import type { Algorithm } from '../traffic/flows.js';
import type { ProductWay } from './kernels/price.js';
import { nccl } from './libraries.js';

export interface CostInputs {
  /** Data type whose peak the matrix kernels run at. */
  readonly computeType: 'bf16' | 'f32' | 'fp8';
  /**
   * Shares of the datasheet's peak that kernels of a kind reach, instead of times by their shape. Left out on GPUs:
   * times are fitted to measured kernels then, see `kernels/`.
   */
  readonly gemmEfficiency?: number;
  readonly attentionEfficiency?: number;
  readonly memoryEfficiency?: number;
  /** Ways in which products of experts can run, where they are priced by shape: the fastest counts for each. */
  readonly expertProducts: readonly ProductWay[];
  /** From one kernel's end to the next one's start on a busy lane, seconds. */
  readonly kernelOverheadSeconds: number;
  /** What the host spends on issuing one operation, seconds. */
  readonly hostOverheadSeconds: number;
  /** The issuing thread runs the kernels too (a CPU rank), so that nothing is issued while one runs. */
  readonly hostRunsKernels: boolean;
  /** What a collective takes besides links and latencies (launch, agreement of the peers), seconds. */
  readonly collectiveOverheadSeconds: number;
  /** How collectives move: `nccl` takes the fastest of NCCL's algorithms and protocols for each. */
  readonly algorithm: Algorithm | 'nccl';
  /**
   * Multiprocessors that a collective holds on each rank, from its issue to its end (it polls while it waits); 0 on
   * CPUs.
   */
  readonly multiprocessorsPerCollective: number;
}

interface InputDescription {
  readonly unit: string;
  readonly meaning: string;
  readonly source: string;
}

export const defaultCostInputs: CostInputs = {
  computeType: 'bf16',
  expertProducts: ['grouped', 'loop'],
  kernelOverheadSeconds: 2e-6,
  hostOverheadSeconds: 5e-6,
  hostRunsKernels: false,
  collectiveOverheadSeconds: 5e-6,
  algorithm: 'nccl',
  multiprocessorsPerCollective: nccl.multiprocessors,
};

/** Shares of a CPU rank's peak, whose kernels nobody has fitted. */
export const processorEfficiencies = {
  gemmEfficiency: 0.488,
  attentionEfficiency: 0.7,
  memoryEfficiency: 0.8,
} satisfies Partial<CostInputs>;

/**
 * Of ranks that are threads or processes of a machine: kernels take what they were timed to take, overheads included,
 * on cores instead of multiprocessors; all collectives of a node are submitted before its kernels run; and ranks send
 * straight to each other.
 */
export const hostInputs = (collectiveOverheadSeconds: number) =>
  ({
    kernelOverheadSeconds: 0,
    hostOverheadSeconds: 0,
    hostRunsKernels: false,
    multiprocessorsPerCollective: 0,
    collectiveOverheadSeconds,
    algorithm: 'direct',
  }) satisfies Partial<CostInputs>;

const fittedSource = 'kernels timed on an H200, by kind and shape, carried to other GPUs by datasheet ratios';

const descriptions: { readonly [K in keyof CostInputs]-?: InputDescription } = {
  computeType: { unit: '', meaning: 'data type of the matrix kernels', source: 'usual training precision' },
  gemmEfficiency: { unit: 'of peak', meaning: 'matrix products', source: fittedSource },
  attentionEfficiency: { unit: 'of peak', meaning: 'attention', source: fittedSource },
  memoryEfficiency: { unit: 'of peak', meaning: 'memory-bound kernels', source: fittedSource },
  expertProducts: {
    unit: '',
    meaning: 'products of experts, the fastest of',
    source: 'what Megatron-Core and transformers run; batched by padded size is faster for many small experts',
  },
  kernelOverheadSeconds: { unit: 's', meaning: 'gap between kernels on a lane', source: 'assumption' },
  hostOverheadSeconds: {
    unit: 's',
    meaning: 'host time to issue an operation',
    source: 'a launch takes 4.3 us of the host, docs/gpu.md; --host-time for a framework',
  },
  hostRunsKernels: { unit: '', meaning: 'the issuing thread runs kernels too', source: 'false on GPUs' },
  collectiveOverheadSeconds: { unit: 's', meaning: 'per collective, besides links', source: 'assumption' },
  algorithm: {
    unit: '',
    meaning: 'how gathers and reductions move',
    source: "NCCL's tuning: ring, tree or NVLS, whichever is fastest",
  },
  multiprocessorsPerCollective: {
    unit: 'multiprocessors',
    meaning: 'held by each running collective',
    source: nccl.source,
  },
};

/** One input as a person is shown it. */
export interface ShownInput {
  readonly name: keyof CostInputs;
  /** As shown to people, in `unit`. */
  readonly value: string;
  /** Unit of `value`; empty for a share. */
  readonly unit: string;
  /** What it is, in words. */
  readonly meaning: string;
  /** Where the value comes from; `given` when it is not the default. */
  readonly source: string;
}

/** All inputs with their origin. `given` names those that the person or a calibration supplied, and from where. */
export function describeInputs(
  inputs: CostInputs,
  given: Readonly<Partial<Record<keyof CostInputs, string>>>,
): ShownInput[] {
  return (Object.keys(descriptions) as (keyof CostInputs)[]).map((name) => ({
    name,
    value: inputs[name] === undefined ? 'fitted' : [inputs[name]].flat().join(', '),
    unit: descriptions[name].unit,
    meaning: descriptions[name].meaning,
    source: given[name] ?? descriptions[name].source,
  }));
}
