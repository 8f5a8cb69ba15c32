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
  type RowsHalf,
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
export {
  addUp,
  copyBuffer,
  type CopyBuffer,
  expandCopies,
  expandReplica,
  fanOut,
  gatherCopies,
  hop,
  packCopies,
  packExperts,
  scatterSums,
  sumExperts,
  summedTokens,
} from './emit-copies.js';
export {
  canonicalRows,
  expertsAmong,
  expertsOf,
  groupTokens,
  joined,
  nodePlace,
  ownReplica,
  ownTokens,
  replicaTokens,
  sourcesOf,
} from './row-layout.js';
export { type RowBlock, type RowLayout, type RowPairs, type RowSide } from '../rows.js';
export { HalfList } from './half-list.js';
export { outgoingHalves, returningHalves } from './strategies.js';
export { expertSize, receivedSize, replicaSize, routedRows, sentSize } from '../moe-shape.js';
export type { Exchange, ExchangeCounts, RowOrder, RowRule, Scope, Size } from '../rows.js';
