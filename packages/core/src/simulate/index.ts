export * from './simulate.js';
export type { Members } from './groups.js';
export type { HostCores } from './host.js';
export type { PathPiece, Resource } from './criticalPath.js';
export * from './bench.js';
