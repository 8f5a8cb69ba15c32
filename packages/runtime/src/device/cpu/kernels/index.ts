import type { CpuKernels } from '../kernel-call.js';
import { copyKernels } from './copy.js';

/** Every kernel that the CPU has, by its name in the catalogue. */
export const cpuKernels: CpuKernels = { ...copyKernels };
