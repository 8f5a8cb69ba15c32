export * from './line-chart.js';
export * from './bar-chart.js';
export * from './scatter.js';
export * from './heat-map.js';
export type { Axis } from './axes.js';
