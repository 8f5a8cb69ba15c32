export {
  balancedCounts,
  expectedKeptReach,
  expectedReach,
  expertProbabilities,
  type Routing,
  sampleCounts,
  sampleIds,
} from './routing.js';
export { chunkRows, chunkStart, GroupRouting, type Part, reachesRange, type SourcePicks } from './group-routing.js';
export { groupLimitedPicks } from './group-limited.js';
export { recordedPicks, type RecordedRouting } from './recorded.js';
