export {
  assumedError,
  type Basis,
  type Estimate,
  errorOf,
  knownEstimate,
  type UnknownEstimate,
  unknownEstimate,
  weakestBasis,
} from './estimate.js';
export { pipelineSeconds, unevenPipelineSeconds } from './pipeline.js';
export { type CostInputs, hostInputs } from './inputs.js';
export {
  type CollectiveCurves,
  type CostModel,
  costModel,
  type CostModelOptions,
  describeCostModel,
  type KernelRate,
  kernelSeconds,
  pricedKernel,
} from './model.js';
export { machineModel } from './machine-model.js';
export {
  collectiveAlgorithm,
  collectiveSeconds,
  priceCollective,
  type PricedCollective,
  type PricedFlow,
  scaledCollective,
  type ScaledCollective,
} from './collective.js';
export type { ExchangeGrid } from './exchange-grid.js';
export type { Move } from './ways.js';
export { nodesOf } from './nccl.js';
export {
  busBytesPerSecond,
  busFactor,
  type Calibration,
  CalibrationLookup,
  Curve,
  curveOf,
  describeCoverage,
  describeKey,
  type ErrorSummary,
  type Fit,
  fitCalibration,
  cardShares,
  gemmShareOf,
  gpuKey,
  groundsOf,
  type GroupCoverage,
  type InspectorRecord,
  type Interference,
  layoutCoverage,
  linksOf,
  looksLikeInspector,
  type MeasuredOp,
  measuredOps,
  type Measurement,
  mergeCalibrations,
  type MiddleRule,
  middleRule,
  naiveSeconds,
  paperTestbed,
  type Probe,
  type ProbedCard,
  type ProbedGemm,
  readCalibration,
  type Reading,
  readInspectorRecords,
  readMeasurementsCsv,
  readNcclInspector,
  readNcclTests,
  type SeriesFit,
  seriesOfTier,
  summarize,
  validate,
  type Validation,
  type ValidationRow,
  writeCalibration,
} from './calibration/index.js';
export { type PresetError, presetErrors } from './preset-collectives.js';
export { fittedOn } from './kernels/coefficients.js';
export { productWays, type ProductWay } from './kernels/price.js';
export { type KernelError, leaveShapesOut } from './kernels/leave-out.js';
export { readKernels } from './kernels/measured.js';
export { communicationLibraries, type CommunicationLibrary, type LibraryName } from './libraries.js';
export { scaledCurves } from './scaled-curves.js';
