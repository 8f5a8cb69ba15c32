export {
  balancedCounts,
  expertProbabilities,
  readRecordedRouting,
  type Routing,
  sampleCounts,
  sampleIds,
} from './routing.js';
export { chunkRows, GroupRouting } from './group-routing.js';
