/** What a half of a dispatcher is made of: for halves that are written outside. */
export {
  type ChunkContext,
  emitStages,
  type OutgoingContext,
  type OutgoingHalf,
  returnedRegion,
  type ReturnedRows,
  type ReturningContext,
  type ReturningHalf,
  type Stage,
} from './dispatcher.js';
export {
  buffer,
  exchange,
  type ExchangeRows,
  pack,
  place,
  type Spread,
  spread,
  sumPartial,
  takeOwn,
  unplace,
} from './emit.js';
export {
  canonicalOrder,
  gatheredOrder,
  gatherReceived,
  replicaExchange,
  replicaOrder,
  replicaReturn,
  scatterReceived,
  sliceExchange,
  sliceReturn,
  transposed,
} from './exchanges.js';
export { HalfList } from './half-list.js';
export { outgoingHalves, returningHalves } from './strategies.js';
export { expertSize, receivedSize, replicaSize, routedRows, sentSize } from '../moe-shape.js';
export type { Exchange, ExchangeCounts, RowOrder, RowRule, Scope, Size } from '../rows.js';
