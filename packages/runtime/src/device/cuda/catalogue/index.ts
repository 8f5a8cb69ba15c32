/** The catalogue's kernels that a card has. */
import { attentionKernels } from './attention.js';
import type { CudaKernel, CudaKernels } from './call.js';
import { endKernels } from './ends.js';
import { latentKernels } from './latent.js';
import { memoryKernels } from './memory-kernels.js';
import { mlpKernels } from './mlp.js';
import { expertKernels } from './experts.js';
import { moeKernels } from './moe.js';
import { rowKernels } from './rows.js';
import { updateKernels } from './update.js';

const all = {
  ...memoryKernels,
  ...endKernels,
  ...attentionKernels,
  ...latentKernels,
  ...mlpKernels,
  ...moeKernels,
  ...expertKernels,
  ...rowKernels,
  ...updateKernels,
};

/** By name. Each sees the launch that its name promises. */
export const cudaKernels: CudaKernels = all as unknown as Readonly<Record<string, CudaKernel>>;
