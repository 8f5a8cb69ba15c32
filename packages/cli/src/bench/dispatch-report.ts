/** The dispatch benchmark for people and for scripts. */
import { type DispatchCase } from '@monta/runtime';
import { cpus } from 'node:os';
import type { Cluster, MoeShape, PickedVariant } from '@monta/core';
import {
  formatBandwidth,
  formatBytes,
  formatInteger,
  formatPercent,
  formatSeconds,
  maxOf,
  median,
  minOf,
} from '@monta/core/units';
import { formatLayout } from '@monta/core/layout';
import { chunksText, dtypeBytes } from '@monta/core/schedule';
import { layerPasses } from '@monta/core/plan';
import { renderFacts, renderTable } from '../output/table.js';
import type { Style } from '../output/style.js';
import type { DispatchBench } from './dispatch-bench.js';

type Variant = PickedVariant<DispatchCase>;

const computedNames: Readonly<Record<NonNullable<MoeShape['computes']>[number], string>> = {
  experts: "experts' products",
  weightGradients: "gradients of experts' weights",
  shared: 'experts that every token visits',
};

/** What is computed, each beside what travels or apart from it. */
const computedText = ({ computes = [], overlap = {} }: MoeShape): string =>
  computes
    .map((kind) => `${computedNames[kind]} ${overlap[kind] === false ? 'apart from' : 'beside'} what travels`)
    .join(', ');

/** Inner widths of what is computed. */
const widthsText = ({ computes = [], expertFfn, shared }: MoeShape): string =>
  [
    ...(computes.some((kind) => kind !== 'shared') ? [`experts ${formatInteger(expertFfn)}`] : []),
    ...(computes.includes('shared') ? [`shared experts ${formatInteger(shared?.ffn ?? 0)}`] : []),
  ].join(', ');

interface Subject {
  readonly cluster: Cluster;
  readonly shape: MoeShape;
  readonly name: string;
}

/** Error within which a prediction, and distance within which a bound, counts as met. */
const tolerance = 0.15;

export interface ErrorSummary {
  readonly cases: number;
  /** Shares of cases. */
  readonly within: number;
  readonly medianError: number;
  /** Of largest magnitude. */
  readonly worstError: number;
}

/** How well predictions met measurements, given their errors. */
export function summarizeErrors(errors: readonly number[]): ErrorSummary {
  const byMagnitude = [...errors].sort((a, b) => Math.abs(b) - Math.abs(a));
  const within = errors.filter((error) => Math.abs(error) <= tolerance).length;
  return {
    cases: errors.length,
    within: errors.length > 0 ? within / errors.length : 0,
    medianError: errors.length > 0 ? median(errors.map(Math.abs)) : 0,
    worstError: byMagnitude[0] ?? 0,
  };
}

const signed = (share: number): string => `${share < 0 ? '−' : '+'}${formatInteger(Math.abs(share) * 100)} %`;
/** Milliseconds without their unit. */
const ms = (seconds: number): string => (seconds * 1e3).toFixed(seconds < 0.1 ? 1 : 0);
const ratio = (value: number): string => `${value.toFixed(value >= 9.95 ? 0 : 2)}x`;
const spread = ({ measured, medianSeconds }: DispatchCase): string =>
  measured.length > 1 ? `${formatInteger((100 * (maxOf(measured) - minOf(measured))) / medianSeconds)} %` : '-';

const both = (variant: Variant, value: (one: DispatchCase) => number): number =>
  value(variant.forward) + value(variant.backward);

/** Median seconds of another over those of the choice, both passes. */
const against = (choice: Variant, other: Variant, value: (one: DispatchCase) => number): number =>
  both(other, value) / both(choice, value);

const variantLabel = ({ name, forward, backward }: Variant): string =>
  `${name}${chunksText({ forward: forward.chunks, backward: backward.chunks })}`;

function boundText(one: DispatchCase): string {
  const above = one.fastestSeconds / one.boundSeconds - 1;
  const head =
    `${one.pass} ${formatSeconds(one.fastestSeconds)}, ${signed(above)} of ` +
    `${formatSeconds(one.boundSeconds)} that its bytes need on the busiest port`;
  if (above <= tolerance) return `${head}: at line rate`;
  const parts = [
    ...one.held,
    {
      name: 'starting and waking ranks',
      seconds: one.predictedSeconds - one.held.reduce((sum, { seconds }) => sum + seconds, 0),
    },
  ].filter(({ seconds }) => seconds > 0.02 * one.predictedSeconds);
  const path = parts.map(({ name, seconds }) => `${name} ${formatSeconds(seconds)}`);
  return `${head}; the predicted critical path: ${path.join(', ')}`;
}

const passCells = (one: DispatchCase, chosen: boolean): string[] => [
  `${ms(one.medianSeconds)}${chosen ? ' ◂' : ''}`,
  spread(one),
  ms(one.predictedSeconds),
  signed(one.error),
];
const passColumns = (name: string) =>
  [`${name} ms`, 'spread', 'predicted', 'error'].map((text, index) => ({
    header: text,
    align: index === 0 ? ('number' as const) : ('right' as const),
  }));

function tableOf(result: DispatchBench): string {
  const { cases, choice, duplicated } = result;
  const rows = new Map<string, { forward?: DispatchCase; backward?: DispatchCase }>();
  for (const one of cases) {
    const key = `${one.name} ${one.chunks}`;
    rows.set(key, { ...rows.get(key), [one.pass]: one });
  }
  const pairs = [...rows.values()].flatMap(({ forward, backward }) =>
    forward && backward ? [{ forward, backward }] : [],
  );
  pairs.sort(
    (a, b) => a.forward.medianSeconds + a.backward.medianSeconds - b.forward.medianSeconds - b.backward.medianSeconds,
  );
  const columns = [
    { header: 'strategy' },
    { header: 'chunks', align: 'right' as const },
    ...passColumns('forward'),
    ...passColumns('backward'),
    { header: 'bound', align: 'right' as const },
    ...choice.forward.bytes.map(({ name }) => ({ header: name, align: 'number' as const })),
    { header: 'vs duplicated', align: 'right' as const },
  ];
  return renderTable(
    columns,
    pairs.map(({ forward, backward }) => [
      forward.name,
      String(forward.chunks),
      ...passCells(forward, forward === choice.forward),
      ...passCells(backward, backward === choice.backward),
      [...new Set([ms(forward.boundSeconds), ms(backward.boundSeconds)])].join(' / '),
      ...forward.bytes.map(({ perRank }) => formatBytes(perRank)),
      duplicated
        ? ratio(both(duplicated, (one) => one.medianSeconds) / (forward.medianSeconds + backward.medianSeconds))
        : '-',
    ]),
  );
}

function scaleFacts({ cluster, shape }: Subject, result: DispatchBench): [string, string][] {
  const { scale, probe, emulated } = result;
  const here = scale.shape;
  const volume =
    `${formatInteger(here.tokens)} tokens x ${formatInteger(here.hiddenSize)} in float32 instead of ` +
    `${formatInteger(shape.tokens)} x ${formatInteger(shape.hiddenSize)} in ${shape.dtype}: ` +
    `1/${formatInteger(1 / scale.volumeShare)} of the bytes`;
  const facts: [string, string][] = [
    ...(cluster.part === undefined
      ? []
      : [['Devices', `${cluster.part.used}; the others are idle`] satisfies [string, string]]),
    [
      'Scale',
      emulated
        ? `EMULATED network: ${volume}, over 1/${formatInteger(1 / scale.volumeShare)} of every bandwidth; all ` +
          `times, latencies too, ${scale.timeScale < 1 ? 'shortened to' : 'stretched'} ` +
          `${scale.timeScale.toPrecision(3)}x`
        : `no emulation, bytes move at memory speed: ${volume}. Lines say how the cluster would be laid out, not ` +
          'how fast it is',
    ],
    [
      'Probes',
      `one mover ${formatBandwidth(result.moverBytesPerSecond)}; after a collective ` +
        `${formatSeconds(probe.delaySeconds)}, waking ranks ${formatSeconds(probe.wakeSeconds)}, starting all ` +
        `ranks ${formatSeconds(probe.startSeconds)}; ${probe.kernels.size} kernels timed alone`,
    ],
  ];
  if (scale.computeShare !== undefined)
    facts.push([
      'Computes',
      `${computedText(scale.shape)}; weights are zero, so that results keep their closed form\n` +
        `widths here: ${widthsText(scale.shape)}; products take about ` +
        `${formatPercent(Math.min(1, scale.computeShare))} ` +
        'of the share of time that they take on the cluster',
    ]);
  if (result.loadBefore > probe.hostCores.cores * 0.75) {
    facts.push([
      'Noise',
      `other work on this machine: load ${result.loadBefore.toFixed(1)} on ${probe.hostCores.cores} cores before ` +
        'the start; medians are then too long, spreads wide',
    ]);
  }
  if (emulated) {
    facts.push([
      'Fabric',
      `stood still for ${formatSeconds(result.lostSeconds)} of ${formatSeconds(result.jobSeconds)} for want of a ` +
        `processor (${formatPercent(result.lostSeconds / result.jobSeconds)})`,
    ]);
  }
  return facts;
}

const byMedian = (one: DispatchCase): number => one.medianSeconds;
const byFastest = (one: DispatchCase): number => one.fastestSeconds;
const say = ({ within, medianError, worstError }: ErrorSummary): string =>
  `${formatPercent(within)} of the cases within ${formatPercent(tolerance)}, typical error ` +
  `${formatPercent(medianError)}, worst ${signed(worstError)}`;

function resultFacts(result: DispatchBench): [string, string][] {
  const { choice, duplicated, bestFixed, cases } = result;
  const facts: [string, string][] = [['Choice', `${variantLabel(choice)} (◂), the planner's before measuring`]];
  const lines: string[] = [];
  if (duplicated) {
    lines.push(
      `${ratio(against(choice, duplicated, byMedian))} over duplicated by medians, ` +
        `${ratio(against(choice, duplicated, byFastest))} by the fastest runs, ` +
        `${ratio(both(duplicated, (one) => one.predictedSeconds) / both(choice, (one) => one.predictedSeconds))} ` +
        `predicted`,
    );
    const outward = [choice, duplicated].map(({ forward }) => forward.outwardSeconds ?? NaN);
    const predicted = [choice, duplicated].map(({ forward }) => forward.outwardPredictedSeconds ?? NaN);
    const [ours = NaN, theirs = NaN] = outward;
    const [oursPredicted = NaN, theirsPredicted = NaN] = predicted;
    lines.push(
      `${ratio(theirs / ours)} in AllToAll + AllGather alone (forward, ${formatSeconds(ours)} against ` +
        `${formatSeconds(theirs)}; fastest runs), ${ratio(theirsPredicted / oursPredicted)} predicted`,
    );
  }
  if (bestFixed) {
    lines.push(`${ratio(against(choice, bestFixed, byMedian))} over the best fixed, ${variantLabel(bestFixed)}`);
  }
  facts.push(['Saved', lines.join('\n')]);
  facts.push(['Bound', [choice.forward, choice.backward].map(boundText).join('\n')]);
  const median = summarizeErrors(cases.map(({ error }) => error));
  const fastest = summarizeErrors(cases.map(({ errorOfFastest }) => errorOfFastest));
  facts.push([
    'Prediction',
    `against medians: ${say(median)}\nagainst the fastest of ${cases[0]?.measured.length ?? 0}: ${say(fastest)}`,
  ]);
  facts.push([
    'Checked',
    `every token's result against its closed form, largest difference ` +
      maxOf(cases.map(({ deviation }) => deviation)).toExponential(1),
  ]);
  return facts;
}

/** The whole output. */
export function renderBench(subject: Subject, result: DispatchBench, style: Style): string {
  const { cluster, shape, name } = subject;
  const { emulated, ranks, probe } = result;
  const title =
    `${name} · ${cluster.name}${emulated ? ' (emulated)' : ''} · ${formatLayout(shape.layout)} · ` +
    `${ranks} ranks as threads on ${probe.hostCores.cores} cores`;
  return [
    style.bold(title),
    '',
    renderFacts(scaleFacts(subject, result), style),
    '',
    tableOf(result),
    `  forward, backward: median of ${result.cases[0]?.measured.length ?? 0}${emulated ? ', emulated' : ''}; ` +
      `spread: (slowest − fastest) / median; error: of the prediction, against the median;\n  bound: bytes of the ` +
      `busiest port over its line rate; bytes: sent by a rank forward, mean; ◂ the planner's choice`,
    '',
    renderFacts(resultFacts(result), style),
  ].join('\n');
}

const describeVariant = (one: Variant | undefined) =>
  one
    ? {
        name: one.name,
        chunks: { forward: one.forward.chunks, backward: one.backward.chunks },
        seconds: both(one, (c) => c.medianSeconds),
      }
    : null;

/** The JSON. Times are those that passed here; `scale` leads back to the cluster. */
export function describeBench({ cluster, shape }: Subject, result: DispatchBench): Record<string, unknown> {
  const { scale, probe, cases, choice, duplicated, bestFixed } = result;
  return {
    backend: 'embedded',
    emulated: result.emulated,
    cluster: cluster.name,
    part: cluster.part ?? null,
    ranks: result.ranks,
    fullSize: {
      tokens: shape.tokens,
      hiddenSize: shape.hiddenSize,
      dtype: shape.dtype,
      experts: shape.experts,
      topK: shape.topK,
    },
    scale: {
      volumeShare: scale.volumeShare,
      timeScale: result.emulated ? scale.timeScale : null,
      tokens: scale.shape.tokens,
      hiddenSize: scale.shape.hiddenSize,
      rowBytes: scale.shape.hiddenSize * dtypeBytes.f32,
      computes: scale.shape.computes ?? [],
      computeShare: scale.computeShare ?? null,
    },
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: probe.hostCores.cores, loadBefore: result.loadBefore },
    probe: { ...probe, kernels: Object.fromEntries(probe.kernels) },
    lostSeconds: result.lostSeconds,
    jobSeconds: result.jobSeconds,
    cases,
    choice: describeVariant(choice),
    duplicated: describeVariant(duplicated),
    bestFixed: describeVariant(bestFixed),
    ratios: {
      toDuplicated: duplicated ? against(choice, duplicated, (one) => one.medianSeconds) : null,
      toDuplicatedOutward:
        duplicated?.forward.outwardSeconds === undefined || choice.forward.outwardSeconds === undefined
          ? null
          : duplicated.forward.outwardSeconds / choice.forward.outwardSeconds,
      toBestFixed: bestFixed ? against(choice, bestFixed, (one) => one.medianSeconds) : null,
    },
    bound: Object.fromEntries(
      layerPasses.map((pass) => [
        pass,
        { seconds: choice[pass].boundSeconds, above: choice[pass].fastestSeconds / choice[pass].boundSeconds - 1 },
      ]),
    ),
    prediction: {
      ofMedians: summarizeErrors(cases.map(({ error }) => error)),
      ofFastest: summarizeErrors(cases.map(({ errorOfFastest }) => errorOfFastest)),
    },
  };
}
