export { placeOf, simulate, type Simulation, type SimulationJob, type SimulationSummary } from './simulate.js';
export type { Members } from './groups.js';
export type { CollectiveBasis } from './prices.js';
export type { HostCores } from './host.js';
export type { PathPiece, Resource } from './critical-path.js';
export { benchSimulator, simulatorBenchShapes } from './bench.js';
export { type Period, periodOf, stageWork, type StageWork } from './steady.js';
