/** What a half of a dispatcher is made of: for halves that are written outside. */
export * from './dispatcher.js';
export * from './emit.js';
export * from './exchanges.js';
export { HalfList } from './half-list.js';
export { outgoingHalves, returningHalves } from './strategies.js';
export { expertSize, receivedSize, replicaSize, routedRows, sentSize } from '../moe-shape.js';
export type { Exchange, ExchangeCounts, RowOrder, RowRule, Scope, Size } from '../rows.js';
