/** `monta simulate`: the timeline of a layer, its dispatch, or a step. */
import type { Cluster, CostModel, Layout, MoeModel, Program, StepShape, Strategy, Traffic } from '@monta/core';
import { InputError } from '@monta/core/units';
import { deviceCount } from '@monta/core/cluster';
import { formatLayout, worldSize } from '@monta/core/layout';
import {
  dispatchProgram,
  formatDispatch,
  inChunks,
  moeBackward,
  moeForward,
  moeShape,
  namedStrategies,
  pipelineStep,
  unsupportedStrategy,
} from '@monta/core/schedule';
import { fabricOf, traffic } from '@monta/core/traffic';
import { collectiveAlgorithm, describeCostModel } from '@monta/core/cost';
import { perfettoPieces } from '@monta/core/trace';
import { placeOf, simulate } from '@monta/core/simulate';
import {
  alternativeEtps,
  chooseDispatch,
  leftOutOf,
  predictStep,
  routedBinding,
  simulateRun,
  simulationError,
  unpricedInStep,
} from '@monta/core/plan';
import type { MontaContext } from '../context.js';
import { writeFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { costsOf, withLatencies } from './cost-flags.js';
import { clusterUnder, layoutFlag, stepOf } from './layer-inputs.js';
import { renderSimulation } from './simulate-text.js';
import type { AskedSimulateFlags, SimulateFlags } from './simulate.flags.js';
import type { SimulatedTimeline } from './simulated-timeline.js';

const unchosen: Strategy = inChunks(namedStrategies.scattered, 1);
/** A step of more layers is shown with as many layers as are needed to see one follow another. */
const [layersInFull, layersShown] = [6, 2];

/** By stage of the pipeline. */
function programsOf(of: SimulateFlags['of'], step: StepShape): Program[] {
  const shape = moeShape(step);
  const { strategy } = step;
  if (of === 'step') return pipelineStep(step);
  if (of === 'dispatch') return [dispatchProgram(shape, strategy, ['forward', 'backward'])];
  const [forward, backward] = [moeForward(shape, strategy), moeBackward(shape, strategy)];
  const templates = { [forward.name]: forward, [backward.name]: backward };
  const nodes = [
    { template: forward.name, layer: 0, microBatch: 0, pass: 'forward', after: [] },
    { template: backward.name, layer: 0, microBatch: 0, pass: 'backward', after: [0] },
  ] as const;
  return [{ stage: 0, templates, nodes }];
}

/** With fewer layers; each stage of a pipeline keeps one. */
function shallow(model: MoeModel, { pp }: Layout): MoeModel {
  const layers = Math.max(layersShown, pp);
  // layers with experts first: they are what is looked at
  const moeLayers = [...model.moeLayers].sort((a, b) => Number(b) - Number(a)).slice(0, layers);
  return { ...model, layers, moeLayers };
}

/** Bytes that ranks send over each tier, over all stages. */
function sentBy(stages: readonly Traffic[]): readonly Float64Array[] {
  const [first, ...others] = stages.map(({ sent }) => sent);
  return (first ?? []).map((row, rank) =>
    row.map((bytes, tier) => others.reduce((sum, sent) => sum + (sent[rank]?.[tier] ?? 0), bytes)),
  );
}

const unpriced = (flags: SimulateFlags, missing: readonly string[]): InputError =>
  new InputError('this cannot be priced', { file: flags.cluster, expected: missing.join('; ') });

/** The step that the flags ask for, with the dispatcher that was chosen. Throws `InputError`. */
function askedStep(flags: SimulateFlags, cluster: Cluster, model: CostModel): StepShape {
  const moe = loadModel(flags.model);
  const layout = layoutFlag(flags.layout, cluster, { model: moe, pipeline: flags.of === 'step' });
  const unpricedParts = flags.of === 'step' ? unpricedInStep(moe) : [];
  if (unpricedParts.length > 0)
    throw new InputError(`the step's program lacks ${unpricedParts.join('; ')}`, {
      file: flags.model,
      expected: 'a model whose step is computed whole',
      hint: 'its MoE layer can be simulated: --of layer, or --of dispatch',
    });
  const { routing, seed, dispatch } = flags;
  if (dispatch !== 'auto') return stepOf(moe, layout, flags, dispatch);
  const step = stepOf(moe, layout, flags, unchosen);
  const scope = flags.of === 'dispatch' ? 'dispatch' : 'layer';
  const shape = moeShape(step);
  const options = { expertTensorParallel: alternativeEtps(shape) };
  const choice = chooseDispatch({ cluster, shape, routing, seed, model, scope }, options);
  if (!choice.known) throw unpriced(flags, choice.missing);
  return { ...step, layout: choice.best.layout, strategy: choice.best.strategy };
}

/** Throws `InputError` for a dispatcher that the layout refuses, and for a rank that there is not. */
function checkStep(step: StepShape, { rank }: SimulateFlags): void {
  const refusal = unsupportedStrategy(step.strategy, step);
  if (refusal !== undefined)
    throw new InputError(`${formatDispatch(step.strategy)} cannot run with ${formatLayout(step.layout)}: ${refusal}`, {
      file: '--dispatch',
      expected: 'a way to dispatch that serves the layout',
      hint: '--dispatch auto takes the fastest that does',
    });
  const ranks = worldSize(step.layout);
  if (rank >= ranks) throw new InputError(`there is no rank ${rank}`, { expected: `0 to ${ranks - 1}` });
}

/** Simulates what the flags ask for. Throws `InputError`. */
function simulateTimeline(flags: SimulateFlags, console: Console): SimulatedTimeline {
  const { routing, seed } = flags;
  const cluster = withLatencies(clusterUnder(flags.layout, loadCluster(flags.cluster, console)), flags.latency);
  const model = costsOf(flags, cluster);
  const step = askedStep(flags, cluster, model);
  checkStep(step, flags);
  const { layout, model: moe } = step;
  const deep = flags.of === 'step' && moe.layers > Math.max(layersInFull, layout.pp);
  const shown = deep ? { ...step, model: shallow(moe, layout) } : step;
  const programs = programsOf(flags.of, shown);
  const binding = routedBinding(moeShape(step), routing, seed);
  const place = placeOf(layout, cluster);
  const ranks = flags.exact ? 'all' : 'alike';
  const simulation = simulate({ place, programs, bindings: [binding], model, ranks });
  const program = programs[place.stageOf(flags.rank)];
  if (program === undefined) throw new RangeError(`rank ${flags.rank} has no program`);
  if (!simulation.known) throw unpriced(flags, simulation.missing);
  const fabric = fabricOf(cluster);
  const stages = programs.map((one) =>
    traffic({
      program: one,
      layout,
      cluster,
      binding,
      algorithm: (name, members, load) => collectiveAlgorithm({ model, fabric, name, members, load }),
    }),
  );
  const workload = { cluster, step, routing, seed, model };
  const run = layout.pp > 1 ? simulateRun({ ...workload, ...(flags.exact ? { depth: 'whole' } : {}) }) : undefined;
  const whole = layout.pp > 1 ? run : deep ? predictStep(workload) : undefined;
  return {
    cluster,
    step: shown,
    chosen: flags.dispatch === 'auto',
    model,
    program,
    simulation,
    sent: sentBy(stages),
    ...(run?.known ? { run } : {}),
    ...(whole?.known ? { wholeStep: whole } : {}),
  };
}

function describe(flags: SimulateFlags, result: SimulatedTimeline) {
  const { cluster, step, simulation, sent, wholeStep, run, model } = result;
  const { summary, trace } = simulation;
  return {
    kind: 'simulated',
    of: flags.of,
    cluster: cluster.name,
    devices: deviceCount(cluster),
    part: cluster.part ?? null,
    model: step.model.name,
    layout: formatLayout(step.layout, cluster),
    dispatch: formatDispatch(step.strategy),
    chosen: result.chosen,
    sequence: step.sequence,
    sequences: step.sequences,
    routing: flags.routing,
    dtype: flags.dtype,
    seconds: summary.makespanSeconds,
    layersShown: flags.of === 'step' ? step.model.layers : null,
    wholeStep: wholeStep ? { seconds: wholeStep.seconds, tokensPerSecond: wholeStep.tokensPerSecond } : null,
    pipeline: run
      ? { bubbleShare: run.bubbleShare, stages: run.stages, updateSeconds: run.updateSeconds, simulated: run.depth }
      : null,
    basis: summary.basis,
    expectedError: simulationError(summary),
    collectives: summary.collectives,
    rank: flags.rank,
    operations: trace.spans.filter(({ rank }) => rank === flags.rank),
    lanes: summary.times.ranks,
    hiddenShare: summary.times.hiddenShare,
    tiers: cluster.tiers.map(({ name }, tier) => ({
      name,
      bytesPerRank: sent.map((row) => row[tier] ?? 0),
    })),
    ports: summary.ports,
    held: summary.held,
    path: summary.path,
    inputs: describeCostModel(model),
    leftOut: [...summary.leftOut, ...leftOutOf(flags.of, step.model)],
    microBatches: step.microBatches,
    capacityFactor: step.capacityFactor ?? null,
    payload: step.payload ?? null,
  };
}

/** What is simulated, by flags or by a plan. Throws `InputError` where it is not said, or said twice. */
async function resolvedFlags(asked: AskedSimulateFlags): Promise<SimulateFlags> {
  const { model, cluster, layout, plan } = asked;
  if (plan === undefined) {
    if (model !== undefined && cluster !== undefined && layout !== undefined)
      return { ...asked, model, cluster, layout };
    throw new InputError('it is not said what is simulated', {
      expected: '--model, --cluster and --layout, or --plan',
    });
  }
  if ((model ?? cluster ?? layout) !== undefined)
    throw new InputError('the plan says what is simulated', {
      file: '--plan',
      expected: 'either a plan, or --model, --cluster and --layout',
    });
  const { plannedSubject } = await import('../config/planned-run.js');
  return { ...asked, ...plannedSubject(plan) };
}

/** Runs the command. Throws `InputError` for bad input and for files that cannot be written. */
export async function runSimulate({ console }: MontaContext, asked: AskedSimulateFlags): Promise<void> {
  const flags = await resolvedFlags(asked);
  const result = simulateTimeline(flags, console);
  const { trace } = result.simulation;
  if (flags.perfetto !== undefined) writeFile(flags.perfetto, perfettoPieces([trace]));
  if (flags.svg !== undefined) {
    const { timelineSvg } = await import('@monta/views');
    const title = `${result.step.model.name}, ${formatDispatch(result.step.strategy)}`;
    writeFile(flags.svg, timelineSvg([{ title, trace }], { ranks: [flags.rank] }));
  }
  if (flags.json) {
    console.json(describe(flags, result));
    return;
  }
  console.print(renderSimulation(flags, result, console));
  if (flags.perfetto !== undefined) console.note(`${flags.perfetto}: open in ui.perfetto.dev`);
}
