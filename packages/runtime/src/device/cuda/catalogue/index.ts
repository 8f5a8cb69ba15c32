/** The catalogue's kernels that a card has. */
import { attentionKernels } from './attention.js';
import type { CudaKernel, CudaKernels } from './call.js';
import { endKernels } from './ends.js';
import { memoryKernels } from './memory-kernels.js';
import { moeKernels } from './moe.js';
import { updateKernels } from './update.js';

const all = { ...memoryKernels, ...endKernels, ...attentionKernels, ...moeKernels, ...updateKernels };

/** By name. Each sees the launch that its name promises. */
export const cudaKernels: CudaKernels = Object.fromEntries(
  Object.entries(all).map(([name, kernel]) => [name, kernel as CudaKernel]),
);
