export { addressableBytes } from './device/cpu/index.js';
export { cudaAvailable, firstCard } from './device/cuda/bindings/index.js';
export {
  builtModule,
  cardsCluster,
  cardsHere,
  keepThreads,
  type Launcher,
  leadMpirun,
  type Environment,
  leadStarted,
  localLauncher,
  type MpiHost,
  cudaLauncher,
  mpiLauncher,
  ncclLauncher,
  type CardLanes,
  parseHosts,
  startedPlace,
  underMpirun,
  whileKeepingThreads,
} from './launch/index.js';
export { runGemmBench } from './bench/gemm.js';
export { checkExecutable } from './execute/index.js';
export {
  type ByteText,
  prepareStart,
  readByteText,
  train,
  type TrainJob,
  type TrainReport,
  type TrainResult,
  tryStrategies,
  unigramCrossEntropy,
} from './train/index.js';
export { type DispatchMeasurement, measureInTurns, type RepeatedJob } from './execute/measure-dispatch.js';
export { defaultCollectiveBench, measureCollectives } from './bench/collectives.js';
export {
  benchGroupCollectives,
  type CollectiveTable,
  groupCollectives,
  layoutGroups,
  type RankPlace,
  sizesBetween,
} from './bench/group-collectives.js';
export { benchEmulatedLayer, benchLayerDispatch, type ContestFigures, type LayerBench } from './bench/nodes/index.js';
export { rowTolerance } from './execute/sample-rows.js';
export { type ExchangeFigure, type LineRates, measureExchanges } from './bench/two-hosts.js';
export type { Exchange } from './bench/two-hosts-types.js';
export { loadMpi } from './comm/mpi/index.js';
export {
  benchWorkload,
  type CommunicationFigures,
  type CommunicationProbe,
  type DispatchCase,
  dispatchCases,
  easyTimeScale,
  type HostsProbe,
  type MachineProbe,
  measureVariants,
  type NetworkProbeOptions,
  type NetworkProbeResult,
  probeCommunication,
  probeDispatchKernels,
  probeHosts,
  probeMover,
  probeNetwork,
  probeStepKernels,
  processorName,
  withCost,
  withoutLatencies,
} from './probe/index.js';
export {
  onTwoNodes,
  type Verification,
  verifiedLayouts,
  verifiedStrategies,
  type VerifyCase,
  verify,
  verifyAll,
  verifyRankBytes,
} from './verify/index.js';
