export * from './solo-endpoint.js';
export * from './kernel-rates.js';
export { probeKernels, type KernelProbe } from './probe-kernels.js';
export * from './network.js';
export * from './hosts.js';
export * from './dispatch-host.js';
export * from './dispatch-kernels.js';
export * from './communication-cost.js';
export * from './communication-probe.js';
