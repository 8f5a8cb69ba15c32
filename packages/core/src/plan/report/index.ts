export { fewerNodes } from './fewer-nodes.js';
export { noPlan } from './no-plan.js';
export { type NearestPlan, nearestPlan } from './nearest.js';
export {
  countsText,
  layoutText,
  partNames,
  planColumns,
  planFacts,
  planRow,
  planTitle,
  shownOthers,
  tieShare,
} from './plan-facts.js';
export { rankGrid } from './rank-grid.js';
export { oneNodeFewer, sensitivities, type Sensitivity, twiceTheNodes } from './sensitivity.js';
export { type Dimension, type DimensionTraffic, stepTraffic } from './step-traffic.js';
export {
  judgedDocument,
  type JudgedPlan,
  judgedColumns,
  judgedRow,
  judgement,
  judgePlans,
  usuallyJudged,
} from './judged-plans.js';
