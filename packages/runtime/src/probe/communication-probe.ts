/**
 * Measures what communication costs the ranks of a launcher, on dispatches of a layer's layout: some that move next to
 * nothing, and some of given volumes.
 */
import type { KernelRate, MoeShape, Strategy } from '@monta/core';
import { median } from '@monta/core/units';
import { dispatchProgram } from '@monta/core/schedule';
import type { FabricOptions } from '../comm/local/fabric.js';
import { measureInTurns, type DispatchMeasurement, type RepeatedJob } from '../execute/measure-dispatch.js';
import type { Launcher } from '../launch/index.js';
import {
  fitCommunicationCost,
  type CommunicationCost,
  type CommunicationGround,
  type TimedDispatch,
} from './communication-cost.js';
import { hostOverheads } from './dispatch-host.js';
import { probeDispatchKernels } from './dispatch-kernels.js';

export interface CommunicationProbe {
  readonly ground: CommunicationGround;
  /** Of the layer in question. dtype must be f32. */
  readonly shape: Omit<MoeShape, 'tokens'>;
  /** Few and many collectives at a time, or core time and delay cannot be told apart. */
  readonly strategies: readonly Strategy[];
  /**
   * Dispatched bytes of a replica, of the dispatches that tell what bytes between hosts cost; without any, that is not
   * asked.
   */
  readonly volumes?: readonly number[];
  /** Times that every dispatch is timed: so often in each of so many turns. */
  readonly turns: number;
  readonly repetitions: number;
  /** Runs of each before, not timed: code is compiled first. */
  readonly warmUps: number;
  /** Runs the ranks; default: threads of this process. */
  readonly launcher?: Launcher;
  /** Emulates the network. */
  readonly fabric?: FabricOptions;
  readonly signal?: AbortSignal;
}

export interface CommunicationFigures extends CommunicationCost {
  /** From a pass's start on the last rank until its first collective has all its members. */
  readonly startSeconds: number;
}

/** What the backward pass costs follows: it is made of the same collectives. */
const passes = ['forward'] as const;
const routing = { kind: 'uniform' } as const;
const seed = 1;
const float32Bytes = 4;
/** Elements of a row that a card moves at a time. */
const cardRow = 8;
/** Of each TP rank, so that most pairs of ranks have something to exchange. */
const tinyTokens = 4;

/**
 * Of its whole time, a dispatch takes at least this share after its start: on a busy machine the median start of all
 * may be longer than one of them.
 */
const leastShare = 0.1;

/** Runs the dispatches and fits the figures to them. Throws `InputError` when they cannot be priced. */
export async function probeCommunication(probe: CommunicationProbe): Promise<CommunicationFigures> {
  const { ground, shape, strategies, volumes = [], turns, repetitions, warmUps, launcher, fabric, signal } = probe;
  // A few rows of one element, or of what a card moves at a time: nothing but what the host adds.
  const tiny: MoeShape = {
    ...shape,
    tokens: tinyTokens * shape.layout.tp,
    hiddenSize: launcher?.device === 'cuda' ? cardRow : 1,
  };
  const shapes = [tiny, ...volumes.map((bytes) => ofVolume(shape, bytes))];
  const kernels: (ReadonlyMap<string, KernelRate> | undefined)[] = [undefined];
  for (const one of shapes.slice(1))
    kernels.push(await probeDispatchKernels({ shape: one, strategies, routing, seed }, signal));
  const repeated = shapes.flatMap((one) =>
    strategies.map((strategy): RepeatedJob => ({
      // Only times are asked for here; what they are of is checked where dispatches are measured.
      job: { shape: one, strategy, passes, routing, seed, warmUps, repetitions, trace: one === tiny, checked: false },
      turns,
    })),
  );
  const measured = await measureInTurns(repeated, {
    ...(launcher === undefined ? {} : { launcher }),
    ...(fabric === undefined ? {} : { fabric }),
    ...(signal === undefined ? {} : { signal }),
  });
  const startSeconds = median(measured.flat().flatMap((one) => (one.job.trace ? [startOf(one)] : [])));
  const timed = repeated.map(({ job: { shape: of, strategy } }, index): TimedDispatch => {
    const whole = median(measured[index].flatMap(({ seconds: all }) => all));
    const seconds = Math.max(whole - startSeconds, leastShare * whole);
    const rates = kernels[Math.floor(index / strategies.length)];
    return { shape: of, strategy, pass: passes[0], seconds, ...(rates === undefined ? {} : { kernels: rates }) };
  });
  return { ...fitCommunicationCost(timed, ground, { bytes: volumes.length > 0 }), startSeconds };
}

/** As many tokens as bring a replica's dispatched rows to so many bytes, a token for every rank at least. */
function ofVolume(shape: CommunicationProbe['shape'], bytes: number): MoeShape {
  const { tp } = shape.layout;
  const perRank = bytes / (shape.topK * shape.hiddenSize * float32Bytes * tp);
  return { ...shape, tokens: tp * Math.max(1, Math.round(perRank)) };
}

const startOf = ({ job: { shape, strategy }, spans }: DispatchMeasurement): number =>
  hostOverheads(dispatchProgram(shape, strategy, passes), spans, () => 0).startSeconds;
