/** The CPU's implementation of every kernel of the catalogue. */
import type { KernelName } from '@monta/core';
import type { CpuKernels, CpuKernelOf } from '../kernel-call.js';
import { attentionKernels } from './attention.js';
import { copyKernels } from './copy.js';
import { endKernels } from './ends.js';
import { gemmKernels } from './gemm.js';
import { latentKernels } from './latent.js';
import { mlpKernels } from './mlp.js';
import { expertKernels } from './moe-experts.js';
import { rowKernels } from './moe-rows.js';
import { routingKernels } from './moe-routing.js';
import { normKernels } from './norms.js';
import { updateKernels } from './update.js';

const implementations: { readonly [Name in KernelName]: CpuKernelOf<Name> } = {
  ...copyKernels,
  ...gemmKernels,
  ...normKernels,
  ...attentionKernels,
  ...latentKernels,
  ...mlpKernels,
  ...endKernels,
  ...routingKernels,
  ...rowKernels,
  ...expertKernels,
  ...updateKernels,
};

/** By name; whoever launches one gives it the operands and arguments that the catalogue names. */
export const cpuKernels = implementations as unknown as CpuKernels;
