/**
 * The most that a stage's passes hold, without compiling them one after another: what each layer keeps and needs
 * follows from its compiled templates, once for all layers of a kind; the order of the pipeline says how much of it is
 * there at a time.
 */
import { compile } from '../schedule/compile.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import { pipelineOrder, type PipelinePass } from '../schedule/pipeline-order.js';
import { streamAgain } from '../schedule/recompute.js';
import type { Program, Region, Template } from '../schedule/schedule.js';
import { stageChunks, type Chunk } from '../schedule/stages.js';
import type { StepShape } from '../schedule/step-shape.js';
import { memoryStep, stageProgram, timelineOptions, type MemorySetting } from './setting.js';
import { isTransient, memoryTimeline, type TimelineOptions } from './timeline.js';

/** What running a node of a template takes beyond what was there. */
export interface Cost {
  /** At its highest. */
  readonly peak: number;
  /** Behind it: what it keeps for the backward. */
  readonly kept: number;
}

const nothing: Cost = { peak: 0, kept: 0 };

/** Templates that start a micro-batch's stream, or its gradient. */
const starts: Readonly<Record<string, string>> = { 'embedding.forward': 'stream', 'head.backward': 'gradient' };

/** The regions that a template opens: its own, and what it keeps that no template before it has kept. */
function freshRegions({ name }: Template, templates: Program['templates']): (region: Region) => boolean {
  const block = name.slice(0, name.indexOf('.'));
  const before = new Set<string>();
  if (name.endsWith('.recompute')) {
    for (const { id, life } of templates[`${block}.forward`]?.regions ?? []) if (life === 'saved') before.add(id);
    if (block !== 'attention') before.add(streamAgain);
  }
  const keeps = !name.endsWith('.backward');
  return ({ id, life }) => life === 'layer' || starts[name] === id || (keeps && life === 'saved' && !before.has(id));
}

/** Bytes of the templates of a stage's passes. */
export interface LayerCosts {
  /** Of a template by name; nothing where there is no such template. */
  of(name: string): Cost;
  /** Of a region of the micro-batch, wherever it is declared. */
  shared(id: string): number;
}

/** Costs of all templates of a stage, by name. */
export class Costs implements LayerCosts {
  readonly #program: Program;
  readonly #options: TimelineOptions;
  readonly #known = new Map<string, Cost>();

  constructor(program: Program, options: TimelineOptions) {
    this.#program = program;
    this.#options = options;
  }

  of(name: string): Cost {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const template = this.#program.templates[name];
    const cost = template === undefined ? nothing : this.#cost(template);
    this.#known.set(name, cost);
    return cost;
  }

  #cost(template: Template): Cost {
    const fresh = freshRegions(template, this.#program.templates);
    const node = { template: template.name, layer: 0, microBatch: 0, pass: 'forward', after: [] } as const;
    const compiled = compile({ stage: 0, templates: { [template.name]: template }, nodes: [node] });
    const { peak } = memoryTimeline(compiled, { ...this.#options, counts: fresh });
    const kept = this.regions(template, (region) => region.life === 'saved' && fresh(region));
    return { peak: peak.bytes, kept };
  }

  /** Bytes of some regions of a template. */
  regions(template: Template | undefined, counts: (region: Region) => boolean): number {
    const { rowsOf } = this.#options;
    return (template?.regions ?? [])
      .filter((region) => isTransient(region) && counts(region))
      .reduce((sum, region) => {
        const instance = { region, layer: 0, microBatch: 0, node: 0, first: 0, last: 0, ends: [] };
        return sum + rowsOf(region.rows, instance) * region.columns * dtypeBytes[region.dtype];
      }, 0);
  }

  /** Bytes of a region of the micro-batch, wherever it is declared. */
  shared(id: string): number {
    const owner = Object.values(this.#program.templates).find(({ regions }) => regions.some((one) => one.id === id));
    return this.regions(owner, (region) => region.id === id);
  }
}

/** What one chunk's passes take. */
interface ChunkCost {
  /** Behind the forward, until the backward. */
  readonly held: number;
  readonly forwardPeak: number;
  /** Beyond what all micro-batches in flight hold, this one's included. */
  readonly backwardPeak: number;
}

function chunkCost(step: StepShape, { first, last, firstLayer, endLayer }: Chunk, costs: LayerCosts): ChunkCost {
  const [stream, gradient] = [costs.shared('stream'), costs.shared('gradient')];
  const ends = { forward: first ? 'embedding.forward' : 'receive.forward', head: costs.of('head.forward') };
  const small = (first || last ? costs.shared('tokens') : 0) + costs.shared('router.statistics');
  let held = small;
  let forwardPeak = held + (first ? 0 : stream) + costs.of(ends.forward).peak;
  const blocks = Array.from({ length: endLayer - firstLayer }, (_, i) =>
    step.model.moeLayers[firstLayer + i] ? 'moe' : 'mlp',
  );
  for (const block of blocks)
    for (const name of ['attention.forward', `${block}.forward`]) {
      const { peak, kept } = costs.of(name);
      forwardPeak = Math.max(forwardPeak, held + stream + peak);
      held += kept;
    }
  if (last) {
    forwardPeak = Math.max(forwardPeak, held + stream + ends.head.peak);
    held += ends.head.kept;
  }
  // Below, bytes relative to `held`.
  let backwardPeak = last ? costs.of('head.backward').peak : gradient;
  let now = gradient - (last ? ends.head.kept : 0);
  const whole = step.recompute === 'full';
  // The stream that attention computes again is there until the feed-forward has been computed again.
  const again = costs.shared(streamAgain);
  for (const block of [...blocks].reverse()) {
    const run = (name: string): number => {
      const { peak, kept } = costs.of(name);
      backwardPeak = Math.max(backwardPeak, now + peak);
      now += kept;
      return kept;
    };
    const attention = whole ? run('attention.recompute') - again : 0;
    const blockAgain = run(`${block}.recompute`);
    now -= whole ? again : 0;
    run(`${block}.backward`);
    now -= blockAgain + costs.of(`${block}.forward`).kept;
    const later = whole ? attention : run('attention.recompute');
    run('attention.backward');
    now -= later + costs.of('attention.forward').kept;
  }
  if (first) backwardPeak = Math.max(backwardPeak, now + costs.of('embedding.backward').peak);
  return { held, forwardPeak, backwardPeak };
}

const known = new WeakMap<LayerCosts, Map<string, ChunkCost>>();

/** `chunkCost`, kept with the costs that it is made of: a search asks for the same chunks again and again. */
function knownCost(step: StepShape, chunk: Chunk, costs: LayerCosts): ChunkCost {
  const ofCosts = known.get(costs) ?? new Map<string, ChunkCost>();
  known.set(costs, ofCosts);
  const key = `${chunk.firstLayer} ${chunk.endLayer} ${chunk.first} ${chunk.last}`;
  const found = ofCosts.get(key) ?? chunkCost(step, chunk, costs);
  ofCosts.set(key, found);
  return found;
}

/** The order in which a stage runs its passes. */
export const orderOf = ({ layout, microBatches, virtualStages = 1 }: StepShape, stage: number): PipelinePass[] =>
  pipelineOrder({ stages: layout.pp, virtual: virtualStages, microBatches }, stage);

/** The most bytes that the passes of a stage hold at a time; states are beside. */
export const closedPeak = (setting: MemorySetting, stage: number, program = stageProgram(setting, stage)): number =>
  peakOfPasses(memoryStep(setting), stage, new Costs(program, timelineOptions(setting)));

/** The same from costs that are known, and in an order that is. */
export function peakOfPasses(
  step: StepShape,
  stage: number,
  costs: LayerCosts,
  order: readonly PipelinePass[] = orderOf(step, stage),
): number {
  const chunks = stageChunks(step, stage).map((chunk) => knownCost(step, chunk, costs));
  let held = 0;
  let peak = 0;
  for (const { pass, chunk } of order) {
    const cost = chunks[chunk];
    if (cost === undefined) continue;
    peak = Math.max(peak, held + (pass === 'forward' ? cost.forwardPeak : cost.backwardPeak));
    held += pass === 'forward' ? cost.held : -cost.held;
  }
  return peak;
}
