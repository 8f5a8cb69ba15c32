/** The part of the GPU page about two cards: one host as two nodes, and one node. */
import type { GpuReport } from '@monta/runtime/bench/cuda';
import { maxOf, median, minOf, quantile } from '@monta/core';
import { multicastText } from './gpu-page.js';
import { markdownTable } from './markdown-table.js';

type Nodes = NonNullable<GpuReport['nodes']>;
type Arrangement = NonNullable<Nodes['between']>;
type Figures = Arrangement['strategies'][number];
type Choice = Arrangement['choices'][number];
type PassFigure = Figures['passes'][number];

const mebibyte = 2 ** 20;
/** A plan that takes this much more than the fastest is good. */
const close = 1.05;

const number = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : '–');
const ms = (seconds: number): string => number(1e3 * seconds, seconds < 0.1 ? 2 : 1);
const ratio = (value: number): string => `${number(value, 2)}x`;
const percent = (share: number): string => `${number(100 * share, 1)} %`;
const gigabytes = (bytesPerSecond: number): string => `${number(bytesPerSecond / 1e9, 2)} GB/s`;

function calibrationText({ calibration }: Arrangement): string {
  if (calibration === undefined) return 'The calibration did not run.\n';
  const { links, measurements, lineRates, startSeconds, wakeSeconds, modelError, seconds } = calibration;
  const keyOf = ({ op, ranks, nodes, groups = 1 }: (typeof measurements)[number]): string =>
    [op, ranks, nodes, groups].join(' ');
  const rows = [...new Set(measurements.map(keyOf))].map((key) => {
    const points = measurements.filter((one) => keyOf(one) === key);
    const sorted = [...points].sort((a, b) => a.bytes - b.bytes);
    const [first] = sorted;
    const last = sorted.at(-1) ?? first;
    const { op, ranks, nodes, groups = 1 } = first;
    return [
      op,
      `${ranks} on ${nodes ?? '?'}`,
      String(groups),
      `${number(1e6 * first.seconds, 0)} us`,
      ...[1, 16].map((size) => ms(nearest(sorted, size * mebibyte).seconds)),
      number(last.bytes / mebibyte, 0),
      ms(last.seconds),
    ];
  });
  const rates = links.tiers.map(({ name }, tier) => `${name} ${gigabytes(lineRates[tier] ?? NaN)}`).join(', ');
  return `The calibration took ${number(seconds, 0)} s. Line rates of a rank, the most that anything reached in it: \
${rates}. The first collective of a pass starts ${number(1e6 * startSeconds, 0)} us after the last rank, a kernel \
${number(1e6 * wakeSeconds, 0)} us after the collective that it waits for. Predictions of the layers that kernels \
were timed in deviate by ${percent(modelError)} (standard deviation, about a common factor). All groups of a shape \
run at once. MiB count as in nccl-tests: the whole buffer of a rank.

${markdownTable(
  ['collective', 'ranks on nodes', 'groups', '1 KiB', 'about 1 MiB, ms', 'about 16 MiB, ms', 'largest, MiB', 'ms'],
  rows,
)}
`;
}

/** The point whose size is nearest, on a logarithmic scale. */
function nearest<Point extends { readonly bytes: number }>(points: readonly Point[], bytes: number): Point {
  const far = (one: Point): number => Math.abs(Math.log(one.bytes / bytes));
  return points.reduce((best, one) => (far(one) < far(best) ? one : best));
}

function exchangesText({ exchanges }: Arrangement): string {
  if (exchanges.length === 0) return '';
  const chunks = exchanges[0].ways.flatMap((way) => (way.strategy === 'sliced' ? [way.chunks] : []));
  const bySize = [...exchanges].sort((a, b) => a.bytes - b.bytes);
  const rows = bySize.map(({ bytes, ways, wrong }) => {
    const of = (strategy: string): number =>
      minOf(ways.flatMap((way) => (way.strategy === strategy ? [way.medianSeconds] : [])));
    const [duplicated, bare, best] = [of('duplicated'), of('all_to_all'), of('sliced')];
    return [
      number(bytes / mebibyte, 0),
      ms(duplicated),
      ms(bare),
      ...chunks.map((count) =>
        ms(ways.find((way) => way.strategy === 'sliced' && way.chunks === count)?.medianSeconds ?? NaN),
      ),
      ratio(duplicated / bare),
      ratio(duplicated / best),
      percent(bare / best),
      String(wrong),
    ];
  });
  const shares = exchanges.map((one) => reachedCeiling([one]));
  return `### Exchanges alone

The dispatch half without kernels, float32, ${exchanges[0].ways[0].seconds.length} runs of each in turns, medians, \
ms. The ceiling is \`duplicated\` over the bare AllToAll of the slice.

The best chunk count reaches ${percent(median(shares))} of the ceiling (median of the volumes; \
${percent(minOf(shares))} to ${percent(maxOf(shares))}).

${markdownTable(
  [
    'V, MiB',
    'duplicated',
    'AllToAll of the slice',
    ...chunks.map((count) => `sliced, ${count}`),
    'ceiling',
    'reached',
    'of the ceiling',
    'wrong elements',
  ],
  rows,
)}
`;
}

/** Passes of one strategy in the order of their chunk counts. */
const inOrder = (passes: readonly PassFigure[], pass: string): PassFigure[] =>
  passes.filter((one) => one.pass === pass).sort((a, b) => a.chunks - b.chunks);

function strategyRows({ passes, mebibytes, duplicated, bestFixed }: Figures): string[][] {
  const names = [...new Set(passes.map(({ name }) => name))];
  const cells = (ofPass: readonly PassFigure[]): string[] => [
    ofPass.map(({ medianSeconds }) => ms(medianSeconds)).join(' / '),
    ofPass.map(({ predictedSeconds = NaN }) => ms(predictedSeconds)).join(' / '),
    ms(ofPass[0]?.boundSeconds ?? NaN),
  ];
  const ways = names.map((name) => {
    const own = passes.filter((one) => one.name === name);
    const [forward, backward] = [inOrder(own, 'forward'), inOrder(own, 'backward')];
    const best = [forward, backward].reduce(
      (sum, ofPass) => sum + minOf(ofPass.map(({ medianSeconds }) => medianSeconds)),
      0,
    );
    return { name, forward, backward, best };
  });
  return ways
    .sort((a, b) => a.best - b.best)
    .map(({ name, forward, backward, best }) => [
      String(mebibytes),
      name,
      ...cells(forward),
      ...cells(backward),
      duplicated === undefined ? '–' : ratio(duplicated.seconds / best),
      ratio(bestFixed.seconds / best),
    ]);
}

function strategiesText({ strategies }: Arrangement): string {
  if (strategies.length === 0) return '';
  const chunks = inOrder(
    strategies[0].passes.filter(({ name }) => name === strategies[0].passes[0].name),
    'forward',
  );
  const counts = chunks.map((one) => one.chunks).join(' / ');
  const errors = strategies.flatMap(({ passes }) =>
    passes.flatMap(({ predictedSeconds, medianSeconds }) =>
      predictedSeconds === undefined ? [] : [Math.abs(predictedSeconds / medianSeconds - 1)],
    ),
  );
  // The volume has a column of its own.
  const layers = new Set(strategies.map(({ name, mebibytes }) => name.replace(`, ${mebibytes} MiB`, '')));
  return `### Every strategy and chunk count

${[...layers].join('; ')}; ${strategies[0].dtype}. Dispatch and combine with their kernels, medians in ms, in \
${counts} chunks. *predicted*: from the calibration alone. *bound*: the bytes of the busiest port over its line rate.

Ratios are of both passes, each in its best chunk count, to \`duplicated\` in one piece and to the best fixed \
strategy. Strategies that run the same operations stand once. Over ${errors.length} passes predictions are off by \
${percent(median(errors))} (median), ${percent(quantile(errors, 0.9))} (nine in ten).

${markdownTable(
  [
    'V, MiB',
    'strategy',
    'forward',
    'predicted',
    'bound',
    'backward',
    'predicted',
    'bound',
    'duplicated / it',
    'best fixed / it',
  ],
  [...strategies].sort((a, b) => a.mebibytes - b.mebibytes).flatMap(strategyRows),
  2,
)}
`;
}

/** How far choices are from the fastest. */
export interface ChoiceSummary {
  readonly cases: number;
  /** Shares of cases in which the choice is the fastest or within 5 %. */
  readonly predicted: number;
  readonly plan: number;
}

function choiceSummary(choices: readonly Choice[]): ChoiceSummary {
  const good = (of: 'predicted' | 'plan'): number =>
    choices.filter((one) => one[of].seconds <= close * one.best.seconds).length / choices.length;
  return { cases: choices.length, predicted: good('predicted'), plan: good('plan') };
}

/** How good the plan's choice is, with a row for every layer. */
export function choicesText({ strategies, choices, runs }: Arrangement): string {
  const all: readonly Choice[] = [...choices, ...strategies];
  if (all.length === 0) return '';
  const { cases, predicted, plan } = choiceSummary(all);
  const kinds = new Set(all.map(({ best }) => best.label.split(',')[0]));
  const tried = all.filter((one) => one.tried > 0).length;
  const medians = runs === undefined ? '' : `: medians of ${runs.final} runs, ${runs.trial} a trial`;
  return `${cases} layers, all ways in turns${medians}. Predictions alone take the fastest way that was measured, or \
one within 5 % of it, in ${percent(predicted)}; with trials, as \`train\` makes them where predictions are close (in \
${tried} of the layers), in ${percent(plan)}. Trials are runs of their own, before those that count. \
${kinds.size} kinds of strategy are the fastest somewhere.

${markdownTable(
  [
    'layer',
    'predicted',
    'ms',
    'after trials',
    'ms',
    'fastest measured',
    'ms',
    'over it',
    'duplicated / plan',
    'best fixed / plan',
  ],
  all.map((one) => [
    one.name,
    one.predicted.label,
    ms(one.predicted.seconds),
    one.tried === 0 ? 'the same' : one.plan.label,
    ms(one.plan.seconds),
    one.best.label,
    ms(one.best.seconds),
    percent(one.plan.seconds / one.best.seconds - 1),
    one.duplicated === undefined ? '–' : ratio(one.duplicated.seconds / one.plan.seconds),
    ratio(one.bestFixed.seconds / one.plan.seconds),
  ]),
)}
`;
}

/** What the work on several cards is measured by. */
const bars = { ceiling: 0.97, cases: 40, choices: 0.9, overBound: 1.1 };

/** Of the exchanges: the bare AllToAll of the slice over the best sliced one, median of the volumes. */
function reachedCeiling(exchanges: Arrangement['exchanges']): number {
  return median(
    exchanges.map(({ ways }) => {
      const of = (strategy: string): number =>
        minOf(ways.flatMap((way) => (way.strategy === strategy ? [way.medianSeconds] : [])));
      return of('all_to_all') / of('sliced');
    }),
  );
}

/** The plan's way over the bytes of its busiest port at the line rate, both passes, median of the volumes. */
function overBound({ strategies }: Arrangement): number {
  return median(
    strategies.map(({ plan, passes }) => {
      // Labels have names of their own for chunks (`pipelined`): a way is known by the passes that it is the sum of.
      const [forward, backward] = ['forward', 'backward'].map((pass) => passes.filter((one) => one.pass === pass));
      const bounds = forward.flatMap((out) =>
        backward
          .filter(({ name, medianSeconds }) => name === out.name && out.medianSeconds + medianSeconds === plan.seconds)
          .map(({ boundSeconds = NaN }) => (out.boundSeconds ?? NaN) + boundSeconds),
      );
      return plan.seconds / (bounds[0] ?? NaN);
    }),
  );
}

/** `alone`: of runs for choices, on as many cards. */
function barsText(one: Arrangement, alone: readonly Arrangement[]): string {
  const choiceRow = (what: string, choices: readonly Choice[]): string[] => {
    const { cases, plan } = choiceSummary(choices);
    return [
      `the plan's choice is the fastest or within 5 %${what}`,
      `${percent(bars.choices).replace('.0', '')} of ${bars.cases} layers`,
      `${percent(plan)} of ${cases}`,
      met(cases >= bars.cases && plan >= bars.choices),
    ];
  };
  const reached = one.exchanges.length === 0 ? NaN : reachedCeiling(one.exchanges);
  const over = one.strategies.length === 0 ? NaN : overBound(one);
  const met = (holds: boolean): string => (holds ? 'yes' : 'no');
  return `### The bars

${markdownTable(
  ['bar', 'asked', 'measured', 'met'],
  [
    [
      'the best exchange reaches its ceiling',
      percent(bars.ceiling).replace('.0', ''),
      percent(reached),
      met(reached >= bars.ceiling),
    ],
    choiceRow('', [...one.choices, ...one.strategies]),
    ...alone.map(({ choices }, place) =>
      choiceRow(`, in ${place === 0 ? 'a run of its own' : 'another'} (below)`, choices),
    ),
    ["the plan's choice over its bound", `at most ${ratio(bars.overBound)}`, ratio(over), met(over <= bars.overBound)],
  ],
)}
`;
}

function stepText({ steps }: Arrangement): string {
  if (steps === undefined) return '';
  const { layers, tokens, ways, peakBytes, plannedBytes } = steps;
  const [choice] = ways;
  const duplicated = ways.find(({ label }) => label.startsWith('duplicated'));
  const gain = duplicated === undefined ? NaN : 1 - choice.medianSeconds / duplicated.medianSeconds;
  return `### A training step

${layers} layers of the 2x70B (hidden 8192, two experts of 28,672, 64 heads on 8, sequence 8192, ${tokens} tokens a \
step, bf16, vocabulary of bytes), all there is of a step: attention, experts, gradients, their reduction, clipping \
and AdamW. A rank took ${number(peakBytes / 2 ** 30, 1)} GiB at the most; ${number(plannedBytes / 2 ** 30, 1)} were \
planned. The choice takes ${percent(gain)} off the step of \`duplicated\`. The paper says 13 % for its 2x70B on 16 \
A800; these nodes are slower beside their cards.

${markdownTable(
  ['way', 'ms', 'runs', 'duplicated / it'],
  ways.map(({ label, medianSeconds, seconds }) => [
    label,
    ms(medianSeconds),
    seconds.map(ms).join(', '),
    duplicated === undefined ? '–' : ratio(duplicated.medianSeconds / medianSeconds),
  ]),
)}
`;
}

function arrangementText(one: Arrangement, bars = ''): string {
  const choices = choicesText(one);
  const problems = one.problems.map((text) => `- Did not run: ${text.split('\n', 1)[0]}`).join('\n');
  return [
    bars,
    calibrationText(one),
    exchangesText(one),
    strategiesText(one),
    choices === '' ? '' : `### The choice\n\n${choices}`,
    stepText(one),
    problems === '' ? '' : `${problems}\n`,
  ]
    .filter((text) => text !== '')
    .join('\n');
}

/**
 * The section, from a report of the part `nodes`. several: the page has a section of several cards too; choices: of
 * runs of their own.
 */
export function gpuNodesText(
  report: GpuReport,
  {
    file = 'gpu-nodes.json',
    several = false,
    choices = [],
  }: { readonly file?: string; readonly several?: boolean; readonly choices?: readonly Nodes[] } = {},
): string {
  const { card, driver = 'unknown', date, node, command, nodes, errors } = report;
  if (nodes === undefined) return '';
  const { cards, between, narrower = [], inside } = nodes;
  const one = cards === 1;
  const alone = choices.flatMap((run) => (run.cards === cards ? (run.between ?? []) : []));
  const error = errors?.nodes?.split('\n', 1)[0];
  const cut = error === undefined ? '' : `It did not run to its end: ${error}\n\n`;
  const how = one
    ? `Four ranks share the card through the multi-process service, TP=2 x EP=2 and others. NCCL takes each for a \
host of its own, so that all bytes go over the loopback's TCP, those of tensor parallelism too: there is one tier, \
and what slicing saves of the exchange a gather pays on the same line. What limits all ways is that line, on the \
host's cores; and the four ranks share the card's multiprocessors, of which each rank's collectives may take four. ${
        several
          ? 'Between cards, with NVLink inside a node, the section above was measured.'
          : 'A host with two cards was not there for this run: **between two cards, with NVLink inside a node, \
nothing was measured**. The same command does it there.'
      }`
    : `TP x EP=2 and others, as two nodes (${between?.ranks ?? 'not measured'}): NVLink inside a node, the loopback's \
TCP between. Both nodes are this one host, and each card serves a rank of either node, through the multi-process \
service.`;
  return `# ${one ? 'Ranks over NCCL on one GPU' : `On ${cards} GPUs`}

Written from \`docs/${file}\`. Every figure below is from one run:

${markdownTable(
  ['', ''],
  [
    ['cards', `${one ? 'one' : cards} ${card.name}${one ? '' : ' of one host'}, ${card.architecture}`],
    ['driver', driver],
    ['Node', node],
    ['NVLink multicast', multicastText(report)],
    ['date', date],
    ['command', `\`./run ${file} ${command.join(' ')}\` in the folder that \`npm run bundle:gpu\` writes`],
  ],
)}

${cut}## ${one ? 'Four hosts on one card' : 'Two nodes'}

${how}

${between === undefined ? 'Not measured.\n' : arrangementText(between, one ? '' : barsText(between, alone))}
${narrower.map((fewer) => `## The same as ${fewer.ranks}\n\n${arrangementText(fewer)}\n`).join('')}${
    inside === undefined
      ? ''
      : `## One node

EP over NVLink alone: ${inside.ranks}.

${arrangementText(inside)}`
  }`;
}
