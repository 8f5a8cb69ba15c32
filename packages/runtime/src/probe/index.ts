export * from './solo-endpoint.js';
export * from './kernel-rates.js';
export { probeKernels, type KernelProbe } from './probe-kernels.js';
export * from './network.js';
export * from './hosts.js';
