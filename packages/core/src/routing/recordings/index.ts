export { readRecordedRouting } from './read.js';
