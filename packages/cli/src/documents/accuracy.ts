/**
 * Writes docs/accuracy.md and its plots: `npm run docs:accuracy`. Measured figures are published ones kept in the
 * repository, with sources.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fitCalibration, formatBandwidth, formatBytes, formatPercent, formatSeconds } from '@monta/core';
import { barChart, fitPlots, lineChart, scatter } from '@monta/views';
import {
  collectivesLeftOut,
  errorsBySize,
  gpusLeftOut,
  jumpFitted,
  placesApart,
  ranksLeftOut,
  relativesApart,
  ruleWorth,
  type RuleWorth,
  sizesLeftOut,
  testbedCurves,
  withinExpected,
  worstSeries,
  type LeftOut,
  type Noise,
  type TestbedCurve,
} from '@monta/core/cost/calibration/left-out';
import { estimatePage } from './accuracy-estimate.js';
import { memoryAccuracy } from './accuracy-memory.js';
import { pricesPage } from './accuracy-prices.js';
import { inside, logs } from './published-measurements.js';

const percent = (share: number): string => (Number.isFinite(share) ? formatPercent(share) : '–');

function table(cases: readonly LeftOut[]): string {
  const lines = cases.map(
    ({ name, rows, summary }) =>
      `| ${name} | ${rows.length} | ${percent(summary.medianAbsoluteError)} | ${percent(summary.p90AbsoluteError)} ` +
      `| ${percent(summary.naiveMedianAbsoluteError)} | ${percent(summary.naiveP90AbsoluteError)} | ` +
      `${percent(withinExpected(rows))} |`,
  );
  return [
    '| left out | rows | median error | 90th percentile | naive median | naive 90th | within the expected error |',
    '|---|--:|--:|--:|--:|--:|--:|',
    ...lines,
  ].join('\n');
}

function worstTable(cases: readonly LeftOut[], count: number): string {
  const lines = worstSeries(
    cases.flatMap(({ rows }) => rows),
    count,
  ).map(
    ({ name, summary }) =>
      `| ${name} | ${percent(summary.medianAbsoluteError)} | ${percent(summary.p90AbsoluteError)} | ` +
      `${percent(summary.naiveMedianAbsoluteError)} | ${percent(summary.naiveP90AbsoluteError)} |`,
  );
  return [
    '| series | median error | 90th percentile | naive median | naive 90th |',
    '|---|--:|--:|--:|--:|',
    ...lines,
  ].join('\n');
}

/** The rows farthest off, with both predictions. */
function worstRows(cases: readonly LeftOut[], count: number): string {
  const rows = cases
    .flatMap((one) => one.rows)
    .sort((a, b) => Math.abs(b.error) - Math.abs(a.error))
    .slice(0, count);
  return [
    '| row | size | measured | predicted | naive error | expected error |',
    '|---|--:|--:|--:|--:|--:|',
    ...rows.map(({ measurement: m, predictedSeconds, naiveError, expectedError }) => {
      const naive = naiveError === undefined ? '–' : percent(Math.abs(naiveError));
      return (
        `| ${m.gpu}, ${m.op}, ${m.ranks} ranks (${m.source}:${m.line}) | ${formatBytes(m.bytes, 'binary')} | ` +
        `${formatSeconds(m.seconds)} | ${formatSeconds(predictedSeconds)} | ${naive} | ${percent(expectedError)} |`
      );
    }),
  ].join('\n');
}

/** Cases that miss a goal or lose to the naive predictor, in words. */
function misses(sizes: readonly LeftOut[], carried: readonly LeftOut[]): string {
  const lines: string[] = [];
  for (const { name, summary } of sizes) {
    const large = name.includes('and up');
    const [median, tail] = large ? [0.03, 0.12] : [0.05, Infinity];
    if (summary.medianAbsoluteError >= median)
      lines.push(`${name}: median ${percent(summary.medianAbsoluteError)}, wanted under ${percent(median)}.`);
    if (summary.p90AbsoluteError >= tail)
      lines.push(
        `${name}: 90th percentile ${percent(summary.p90AbsoluteError)}, wanted under ${percent(tail)} (naive: ` +
          `${percent(summary.naiveP90AbsoluteError)}).`,
      );
  }
  for (const { name, summary } of [...sizes, ...carried]) {
    if (summary.p90AbsoluteError >= summary.naiveP90AbsoluteError)
      lines.push(
        `${name}: loses to the naive predictor at the 90th percentile, ${percent(summary.p90AbsoluteError)} ` +
          `against ${percent(summary.naiveP90AbsoluteError)}.`,
      );
    if (summary.medianAbsoluteError > summary.naiveMedianAbsoluteError)
      lines.push(
        `${name}: loses to the naive predictor at the median, ${percent(summary.medianAbsoluteError)} against ` +
          `${percent(summary.naiveMedianAbsoluteError)}.`,
      );
  }
  return lines.length === 0
    ? '- Nothing on this page misses a goal or loses to the naive predictor.'
    : lines.map((line) => `- ${line}`).join('\n');
}

/** The case with the worst tail, in words. */
function worstOf(cases: readonly LeftOut[]): string {
  const [worst] = [...cases].sort((a, b) => b.summary.p90AbsoluteError - a.summary.p90AbsoluteError);
  if (worst === undefined) throw new Error('no cases');
  return `${worst.name}, 90th percentile ${percent(worst.summary.p90AbsoluteError)}`;
}

function worthTable({ families }: RuleWorth): string {
  return [
    '| family | rows | 90th percentile, straight lines | numbers set on the other families | as it is |',
    '|---|--:|--:|--:|--:|',
    ...families.map(
      ({ name, rows, straightLines, setElsewhere, asSet }) =>
        `| ${name} | ${rows} | ${percent(straightLines)} | ${percent(setElsewhere)} | ${percent(asSet)} |`,
    ),
  ].join('\n');
}

function noiseTable(cases: readonly Noise[]): string {
  return [
    '| the same thing twice | rows | median difference | 90th percentile |',
    '|---|--:|--:|--:|',
    ...cases.map(({ name, rows, median, p90 }) => `| ${name} | ${rows} | ${percent(median)} | ${percent(p90)} |`),
  ].join('\n');
}

function testbedTable(curves: readonly TestbedCurve[]): string {
  const sizes = [2 ** 20, 2 ** 24, 2 ** 28];
  return [
    `| bus bandwidth (low – high) | ${sizes.map((bytes) => formatBytes(bytes, 'binary')).join(' | ')} |`,
    `|---|${sizes.map(() => '--:').join('|')}|`,
    ...curves.map(({ name, points }) => {
      const cells = sizes.map((bytes) => {
        const point = points.find((p) => p.bytes === bytes);
        if (point === undefined) throw new Error(`${name} was not drawn at ${bytes} bytes`);
        return `${formatBandwidth(point.expected)} (${formatBandwidth(point.low)} – ${formatBandwidth(point.high)})`;
      });
      return `| ${name} | ${cells.join(' | ')} |`;
    }),
  ].join('\n');
}

const sizes = [
  ...sizesLeftOut('inside a node', inside, 0),
  ...sizesLeftOut('inside a node', inside, 1),
  ...sizesLeftOut('logs', logs, 0),
  ...sizesLeftOut('logs', logs, 1),
  ...sizesLeftOut('all together', [...inside, ...logs], 0),
  ...sizesLeftOut('all together', [...inside, ...logs], 1),
];
const ranks = ranksLeftOut(inside);
const collectives = collectivesLeftOut(inside);
const gpus = gpusLeftOut(inside);
const curves = testbedCurves(inside);
const insideSizes = sizes.slice(0, 4);
const worth = ruleWorth([...inside, ...logs]);

const page = `# How good predictions are

Written by \`npm run docs:accuracy\`. First prices without a calibration: kernels, collectives, MoE layers and steps; \
then what a calibration predicts of collectives that it left out. Errors are |predicted / measured − 1|, signed where \
they have a sign. A naive predictor stands beside every figure.

${pricesPage()}
${estimatePage()}
${memoryAccuracy()}
# Collectives with a calibration

Everything measured here was **measured by others**: NCCL collectives inside one node on \
${new Set(inside.map((m) => m.gpu)).size} GPUs (${inside.length} rows) and the results of 19 nccl-tests logs \
(${logs.length} rows). The figures are in \`packages/core/src/cost/calibration/fixtures/\`, sources in the first \
lines of each file. Part of them is left out, predicted from the rest by \`monta calibrate\` and compared as \`monta \
validate\` does. Errors are |predicted / measured − 1|; nothing is averaged before. The **naive** predictor stands \
beside every figure: straight lines in log-log between points; where a series was not measured, bus bandwidth of the \
nearest rank count, another collective, or (in proportion to the links) another GPU.

A prediction says what error to expect. "Within the expected error" is the share of rows that kept to it. It is a \
typical error, no bound, so about half of the rows should keep to it; far more is timid, far less is boastful.

## Sizes left out

![Median and tail by case](accuracy-cases.svg)

${table(sizes)}

![90th percentile of the error by size](accuracy-sizes.svg)

Between two sizes four times apart the curve goes through one more point in the middle, which the segments on either \
side of the gap give: they tell on which side of it NCCL changed its protocol \
(\`packages/core/src/cost/calibration/middle.ts\`). How far that holds beyond these machines: of the ${worth.rows} \
rows left out from 1 MiB, straight lines have a 90th percentile of ${percent(worth.straightLines)}, the rule \
${percent(worth.asSet)}, and with its five numbers each as they are, half or twice as large, \
${percent(worth.bestNeighbour)} to ${percent(worth.worstNeighbour)} in ${worth.neighbours} combinations. With the \
combination that was best on all other families, each family for itself, it is ${percent(worth.setElsewhere)}. The \
form of the rule, though, was found looking at all of them.

${worthTable(worth)}

![all_gather over 4 B200: every second size, and the curve through it](accuracy-jump.svg)

## Noise

Nothing can be predicted better than it repeats:

${noiseTable([...placesApart(logs), ...relativesApart(inside)])}

## Rank counts left out

Machines measured with 2, 4 and 8 GPUs; all rows of one count are taken away.

${table(ranks)}

![Predicted over measured, 4 ranks from 2 and 8](accuracy-ranks.svg)

## Collectives left out

All rows of one collective are taken away from one family of GPUs at a time.

${table(collectives)}

## GPUs left out

Only families that were measured on more than one GPU can tell. The three here have the same links, so the prediction \
is the mean of the other two, and the error is that by which machines of one kind differ (see Noise). The naive \
predictor takes the first relative in the file, B200, which happens to lie between the other two; with the other \
relative it would have been as far off as the table of noise says. Which of them is nearest nothing tells beforehand.

${table(gpus)}

## Where the model is wrong

${misses(sizes, [...ranks, ...collectives, ...gpus])}

Series with the worst tails when every second size is left out:

${worstTable(insideSizes, 8)}

Single rows that are farthest off:

${worstRows(insideSizes, 8)}

![L40S with 8 ranks: measured points and the curve through them](accuracy-worst.svg)

- **PCIe boxes with 8 GPUs** (L40S, RTX PRO 6000): neighbouring sizes differ by tens of per cent up and down. No \
curve through every second point sees that, and the naive one does not either.
- **Protocol changes**: where NCCL goes from LL to LL128 to Simple, time jumps by up to twice. The rule above finds \
the side on most NVLink machines; where it does not, the row is off by the whole jump, and below 1 MiB it is not tried.
- **Disturbed rows** up to 128 KiB (all_to_all on H100 takes 16 µs at single sizes, 7 µs around them): they are left \
out of the fit with a warning, and stay in these errors.
- **Carrying over** is several times worse than interpolating. The worst of each kind: ${worstOf(ranks)}; \
${worstOf(collectives)} (all_to_all has no ring).
- **Several nodes**: no published table here has two rank counts across nodes on one cluster, so carrying between \
node counts is not tested.

## The paper's testbed

16 A800 in two nodes. No table of such a machine was found. Inside a node: the A100's measured curves, their \
bandwidth part slowed by the ratio of the NVLinks (600 to 400 GB/s, both directions), latency unchanged. Between the \
nodes the paper does not say how many NICs there were, so that stays open; each count uses fractions of the nominal \
bandwidth that SimAI published for two nodes. The band is what carrying to a GPU of other links adds, and across \
nodes the spread of one fabric with and without tuning. All of it is **derived**, nothing on these machines was \
measured.

![Bus bandwidth of the testbed with its bounds](accuracy-testbed.svg)

${testbedTable(curves)}
`;

const folder = fileURLToPath(new URL('../../../../docs', import.meta.url));
mkdirSync(folder, { recursive: true });
const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
write('accuracy.md', page);
write(
  'accuracy-cases.svg',
  barChart({
    title: '90th percentile of the error, parts of published measurements left out',
    value: { label: '90th percentile of |predicted / measured − 1|', format: formatPercent },
    series: ['fitted', 'naive'],
    rows: [...sizes.slice(0, 2), ...sizes.slice(8, 10), ...ranks, ...collectives].map(({ name, summary }) => ({
      name: name.replace(', 1st, 3rd, 5th … size fitted', ''),
      values: [summary.p90AbsoluteError, summary.naiveP90AbsoluteError],
    })),
  }),
);
const bySize = errorsBySize(insideSizes.flatMap(({ rows }) => rows));
write(
  'accuracy-sizes.svg',
  lineChart({
    title: '90th percentile of the error at each size left out, collectives inside a node',
    x: { label: 'total buffer', scale: 'log', format: (bytes) => formatBytes(bytes), domain: [512, 2 ** 29] },
    y: { label: '90th percentile of the error', format: formatPercent },
    series: [
      { name: 'fitted', points: bySize.map(({ bytes, ours }) => [bytes, ours]), dots: true },
      { name: 'naive', points: bySize.map(({ bytes, naive }) => [bytes, naive]), look: 'dashed', dots: true },
    ],
  }),
);
const four = ranks[0]?.rows ?? [];
write(
  'accuracy-ranks.svg',
  scatter({
    title: '4 ranks from 2 and 8',
    quantity: 'time',
    scale: 'log',
    format: formatSeconds,
    tolerance: 0.2,
    series: [...new Set(four.map((row) => row.measurement.gpu))].map((gpu) => ({
      name: gpu,
      points: four
        .filter((row) => row.measurement.gpu === gpu)
        .map(({ measurement: m, predictedSeconds }) => ({
          measured: m.seconds,
          predicted: predictedSeconds,
          name: `${gpu}, ${m.op}, ${formatBytes(m.bytes, 'binary')}`,
        })),
    })),
    height: 560,
  }),
);
/** Dots only: a gap after each point keeps the line from being drawn. */
const dots = (points: readonly (readonly [number, number])[]): [number, number][] =>
  points.flatMap(([x, y]) => [
    [x, y],
    [x, Number.NaN],
  ]);
write(
  'accuracy-jump.svg',
  lineChart({
    title: 'all_gather over 4 B200, fitted at every second size',
    subtitle:
      'NCCL changes its protocol between 4 and 8 MB. Dots: measured; solid: curve; dashed: straight lines in log-log',
    x: { label: 'total buffer', scale: 'log', format: (bytes) => formatBytes(bytes) },
    y: { label: 'bus bandwidth', scale: 'log', format: formatBandwidth },
    series: ([0, 1] as const).flatMap((half, colour) => {
      const { fitted, curve, naive } = jumpFitted(inside, half);
      return [
        {
          name: half === 0 ? 'one half of the sizes' : 'the other half',
          colour,
          points: curve.map(([x, y]): [number, number] => [x, y]),
        },
        { name: '', colour, look: 'dashed' as const, points: naive.map(([x, y]): [number, number] => [x, y]) },
        { name: '', colour, dots: true, points: dots(fitted) },
      ];
    }),
    height: 420,
  }),
);
const [worst] = fitPlots(fitCalibration(inside.filter((m) => m.gpu === 'L40S' && m.ranks === 8)).fits);
if (worst === undefined) throw new Error('the measurements of L40S with 8 ranks are gone');
write('accuracy-worst.svg', worst.svg);
write(
  'accuracy-testbed.svg',
  lineChart({
    title: 'Two nodes of 8 A800: derived bus bandwidth and its bounds',
    subtitle: 'solid: expected; faint: fastest and slowest that the sources allow',
    x: { label: 'total buffer', scale: 'log', format: (bytes) => formatBytes(bytes) },
    y: { label: 'bus bandwidth', scale: 'log', format: formatBandwidth },
    series: curves.flatMap(({ name, points }, colour) => [
      { name, colour, points: points.map((p): [number, number] => [p.bytes, p.expected]) },
      { name: '', colour, look: 'faint' as const, points: points.map((p): [number, number] => [p.bytes, p.low]) },
      { name: '', colour, look: 'faint' as const, points: points.map((p): [number, number] => [p.bytes, p.high]) },
    ]),
    height: 440,
  }),
);
