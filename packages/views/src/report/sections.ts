/** The plots of the report, each made of one part of the run's data and drawn in a given width (px). */
import type { LaneSeconds } from '@monta/core';
import { formatBytes, formatInteger, formatSeconds } from '@monta/core/units';
import { barChart } from '../plots/bar-chart.js';
import { heatMap } from '../plots/heat-map.js';
import { lineChart, type LineSeries } from '../plots/line-chart.js';
import { scatter } from '../plots/scatter.js';
import type { RunReport } from './run-report.js';

/** Mean over a window of at most `width` values around each, so that the trend shows and the ends are not bent. */
export function smoothed(points: readonly (readonly [number, number])[], width: number): [number, number][] {
  const half = Math.floor(width / 2);
  return points.map(([x], index) => {
    const reach = Math.min(half, index, points.length - 1 - index);
    const near = points.slice(index - reach, index + reach + 1);
    return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
  });
}

const smoothingWindow = 15;

/** Training and held-out loss, with the unigram level. */
export function lossPlot({ loss }: RunReport, width: number): string {
  const enough = loss.training.length > 2 * smoothingWindow;
  const series: LineSeries[] = [
    {
      name: enough ? 'training, every step' : 'training',
      points: loss.training,
      colour: 0,
      look: enough ? 'faint' : 'solid',
    },
    ...(enough
      ? [
          {
            name: `training, mean of ${smoothingWindow} steps`,
            points: smoothed(loss.training, smoothingWindow),
            colour: 0,
          },
        ]
      : []),
    { name: 'held-out', points: loss.heldOut, colour: 1, dots: true },
  ];
  return lineChart({
    x: { label: 'step', format: formatInteger },
    y: { label: `nat per ${loss.token}`, format: (value) => value.toFixed(1) },
    series,
    levels: [{ name: 'unigram, held-out', value: loss.unigram, text: loss.unigram.toFixed(2) }],
    width,
    height: 320,
  });
}

const laneTitles = {
  compute: 'compute',
  inter: 'inter-node',
  intra: 'intra-node',
  copy: 'copy',
  shared: 'shared experts',
  waiting: 'waiting for peers',
} as const satisfies Readonly<Record<keyof LaneSeconds, string>>;

const laneOrder = Object.keys(laneTitles) as (keyof LaneSeconds)[];

/** Where the time of a step goes, per strategy, measured above predicted. */
export function lanesPlot(report: RunReport, width: number): string {
  const all = report.strategies.flatMap(({ lanes, predictedLanes = lanes }) => [lanes, predictedLanes]);
  const shown = laneOrder.filter((lane) => lane !== 'shared' || all.some((lanes) => lanes[lane] > 0));
  const laneValues = (lanes: LaneSeconds) => shown.map((lane) => lanes[lane]);
  const rows = report.strategies.flatMap((strategy) => {
    const chosen = strategy.role === 'chosen';
    return [
      { name: strategy.name, values: laneValues(strategy.lanes), chosen },
      ...(strategy.predictedLanes ? [{ name: 'predicted', values: laneValues(strategy.predictedLanes) }] : []),
    ];
  });
  return barChart({
    value: { label: 'time per step and rank, lanes added up', format: formatSeconds },
    series: shown.map((lane) => laneTitles[lane]),
    arrangement: 'stacked',
    rows,
    width,
  });
}

/** Step times, measured beside predicted. */
export function stepsPlot(report: RunReport, width: number): string {
  return barChart({
    value: { label: 'step', format: formatSeconds },
    series: [report.timing.origin, 'predicted'],
    rows: report.strategies.map((strategy) => ({
      name: strategy.name,
      values: [strategy.stepSeconds, strategy.predictedStepSeconds],
      chosen: strategy.role === 'chosen',
    })),
    width,
  });
}

/** Predicted bytes per link and step, one row per tier and strategy. */
export function bytesPlot(report: RunReport, width: number): string {
  const tiers = [...new Set(report.strategies.flatMap((strategy) => strategy.bytes.map(({ tier }) => tier)))];
  return barChart({
    value: { label: 'bytes per step, all ranks', format: (value) => formatBytes(value) },
    series: ['predicted'],
    rows: tiers.flatMap((tier) =>
      report.strategies.map((strategy) => ({
        name: `${tier}: ${strategy.name}`,
        values: [strategy.bytes.find((bytes) => bytes.tier === tier)?.predictedBytes],
        chosen: strategy.role === 'chosen',
      })),
    ),
    width,
  });
}

/** Bytes of the whole run by link, predicted beside counted. */
export function carriedPlot({ carried }: RunReport, width: number): string {
  return barChart({
    value: { label: 'bytes of the run, all ranks', format: (value) => formatBytes(value) },
    series: ['predicted', 'counted while running'],
    rows: carried.map(({ tier, predictedBytes, countedBytes }) => ({
      name: tier,
      values: [predictedBytes, countedBytes],
    })),
    width,
  });
}

/** Predicted over measured time of every operation, by lane. */
export function operationsPlot(report: RunReport, width: number): string {
  const lanes = [...new Set(report.operations.map(({ lane }) => lane))];
  return scatter({
    quantity: 'time of an operation',
    scale: 'log',
    format: formatSeconds,
    tolerance: 0.15,
    series: lanes.map((lane) => ({
      name: lane,
      points: report.operations
        .filter((operation) => operation.lane === lane)
        .map(({ name, predictedSeconds, measuredSeconds }) => ({
          name,
          predicted: predictedSeconds,
          measured: measuredSeconds,
        })),
    })),
    width: Math.min(width, 480),
    height: 420,
  });
}

/** Load of the experts of one layer over time. */
export function loadPlot(load: RunReport['expertLoad'][number], width: number): string {
  return heatMap({
    subtitle: load.layer === 'all' ? 'all layers together' : `layer ${load.layer}`,
    x: { label: 'step', format: formatInteger },
    edges: load.stepEdges,
    rows: load.experts.map((values, expert) => ({ name: `expert ${expert}`, values })),
    middle: 1,
    format: (value) => `${value.toFixed(2)}×`,
    quantity: 'tokens relative to a balanced load',
    width,
  });
}
