/**
 * Example plots: each exported function draws one. They are the gallery and the tests: every result is kept in
 * `snapshots/`.
 */
import { formatBytes, formatPercent, formatSeconds, Random } from '@monta/core';
import { barChart } from '#views/plots/bar-chart.js';
import { heatMap } from '#views/plots/heat-map.js';
import { lineChart } from '#views/plots/line-chart.js';
import { scatter } from '#views/plots/scatter.js';
import { fallingLoss, settlingLoads } from './example-series.js';

/** A noisy curve behind its smoothed one, a second evaluated now and then, and a level to beat. */
export function trainingLoss(): string {
  const raw = fallingLoss(300, 5.5, 1.95, 0.07, 1);
  return lineChart({
    title: 'Loss',
    subtitle: 'training loss of every step, and on held-out text every 25 steps',
    x: { label: 'step' },
    y: { label: 'nat per byte', format: (value) => value.toFixed(1) },
    series: [
      { name: 'training', points: raw, colour: 0, look: 'faint' },
      { name: 'training, smoothed', points: fallingLoss(300, 5.5, 1.95, 0, 1), colour: 0 },
      {
        name: 'held-out',
        points: raw.filter(([step]) => step % 25 === 0).map(([step, loss]) => [step, loss + 0.06]),
        colour: 1,
        dots: true,
      },
    ],
    levels: [{ name: 'unigram', value: 2.98 }],
  });
}

/** Logarithmic axes with units in their ticks; a bound drawn dashed. */
export function timeOverMessageSize(): string {
  const sizes = Array.from({ length: 15 }, (_, index) => 2 ** (10 + index));
  const time = (latency: number, bandwidth: number) =>
    sizes.map((size): [number, number] => [size, latency + size / bandwidth]);
  return lineChart({
    title: 'AllToAll over message size',
    x: { label: 'bytes per pair', scale: 'log', format: (value) => formatBytes(value) },
    y: { label: 'time', scale: 'log', format: formatSeconds },
    series: [
      { name: '1 port per node', points: time(6e-6, 25e9), dots: true },
      { name: '4 ports', points: time(6e-6, 100e9), dots: true },
      { name: '8 ports', points: time(6e-6, 200e9), dots: true },
      { name: 'line rate of 8 ports', points: time(0, 200e9), look: 'dashed', colour: 2 },
    ],
  });
}

/** Many series on a narrow drawing: the legend wraps. */
export function narrowWithManySeries(): string {
  const names = [
    'duplicated',
    'sliced',
    'pipelined, 4 chunks',
    'scattered',
    'scattered, 4 / 3 chunks',
    'folded',
    'gathered',
    'hierarchical',
  ];
  return lineChart({
    title: 'Dispatch and combine',
    x: { label: 'tokens', scale: 'log', format: (value) => value.toLocaleString('en-US') },
    y: { label: 'time of one layer', scale: 'log', format: formatSeconds },
    width: 360,
    height: 380,
    series: names.map((name, index) => ({
      name,
      points: [512, 1024, 2048, 4096, 8192, 16_384].map((tokens): [number, number] => [
        tokens,
        (2e-4 * (8 - index) + tokens * 2e-7 * (9 - index)) / 2,
      ]),
    })),
  });
}

/** A gap in the data, a constant series and negative values. */
export function gapsAndConstants(): string {
  return lineChart({
    x: { label: 'ports per node' },
    y: { label: 'gain over the best fixed strategy', format: formatPercent },
    height: 240,
    series: [
      {
        name: 'measured',
        points: [
          [1, 0.21],
          [2, 0.12],
          [3, Number.NaN],
          [4, 0.03],
          [8, -0.02],
        ],
        dots: true,
      },
      {
        name: 'break-even',
        points: [
          [1, 0],
          [8, 0],
        ],
        look: 'dashed',
        colour: 7,
      },
    ],
  });
}

/** Two bars per strategy; one value is not known. */
export function strategiesGrouped(): string {
  return barChart({
    title: 'Dispatch and combine of one layer',
    subtitle: 'forward, 8,192 tokens, 16 devices in 2 nodes',
    value: { label: 'time', format: formatSeconds },
    series: ['predicted', 'measured (emulated network)'],
    rows: [
      { name: 'scattered, 4 / 3 chunks', values: [4.31e-3, 4.52e-3], chosen: true },
      { name: 'scattered', values: [5.62e-3, 5.71e-3] },
      { name: 'pipelined, 4 chunks', values: [7.9e-3, 8.34e-3] },
      { name: 'sliced', values: [9.74e-3, 9.69e-3] },
      { name: 'duplicated', values: [24.8e-3, undefined] },
    ],
  });
}

/** One series: no legend, values at the ends. */
export function bytesPerLink(): string {
  return barChart({
    title: 'Bytes sent per step by the busiest port',
    value: { label: 'bytes', format: (value) => formatBytes(value) },
    series: ['bytes'],
    rows: [
      { name: 'nvlink', values: [470e6] },
      { name: 'infiniband', values: [33.6e6] },
      { name: 'pcie', values: [0] },
    ],
    width: 520,
  });
}

/** Where the time of a step goes, row by row. */
export function timePerLane(): string {
  return barChart({
    title: 'Where the time of a step goes',
    subtitle: 'mean over ranks and steps; waiting is time in which a rank had issued a collective and a peer had not',
    value: { label: 'time per step', format: formatSeconds },
    series: ['compute', 'inter', 'intra', 'copy', 'waiting'],
    arrangement: 'stacked',
    rows: [
      { name: 'scattered (measured)', values: [21e-3, 8.1e-3, 4.2e-3, 1.2e-3, 6.9e-3], chosen: true },
      { name: 'scattered (predicted)', values: [20.4e-3, 8e-3, 4.1e-3, 1.2e-3, undefined] },
      { name: 'duplicated (measured)', values: [21.3e-3, 38e-3, 9.4e-3, 1.9e-3, 8.2e-3] },
      { name: 'not run', values: [undefined, undefined, undefined, undefined, undefined] },
    ],
  });
}

/** Points on both sides of the diagonal over three decades, with a tolerance band. */
export function predictedOverMeasured(): string {
  const random = new Random(3);
  const cloud = (count: number, spread: number) =>
    Array.from({ length: count }, () => {
      const measured = 10 ** (-4 + 2.5 * random.uniform());
      return { measured, predicted: measured * Math.exp(spread * random.normal()) };
    });
  return scatter({
    title: 'Predicted over measured',
    subtitle: 'every strategy and chunk count, forward and backward',
    quantity: 'time of one layer',
    scale: 'log',
    format: formatSeconds,
    tolerance: 0.15,
    series: [
      { name: '1 port', points: cloud(20, 0.06) },
      { name: '4 ports', points: cloud(20, 0.08) },
      { name: 'one node', points: cloud(12, 0.12) },
    ],
  });
}

/** Linear axes from zero, few points. */
export function scatterLinear(): string {
  return scatter({
    quantity: 'step time',
    format: formatSeconds,
    tolerance: 0.15,
    width: 360,
    height: 340,
    series: [
      {
        name: 'steps',
        points: [
          { measured: 41.9e-3, predicted: 41e-3, name: 'scattered' },
          { measured: 79.3e-3, predicted: 78e-3, name: 'duplicated' },
          { measured: 46e-3, predicted: 52e-3, name: 'sliced' },
        ],
      },
    ],
  });
}

/** Load of eight experts that evens out. */
export function loadOfExperts(): string {
  const columns = 60;
  return heatMap({
    title: 'Load of experts',
    subtitle: 'layer 1; every column is the mean of 5 steps',
    x: { label: 'step' },
    edges: Array.from({ length: columns + 1 }, (_, index) => index * 5),
    rows: settlingLoads(8, columns, 7).map((values, index) => ({ name: `expert ${index}`, values })),
    middle: 1,
    format: (value) => `${Math.round(value * 100) / 100}×`,
    quantity: 'share of the tokens, 1× is balanced',
  });
}

/** So many experts that not every row gets its name. */
export function loadOfManyExperts(): string {
  const columns = 40;
  return heatMap({
    title: 'Load of 64 experts',
    x: { label: 'step' },
    edges: Array.from({ length: columns + 1 }, (_, index) => index * 10),
    rows: settlingLoads(64, columns, 11).map((values, index) => ({ name: `expert ${index}`, values })),
    middle: 1,
    format: (value) => `${Math.round(value * 100) / 100}×`,
    quantity: 'share of the tokens',
    width: 520,
  });
}

/** On a phone: names stand above their bars, nothing is cut. */
export function strategiesNarrow(): string {
  return barChart({
    title: 'Dispatch and combine of one layer, forward and backward',
    value: { label: 'time', format: formatSeconds },
    series: ['predicted', 'measured (emulated network)'],
    rows: [
      { name: 'infiniband: scattered, 4 / 3 chunks', values: [4.31e-3, 4.52e-3], chosen: true },
      { name: 'infiniband: duplicated', values: [24.8e-3, undefined] },
    ],
    width: 360,
  });
}

/** On a phone: what the key shows stands above it. */
export function loadNarrow(): string {
  return heatMap({
    title: 'Load of experts',
    x: { label: 'step' },
    edges: Array.from({ length: 31 }, (_, index) => index * 5),
    rows: settlingLoads(8, 30, 7).map((values, index) => ({ name: `expert ${index}`, values })),
    middle: 1,
    format: (value) => `${Math.round(value * 100) / 100}×`,
    quantity: 'tokens relative to a balanced load, averaged over all layers with experts',
    width: 360,
  });
}
