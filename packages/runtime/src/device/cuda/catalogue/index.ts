/** The catalogue's kernels that a card has. */
import { InputError, type KernelName } from '@monta/core';
import { attentionKernels } from './attention.js';
import type { CudaKernel, CudaKernels } from './call.js';
import { endKernels } from './ends.js';
import { memoryKernels } from './memory-kernels.js';
import { moeKernels } from './moe.js';
import { updateKernels } from './update.js';

const all = { ...memoryKernels, ...endKernels, ...attentionKernels, ...moeKernels, ...updateKernels };

/** Optional operands and arguments of the catalogue that the card's kernels do not follow yet. */
const notYet: Partial<Record<KernelName, readonly string[]>> = {
  'attention.rotate': ['scaling', 'interleaved', 'rotaryDim'],
  'attention.rotate.backward': ['scaling', 'interleaved', 'rotaryDim'],
  'attention.core': ['sinks'],
  'attention.core.backward': ['sinks'],
  'moe.router': ['bias', 'selectionBias', 'selection'],
  'moe.router.backward': ['biasGradient', 'selection'],
  'moe.experts': ['gateUpBias', 'downBias', 'clamp'],
  'moe.experts.inputGradient': ['clamp'],
  'moe.experts.weightGradient': ['gateUpBiasGradient', 'downBiasGradient'],
};

/** A kernel that refuses what it would leave out. */
function guarded(name: string, kernel: CudaKernel): CudaKernel {
  const unknown = Object.hasOwn(notYet, name) ? (notYet[name as KernelName] ?? []) : [];
  return (call) => {
    const given = unknown.find((one) => call.has(one) || call.arguments[one] !== undefined);
    if (given !== undefined) throw new InputError(`kernel ${name} with ${given} does not run on a card yet`);
    kernel(call);
  };
}

/** By name. Each sees the launch that its name promises. */
export const cudaKernels: CudaKernels = Object.fromEntries(
  Object.entries(all).map(([name, kernel]) => [name, guarded(name, kernel as CudaKernel)]),
);
