/**
 * @module Plots, timelines and reports as SVG and HTML strings, for the command and for the browser: no Node API, no
 * DOM.
 */
export type { Axis } from './plots/axes.js';
export { barChart, type BarChart, type BarRow } from './plots/bar-chart.js';
export { heatMap, type HeatMap } from './plots/heat-map.js';
export { lineChart, type LineChart, type LineSeries } from './plots/line-chart.js';
export { scatter, type Scatter, type ScatterSeries } from './plots/scatter.js';
export { fitPlots, type FitPlot } from './calibration/fit-plots.js';
export { timelineSvg, type TimelineOptions, type TimelinePanel } from './timeline/timeline.js';
export { colourRules, themeVariables, withoutStyles } from './svg.js';
export { expertLoad } from './report/expert-load.js';
export { fillReport, type RealNetwork, type RunFacts, type RunRecord, type TrainedRun } from './report/fill-report.js';
export { renderReport } from './report/render-report.js';
export { renderStepPage, type StepPage, type StepTableText } from './report/step-page.js';
export {
  comparisonText,
  memoryError,
  strategyOf,
  type OperationTime,
  type Origin,
  type RunMemory,
  type RunReport,
  type StrategyRun,
} from './report/run-report.js';
