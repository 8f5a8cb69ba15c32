export {
  collectivesLeftOut,
  errorsBySize,
  gpusLeftOut,
  jumpFitted,
  type LeftOut,
  ranksLeftOut,
  sizesLeftOut,
  withinExpected,
  worstSeries,
} from './left-out.js';
export { type Noise, placesApart, relativesApart } from './noise.js';
export { ruleWorth, type RuleWorth } from './rule-worth.js';
export { type TestbedCurve, testbedCurves } from './testbed-curves.js';
