export { randomSettings } from './random-settings.js';
export { type Candidate, Search, type SearchCounts, type SearchProgress, type SearchResult } from './search.js';
export { EstimateModel, type StepModel } from './step-model.js';
