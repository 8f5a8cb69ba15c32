/** The catalogue's kernels that a card has. */
import type { CudaKernels } from './call.js';
import { memoryKernels } from './memory-kernels.js';

export const cudaKernels: CudaKernels = { ...memoryKernels };
