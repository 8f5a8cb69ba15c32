export { benchLayerDispatch, type LayerBench } from './bench-layer.js';
export { choiceCases, insideCases, namedCase, strategyCases, type NamedCase } from './contest-cases.js';
export { benchEmulatedLayer, type EmulatedLayer } from './emulated-layer.js';
export type { ContestFigures, PassFigure, WayFigure } from './decide.js';
export { calibrateGround, type Ground } from './ground.js';
export { measureArrangement, type ArrangementRequest } from './measure.js';
export type { ArrangementReport, CalibrationReport, NodesReport } from './report.js';
