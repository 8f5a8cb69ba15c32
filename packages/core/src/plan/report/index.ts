export { type NearestPlan, nearestPlan } from './nearest.js';
export { rankGrid } from './rank-grid.js';
export { oneNodeFewer, sensitivities, type Sensitivity, twiceTheNodes } from './sensitivity.js';
export { type Dimension, type DimensionTraffic, stepTraffic } from './step-traffic.js';
