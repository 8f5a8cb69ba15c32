/**
 * How far ratios of dispatchers' times are from published ones: every pair of dispatchers that somebody timed on the
 * same layer, transfer or step. Ratios are judged, since what a stack adds to all of them falls out.
 */
import { getCluster } from '../cluster/presets.js';
import type { Cluster } from '../cluster/cluster.js';
import { deviceCount } from '../cluster/ports.js';
import { communicationLibraries, costModel } from '../cost/index.js';
import { parseLayout, placedOn } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { dispatchProgram } from '../schedule/dispatch-only.js';
import { inChunks } from '../schedule/dispatchers/strategies.js';
import { fusedProgram } from '../schedule/fused.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import type { Program } from '../schedule/schedule.js';
import { moeLayerProgram } from '../schedule/step.js';
import { placeOf, simulate } from '../simulate/index.js';
import type { Span } from '../trace/index.js';
import { InputError } from '../units/errors.js';
import { maxOf, minOf } from '../units/index.js';
import { tableRows } from './measured-table.js';
import { routedBinding } from './workload.js';

/** By what anyone would rank them without looking: the newest first. */
const constantOrder = ['hybridep', 'deepep-v1', 'all_to_all'] as const;
type Dispatcher = (typeof constantOrder)[number];

const kinds = ['layer', 'transfer', 'step'] as const;
const precisions = ['bf16', 'fp8', 'mixed'] as const;

export interface TimedDispatcher {
  readonly kind: (typeof kinds)[number];
  readonly source: string;
  readonly cluster: Cluster;
  /** As in the table. */
  readonly layout: string;
  readonly precision: (typeof precisions)[number];
  readonly dispatcher: Dispatcher;
  /** `forward`, `backward`, `dispatch`, `combine` or `step`. */
  readonly what: string;
  /** Seconds, up to a factor that pairs share. */
  readonly time: number;
}

function wordOf<Word extends string>(words: readonly Word[], text: string, fileName: string): Word {
  const found = words.find((one) => one === text);
  if (found === undefined) throw new InputError(`"${text}"`, { file: fileName, expected: words.join(', ') });
  return found;
}

/** Reads `fixtures/dispatchers.csv`. Throws `InputError`. */
export const readTimedDispatchers = (text: string, fileName: string): TimedDispatcher[] =>
  tableRows(text, fileName).map((row) => {
    const kind = wordOf(kinds, row.text('kind'), fileName);
    const value = row.number('value');
    return {
      kind,
      source: row.text('source'),
      cluster: getCluster(row.text('cluster')),
      layout: row.text('layout'),
      precision: wordOf(precisions, row.text('precision'), fileName),
      dispatcher: wordOf(constantOrder, row.text('dispatcher'), fileName),
      what: row.text('what'),
      time: kind === 'step' ? 1 / value : value * 1e-3,
    };
  });

export interface DispatcherPair {
  readonly first: TimedDispatcher;
  readonly second: TimedDispatcher;
  /** Time of the first over that of the second. */
  readonly published: number;
  readonly predicted: number;
  /** Predicted over published, minus 1. */
  readonly error: number;
  /** Whether the constant order puts the published faster one first; undefined for two transfers of one dispatcher. */
  readonly constantRight?: boolean;
}

/** Two that are compared: other dispatchers at the same, or combine and dispatch of one. */
function comparable(a: TimedDispatcher, b: TimedDispatcher): boolean {
  const same = a.kind === b.kind && a.cluster.name === b.cluster.name && a.precision === b.precision;
  return same && (a.dispatcher === b.dispatcher ? a.kind === 'transfer' && a.what !== b.what : a.what === b.what);
}

/** Every pair of rows that can be compared, in their order, with its prediction. */
export function dispatcherPairs(timed: readonly TimedDispatcher[]): DispatcherPair[] {
  const predictions = timed.map(predicted);
  const rank = ({ dispatcher }: TimedDispatcher): number => constantOrder.indexOf(dispatcher);
  return timed.flatMap((first, a) =>
    timed.flatMap((second, b) => {
      if (b <= a || !comparable(first, second)) return [];
      const published = first.time / second.time;
      const ratio = (predictions[a] ?? NaN) / (predictions[b] ?? NaN);
      const constantRight = published > 1 === rank(first) > rank(second);
      return {
        first,
        second,
        published,
        predicted: ratio,
        error: ratio / published - 1,
        ...(first.dispatcher === second.dispatcher ? {} : { constantRight }),
      };
    }),
  );
}

/** The layer that Megatron-Core's test times, and the rows that DeepEP's benchmark sends. */
const proxy = { tokens: 4096, hiddenSize: 7168, expertFfn: 2048, topK: 8, dtype: 'bf16' } as const;
const proxyExperts = { layer: 32, transfer: 256 } as const;
/** Multiprocessors of the transfers in the table. */
const timedMultiprocessors = 24;

function shapeOf({ kind, cluster, layout: text, dispatcher }: TimedDispatcher): MoeShape {
  const layout = placedOn(parseLayout(text, deviceCount(cluster)), cluster);
  if (kind !== 'step')
    return {
      ...proxy,
      experts: proxyExperts[kind],
      layout,
      ...(kind === 'transfer' && dispatcher !== 'all_to_all' ? { payload: 'fp8' as const } : {}),
    };
  const { hiddenSize, expertFfn, experts, topK } = getModel('gpt-oss-120b');
  return { tokens: 4096, hiddenSize, expertFfn, experts, topK, layout, dtype: 'bf16', biases: true };
}

/** The cluster as a library sees it whose multiprocessors move less than a port carries. */
function pacedBy(cluster: Cluster, bytesPerSecond: number): Cluster {
  const tiers = cluster.tiers.map((tier, index) =>
    index > 0 ? tier : { ...tier, bytesPerSecond: Math.min(tier.bytesPerSecond, bytesPerSecond / (tier.reached ?? 1)) },
  );
  return { ...cluster, tiers };
}

/** Seconds of what was timed. */
function predicted(row: TimedDispatcher): number {
  const { kind, dispatcher, precision, what } = row;
  const library = communicationLibraries.find(({ name }) => name === dispatcher);
  const held = kind === 'transfer' ? timedMultiprocessors : (library?.multiprocessors ?? 0);
  const cluster = library?.bytesPerSecond ? pacedBy(row.cluster, held * library.bytesPerSecond) : row.cluster;
  const shape = shapeOf(row);
  const strategy =
    library === undefined
      ? inChunks({ dispatch: 'sliced', combine: 'scattered' }, 1)
      : inChunks({ dispatch: 'deduplicated', combine: 'deduplicated' }, 1);
  const whole = kind === 'transfer' ? dispatchProgram(shape, strategy, ['forward']) : moeLayerProgram(shape, strategy);
  const spans = spansOf({
    cluster,
    shape,
    program: fusedProgram(whole, library?.fuses ?? []),
    inputs: {
      ...(precision === 'fp8' ? { computeType: 'fp8' as const } : {}),
      ...(library === undefined ? {} : { multiprocessorsPerCollective: held }),
    },
  });
  if (kind === 'transfer') {
    const task = library === undefined ? 'all_to_all' : what === 'dispatch' ? 'node' : 'return.node';
    return maxOf(spans.filter((span) => span.task === task).map(({ ready, end }) => end - ready));
  }
  return what === 'step' ? passSeconds(spans, 'forward') + passSeconds(spans, 'backward') : passSeconds(spans, what);
}

/** Router to combined output, or all of the backward. */
function passSeconds(spans: readonly Span[], pass: string): number {
  const own = spans.filter(
    ({ template, task }) => template === `moe.${pass}` && task !== 'residual' && task !== 'norm',
  );
  return maxOf(own.map(({ end }) => end)) - minOf(own.map(({ ready }) => ready));
}

function spansOf({
  cluster,
  shape,
  program,
  inputs,
}: {
  readonly cluster: Cluster;
  readonly shape: MoeShape;
  readonly program: Program;
  readonly inputs: NonNullable<Parameters<typeof costModel>[1]>['inputs'];
}): readonly Span[] {
  const simulation = simulate({
    place: placeOf(shape.layout, cluster),
    programs: [program],
    bindings: [routedBinding(shape, { kind: 'uniform' }, 1)],
    model: costModel(cluster.device, { inputs }),
  });
  if (!simulation.known) throw new RangeError(`no price: ${simulation.missing.join(', ')}`);
  return simulation.trace.spans;
}
