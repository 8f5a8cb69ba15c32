export { randomSettings } from './random-settings.js';
export { type SearchCounts } from './counts.js';
export { type Candidate, Search, type SearchProgress, type SearchResult } from './search.js';
export { EstimateModel, type StepModel } from './step-model.js';
