/** Measurements on a card of this host. */
export { checkNames } from '../../device/cuda/checks/index.js';
export { cudaAvailable } from '../../device/cuda/bindings/index.js';
export { probeCard } from './card-probe.js';
export { layerShapes, layerTable, measureLayer, type LayerMeasurement } from './layer.js';
export { type MoeLayerShape } from '../../device/cuda/layer/moe-layer.js';
export { type WayMeasurement } from './layer.js';
export { type PieceTime } from './layer-pieces.js';
export { modelStep, type ModelRun } from './model.js';
export { type GpuReport } from './report.js';
