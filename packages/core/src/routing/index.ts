export {
  balancedCounts,
  expectedReach,
  expertProbabilities,
  readRecordedRouting,
  type Routing,
  sampleCounts,
  sampleIds,
} from './routing.js';
export { chunkRows, chunkStart, GroupRouting, type Part, reachesRange } from './group-routing.js';
