/** `monta bench dispatch`: measures every way to dispatch, beside prediction and bound. */
import type { Cluster, MoeShape } from '@monta/core';
import { InputError } from '@monta/core/units';
import { formatLayout, parseLayout, worldSize } from '@monta/core/layout';
import { dtypeBytes, inChunks, moeShape, namedStrategies } from '@monta/core/schedule';
import { benchLayerDispatch, cardsCluster, ncclLauncher, rowTolerance, type Launcher } from '@monta/runtime';
import { renderCards } from '../bench/cards-report.js';
import { benchDispatch, type DispatchBench } from '../bench/dispatch-bench.js';
import { describeBench, renderBench } from '../bench/dispatch-report.js';
import { givenKinds, overlapOf } from '../config/overlap-config.js';
import { payloadOf } from '../config/payload-config.js';
import { ncclRanksPerNode, onStartedRanks, refuseCopies } from '../config/started-run.js';
import type { MontaContext } from '../context.js';
import { Interrupted } from '../errors.js';
import { loadEmulatedCurves, loadCluster, loadModel } from '../inputs.js';
import type { BenchDispatchFlags } from './bench.flags.js';
import { clusterUnder, layoutFlag, stepOf } from './layer-inputs.js';

/** What is measured, at full size, and how people call it. */
export interface BenchSubject {
  readonly cluster: Cluster;
  readonly shape: MoeShape;
  readonly name: string;
}

/** The cards of this host, or the cluster that is emulated. */
function clusterOf({ backend, ranksPerNode, cluster, layout }: BenchDispatchFlags): Cluster {
  if (backend !== 'nccl') {
    if (cluster !== undefined) return clusterUnder(layout, loadCluster(cluster));
    throw new InputError('--cluster is missing', { expected: 'the cluster to emulate, or --backend nccl' });
  }
  if (cluster !== undefined)
    throw new InputError('the network between cards is real, it is not emulated', {
      file: '--cluster',
      expected: '--backend nccl without it',
    });
  return cardsCluster(worldSize(parseLayout(layout)), ncclRanksPerNode(ranksPerNode));
}

/** What a dispatch alone cannot hold, and why. */
const ofSteps = [
  ['overlapReductions', '--overlap-reductions', 'gradients are reduced once in a training step'],
  ['overlapPasses', '--overlap-passes', 'two micro-batches pass each other in a training step'],
] as const;

/** Kinds of overlap whose computation a dispatch can hold. */
const computed = ['experts', 'weightGradients', 'shared'] as const;

/**
 * What runs beside what, and what is computed so that it can: experts, their weight gradients and shared experts where
 * their flag is given, on or off. Throws `InputError` for kinds that need a training step, and on cards.
 */
function overlapIn(flags: BenchDispatchFlags): Pick<MoeShape, 'overlap' | 'computes'> {
  for (const [key, flag, why] of ofSteps)
    if (flags[key] !== undefined)
      throw new InputError(`${why}: a dispatch alone has nothing to run beside`, {
        file: flag,
        expected: 'the kinds of a layer: --overlap-chunks, -experts, -shared, -weight-gradients',
        hint: `monta train ${flag} and monta train --no-${flag.slice(2)} measure steps with it and without`,
      });
  const { layer } = givenKinds(flags);
  const computes = computed.filter((kind) => layer.includes(kind));
  if (computes.length > 0 && flags.backend === 'nccl')
    throw new InputError('what is computed beside a dispatch is measured on threads', {
      file: '--backend',
      expected: 'local, with --cluster',
      hint: 'monta train --backend nccl runs whole layers on cards, with the same flags',
    });
  const { overlap } = overlapOf(flags);
  return { ...(overlap === undefined ? {} : { overlap }), ...(computes.length === 0 ? {} : { computes }) };
}

/** The shape with them. Throws `InputError` where no expert is visited by every token. */
function overlapped(shape: MoeShape, flags: BenchDispatchFlags, name: string): MoeShape {
  const kinds = overlapIn(flags);
  if (kinds.computes?.includes('shared') === true && shape.shared === undefined)
    throw new InputError(`${name} has no experts that every token visits`, {
      file: '--overlap-shared',
      expected: 'a model with shared experts, like --model deepseek-v3',
    });
  return { ...shape, ...kinds };
}

/** Reads cluster, layout, and the shape of a model's layer or of four flags. Throws `InputError`. */
function benchSubject(flags: BenchDispatchFlags): BenchSubject {
  const cluster = clusterOf(flags);
  const { tokens, hidden, experts, topk, sequence, sequences } = flags;
  const given = { '--tokens': tokens, '--hidden': hidden, '--experts': experts, '--topk': topk };
  if (flags.model !== undefined) {
    const extra = Object.entries(given).find(([, value]) => value !== undefined);
    if (extra) throw new InputError(`--model and ${extra[0]}`, { expected: 'a model, or a shape by four flags' });
    const model = loadModel(flags.model);
    const layout = layoutFlag(flags.layout, cluster, { model });
    const strategy = inChunks(namedStrategies.scattered, 1);
    const usual = { sequence, sequences, dtype: 'bf16', microBatches: 1, ...payloadOf(flags) } as const;
    const shape = moeShape(stepOf(model, layout, usual, strategy));
    return { cluster, shape: overlapped(shape, flags, model.name), name: model.name };
  }
  const missing = Object.entries(given).flatMap(([flag, value]) => (value === undefined ? [flag] : []));
  if (tokens === undefined || hidden === undefined || experts === undefined || topk === undefined) {
    throw new InputError('there is nothing to dispatch', { expected: `--model, or ${missing.join(', ')} too` });
  }
  const layout = layoutFlag(flags.layout, cluster);
  const least = Object.entries(given).find(([, value]) => value === 0);
  if (least) throw new InputError(`${least[0]} is 0`, { expected: 'at least 1' });
  if (topk > experts)
    throw new InputError(`top-${topk} of ${experts} experts`, { expected: `--topk up to ${experts}` });
  if (experts % layout.ep !== 0) {
    throw new InputError(`${experts} experts over ep=${layout.ep}`, { expected: 'as many on every rank' });
  }
  const name = `${experts} experts, top-${topk}, hidden ${hidden}`;
  const shape: MoeShape = {
    tokens,
    hiddenSize: hidden,
    expertFfn: hidden,
    experts,
    topK: topk,
    layout,
    dtype: 'bf16',
    ...payloadOf(flags),
  };
  return { cluster, shape: overlapped(shape, flags, name), name };
}

/** Over NCCL: the layer at its full size. */
async function benchCards(
  { console }: MontaContext,
  flags: BenchDispatchFlags,
  launcher: Launcher = ncclLauncher(flags.ranksPerNode === undefined ? {} : { ranksPerNode: flags.ranksPerNode }),
): Promise<void> {
  if (flags.emulate !== 'auto' || flags.calibration !== undefined)
    throw new InputError('the network between cards is real, it is not emulated', {
      expected: '--backend nccl without --emulate and --calibration',
    });
  const { cluster, shape, name } = benchSubject(flags);
  const { routing, seed, only, chunks: chunkCounts, rounds } = flags;
  const mebibytes = (shape.tokens * shape.topK * shape.hiddenSize * dtypeBytes[shape.dtype]) / 2 ** 20;
  const bench = await benchLayerDispatch({
    launcher,
    cluster,
    named: { name, shape, mebibytes, routing, seed, chunkCounts, ...(only === undefined ? {} : { only }) },
    rounds,
    onPhase: (what) => console.note(what),
  });
  const { deviation } = bench.figures;
  if (!(deviation < rowTolerance.bf16))
    throw new Error(`a token's result differs from its closed form by ${deviation}`);
  const { figures, ground } = bench;
  if (flags.json) {
    const { lineRates, modelError, seconds } = ground;
    console.json({
      backend: 'nccl',
      cluster: cluster.name,
      ...figures,
      lineRates,
      modelError,
      calibrationSeconds: seconds,
    });
  } else console.print(renderCards(bench, console.style));
}

/** Runs the command. Throws `InputError` for bad input; a failed rank or a wrong result fails the run. */
export async function runBenchDispatch(context: MontaContext, flags: BenchDispatchFlags): Promise<void> {
  if (flags.backend === 'nccl')
    return await onStartedRanks({ ...flags, backend: 'nccl' }, (launcher) => benchCards(context, flags, launcher));
  refuseCopies(process.env);
  const { console } = context;
  const subject = benchSubject(flags);
  if (flags.rounds < 1) throw new InputError('--rounds is 0', { expected: 'at least 1' });
  if (flags.seconds < 1) throw new InputError('--seconds is 0', { expected: 'at least 1' });
  if (flags.calibration !== undefined && flags.emulate === 'off') {
    throw new InputError('--calibration with --emulate off', {
      expected: 'an emulated network: at memory speed the links of a cluster say nothing',
    });
  }
  const curves =
    flags.calibration === undefined ? undefined : loadEmulatedCurves(flags.calibration, subject.cluster, console);
  const { chunks: chunkCounts, routing, seed, only, emulate, rounds, seconds } = flags;
  const stop = new AbortController();
  const interrupted = (): void => stop.abort(new Interrupted());
  process.once('SIGINT', interrupted);
  let result: DispatchBench;
  try {
    result = await benchDispatch({
      ...subject,
      chunkCounts,
      routing,
      seed,
      emulate,
      rounds,
      seconds,
      ...(only === undefined ? {} : { only }),
      ...(curves === undefined ? {} : { curves }),
      onPhase: (what) => console.note(what),
      signal: stop.signal,
    });
  } finally {
    process.off('SIGINT', interrupted);
  }
  const wrong = result.cases.find(({ deviation }) => !(deviation < 1e-4));
  if (wrong) {
    throw new Error(
      `${wrong.name} in ${wrong.chunks} chunks, ${wrong.pass}: a token's result differs from its closed form by ` +
        `${wrong.deviation}`,
    );
  }
  if (flags.json)
    console.json({
      subject: subject.name,
      layout: formatLayout(subject.shape.layout),
      ...describeBench(subject, result),
    });
  else console.print(renderBench(subject, result, console.style));
}
