export { probeKernels, probeStepKernels, type KernelProbe } from './probe-kernels.js';
export {
  easyTimeScale,
  type NetworkProbeOptions,
  type NetworkProbeResult,
  probeNetwork,
  processorName,
} from './network.js';
export { type HostsProbe, probeHosts } from './hosts.js';
export { probeMover } from './dispatch-host.js';
export { probeDispatchKernels } from './dispatch-kernels.js';
export { withCost, withoutLatencies } from './communication-cost.js';
export { type CommunicationFigures, type CommunicationProbe, probeCommunication } from './communication-probe.js';
export { benchWorkload, type MachineProbe } from './dispatch-predict.js';
export { type DispatchCase, dispatchCases, measureVariants } from './dispatch-measure.js';
