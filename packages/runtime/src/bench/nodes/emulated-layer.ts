/** One layer over an emulated network, to scale: the ground is what probes of this machine tell, then a contest. */
import { availableParallelism } from 'node:os';
import type { Cluster, DispatchVariant, EmulationScale, MoeShape, RecordedRouting, Routing } from '@monta/core';
import { InputError, maxOf } from '@monta/core/units';
import { placedOn, worldSize } from '@monta/core/layout';
import { dtypeBytes, halvesName } from '@monta/core/schedule';
import { costModel, hostInputs } from '@monta/core/cost';
import { chooseDispatch, dispatchVariants, emulationScale, layerPasses, probedStrategies } from '@monta/core/plan';
import { measureInTurns } from '../../execute/measure-dispatch.js';
import { samplePicks } from '../../execute/sample-picks.js';
import { emulatingLauncher } from '../../launch/index.js';
import { probeDispatchKernels } from '../../probe/dispatch-kernels.js';
import { readHost } from '../../probe/dispatch-predict.js';
import { measureLayer } from './bench-layer.js';
import type { ContestFigures } from './decide.js';
import { strategiesOfKernels, type Ground } from './ground.js';

export interface EmulatedLayerRequest {
  readonly cluster: Cluster;
  readonly name: string;
  /** At full size, in the model's type. */
  readonly shape: MoeShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly chunkCounts: readonly number[];
  /** Runs of ways that are tried, and of ways near the fastest that count. */
  readonly trialRuns: number;
  readonly finalRuns: number;
  /** What all runs may take on the emulated clock, seconds, about. */
  readonly seconds: number;
  /** Bytes a second that the machine's mover carries (`probeMover`). */
  readonly moverBytesPerSecond: number;
  /** Relative error of predictions about a common factor, as other layers showed it. */
  readonly modelError: number;
  readonly onPhase?: (what: string) => void;
  readonly signal?: AbortSignal;
}

export interface EmulatedLayer {
  readonly scale: EmulationScale;
  readonly ground: Ground;
  readonly figures: ContestFigures;
}

/**
 * Packets far smaller than messages share ports as fluids would: in messages of 3 kB, packets of 1 kB make a skewed
 * exchange up to a third longer. The mover makes up for so much lateness, seconds.
 */
const contestScheduler = { packetBytes: 512, catchUpSeconds: 0.05 };
/** Share of what the mover can carry that the emulation asks of it: the machine's own work is then small beside it. */
const moverShare = 0.01;
/** What was slower than the fastest by more than these shares is not run again, or not to the end. */
const [onceShare, finalShare] = [0.5, 0.15];
/** Share of the time that the first run of all ways takes: the others of the near ones take the rest. */
const firstRuns = 0.4;
/** Bytes that alone take so many times what the fastest should take in one piece are not sent. */
const surelySlower = 1.25;
/** What a way takes in both passes, on average at most, seconds: longer ones tell no more. */
const longestWay = 0.8;
/** Runs of programs that move next to nothing: warm, and timed in turns. */
const tiny = { warmUps: 2, turns: 3 };

/** Placed on its cluster, with what every token picks. */
type RecordedLayer = EmulatedLayerRequest & { readonly routing: RecordedRouting };

/** A pair of halves whose bytes alone take longer than the fastest takes. */
interface Slower {
  readonly name: string;
  /** Both passes at full size, of its bytes on the busiest port. */
  readonly boundSeconds: number;
}

/**
 * Measures a layer. Rejects with `InputError` for what cannot be priced, with `RankFailure` when a rank fails. Ways
 * whose bytes alone should take longer than the fastest are not run; where the fastest turns out to be slower than
 * that, all are run.
 */
export async function benchEmulatedLayer(request: EmulatedLayerRequest): Promise<EmulatedLayer> {
  const full: MoeShape = { ...request.shape, layout: placedOn(request.shape.layout, request.cluster) };
  const { cluster, routing, seed, chunkCounts } = request;
  // How many tokens are run does not depend on time: a draw of these is what all that follows is about.
  const [most] = dispatchVariants(full, [maxOf(chunkCounts)]);
  const tokens = { cluster, shape: full, routing, seed, variants: [most], roundSeconds: 1, bytesPerSecond: 1 };
  const layer = { ...request, shape: full, routing: recordedDraw(emulationScale(tokens).shape, routing, seed) };
  const { variants, slower } = distinctVariants(layer);
  const few = await measureVariants(
    layer,
    variants.filter(({ name }) => slower.every((one) => one.name !== name)),
  );
  const best = few.figures.best.seconds / few.scale.timeScale;
  return slower.every(({ boundSeconds }) => boundSeconds > best) ? few : await measureVariants(layer, variants);
}

async function measureVariants(request: RecordedLayer, variants: readonly DispatchVariant[]): Promise<EmulatedLayer> {
  const { cluster, name, shape: full, routing, seed, chunkCounts, onPhase = () => undefined, signal } = request;
  const scale = emulationScale({
    cluster,
    shape: full,
    routing,
    seed,
    variants,
    roundSeconds: Math.min(request.seconds * firstRuns, longestWay * variants.length),
    bytesPerSecond: request.moverBytesPerSecond * moverShare,
  });
  const { shape } = scale;
  onPhase('timing kernels and what ranks add');
  const ground = await emulatedGround(request, { scale, variants });
  const mebibytes = (shape.tokens * shape.topK * shape.hiddenSize * dtypeBytes[shape.dtype]) / 2 ** 20;
  const only = [...new Set(variants.map((variant) => variant.name))];
  const figures = await measureLayer({
    ground,
    named: { name, shape, mebibytes, routing, seed, chunkCounts, only, keepFixed: false },
    rules: { trialRuns: request.trialRuns, finalRuns: request.finalRuns, finalShare, onceShare },
    onPhase,
    ...(signal === undefined ? {} : { signal }),
  });
  return { scale, ground, figures };
}

/** One pair of halves for each program that the layout allows, in all chunk counts; and which of them are slower. */
function distinctVariants({ cluster, shape, routing, seed, chunkCounts }: RecordedLayer): {
  readonly variants: DispatchVariant[];
  readonly slower: readonly Slower[];
} {
  const device = { ...cluster.device, memoryBytesPerSecond: Number.MAX_VALUE };
  const model = costModel(device, { inputs: hostInputs(0) });
  const workload = { cluster, shape, routing, seed, model, scope: 'dispatch' } as const;
  const choice = chooseDispatch(workload, { chunkCounts: [1], draws: 1 });
  if (!choice.known) throw new InputError('this cannot be priced', { expected: choice.missing.join('; ') });
  const names = new Set(choice.candidates.map(({ strategy }) => halvesName(strategy)));
  return {
    variants: dispatchVariants(shape, chunkCounts).filter((variant) => names.has(variant.name)),
    slower: choice.candidates
      .map(({ strategy, forward, backward }) => ({
        name: halvesName(strategy),
        boundSeconds: forward.boundSeconds + backward.boundSeconds,
      }))
      .filter(({ boundSeconds }) => boundSeconds > choice.best.seconds * surelySlower),
  };
}

/** Links as emulated; kernels as timed on a rank alone, and what ranks add, read off programs without bytes. */
async function emulatedGround(
  { routing, seed, moverBytesPerSecond, modelError, signal }: RecordedLayer,
  { scale, variants }: { readonly scale: EmulationScale; readonly variants: readonly DispatchVariant[] },
): Promise<Ground> {
  const { shape, seen, emulated, timeScale } = scale;
  const launcher = emulatingLauncher({ cluster: emulated, timeScale, scheduler: contestScheduler });
  // The same in one piece and in many: sizes that tell a kernel's rate from its overhead.
  const halves = strategiesOfKernels(
    shape,
    variants.map(({ strategy }) => strategy),
  ).map(({ dispatch, combine }) => halvesName({ dispatch, combine }));
  const strategies = probedStrategies(variants.filter((one) => halves.includes(one.name)));
  const kernels = await probeDispatchKernels({ shape, strategies, routing, seed }, signal);
  const nothing: MoeShape = { ...shape, tokens: shape.layout.tp, hiddenSize: 1 };
  const job = { shape: nothing, passes: layerPasses, routing: uniform, seed, repetitions: 1, trace: true } as const;
  const probes = await measureInTurns(
    strategies.map((strategy) => ({ job: { ...job, strategy, warmUps: tiny.warmUps }, turns: tiny.turns })),
    { launcher, ...(signal === undefined ? {} : { signal }) },
  );
  const hostCores = {
    cores: availableParallelism(),
    ranksPerHost: worldSize(shape.layout),
    movers: { threads: 1, bytesPerSecond: moverBytesPerSecond },
  };
  return { launcher, cluster: seen, probe: readHost(probes.flat(), seen, { hostCores, kernels }), modelError };
}

const uniform: Routing = { kind: 'uniform' };

/** A draw of the routing as a recording, so that what is planned for is what is run. */
function recordedDraw(shape: MoeShape, routing: Routing, seed: number): RecordedRouting {
  const { tokens, topK, experts, layout } = shape;
  const { tp, dp } = layout;
  if (tokens % tp !== 0) throw new RangeError(`${tokens} tokens are no whole number for each of ${tp} ranks`);
  const ofSlice = (tokens / tp) * topK;
  const choices = Array.from({ length: dp }, (_, replica) => samplePicks(shape, routing, seed, replica).ids).flatMap(
    (ids) => Array.from({ length: tp }, (_, slice) => ids.slice(slice * ofSlice, (slice + 1) * ofSlice)),
  );
  const counts = choices.map((ids) => {
    const rows = Array.from({ length: experts }, () => 0);
    for (const id of ids) rows[id] += 1;
    return rows;
  });
  return { kind: 'recorded', experts, topK, counts, choices };
}
