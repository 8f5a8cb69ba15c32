/**
 * The most that a stage's passes hold, without compiling them one after another: what each layer keeps and needs
 * follows from its compiled templates, once for all layers of a kind; the order of the pipeline says how much of it is
 * there at a time.
 */
import { compile } from '../schedule/compile.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import { streamAgain } from '../schedule/recompute.js';
import type { Program, Region, Template } from '../schedule/schedule.js';
import { maxOf } from '../units/index.js';
import { stagePasses, type ChunkKind, type StagePasses } from './in-flight.js';
import { memoryStep, stageProgram, timelineOptions, type MemorySetting } from './setting.js';
import { isTransient, memoryTimeline, type TimelineOptions } from './timeline.js';

/** What running a node of a template takes beyond what was there. */
export interface Cost {
  /** At its highest. */
  readonly peak: number;
  /** Behind it: what it keeps for the backward. */
  readonly kept: number;
}

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

/** What a part of a layer costs. */
export interface BlockCosts {
  readonly forward: Cost;
  readonly recompute: Cost;
  readonly backward: Cost;
}

/** Bytes of the templates of a stage's passes. */
export interface PassCosts {
  /** Regions of a micro-batch: the residual stream and its gradient, the stream computed again, tokens, statistics. */
  readonly stream: number;
  readonly gradient: number;
  readonly again: number;
  readonly tokens: number;
  readonly statistics: number;
  readonly embedding: Omit<BlockCosts, 'recompute'>;
  readonly head: Omit<BlockCosts, 'recompute'>;
  readonly attention: BlockCosts;
  readonly moe: BlockCosts;
  readonly mlp: BlockCosts;
}

/** What is known of templates and regions by name; nothing of those that are not there. */
export interface NamedCosts {
  of(name: string): Cost;
  /** Of a region of the micro-batch. */
  shared(id: string): number;
}

export function passCosts(costs: NamedCosts): PassCosts {
  const block = (name: string): BlockCosts => ({
    forward: costs.of(`${name}.forward`),
    recompute: costs.of(`${name}.recompute`),
    backward: costs.of(`${name}.backward`),
  });
  return {
    stream: costs.shared('stream'),
    gradient: costs.shared('gradient'),
    again: costs.shared(streamAgain),
    tokens: costs.shared('tokens'),
    statistics: costs.shared('router.statistics'),
    embedding: block('embedding'),
    head: block('head'),
    attention: block('attention'),
    moe: block('moe'),
    mlp: block('mlp'),
  };
}

/** Costs of some templates, as they are compiled. */
export class Costs implements NamedCosts {
  readonly #templates: Program['templates'];
  readonly #options: TimelineOptions;

  constructor(templates: Program['templates'], options: TimelineOptions) {
    this.#templates = templates;
    this.#options = options;
  }

  of(name: string): Cost {
    return { peak: maxOf([0, ...this.whileRunning(name)]), kept: this.kept(name) };
  }

  /** Bytes while each operation of a template runs. */
  whileRunning(name: string): number[] {
    const template = this.#templates[name];
    if (template === undefined) return [];
    const node = { template: name, layer: 0, microBatch: 0, pass: 'forward', after: [] } as const;
    const compiled = compile({ stage: 0, templates: { [name]: template }, nodes: [node] });
    const bytes: number[] = [];
    const counts = freshRegions(template, this.#templates);
    memoryTimeline(compiled, { ...this.#options, counts, watch: (live) => bytes.push(live) });
    return bytes;
  }

  kept(name: string): number {
    const template = this.#templates[name];
    if (template === undefined) return 0;
    const fresh = freshRegions(template, this.#templates);
    return this.#regions(template, (region) => region.life === 'saved' && fresh(region));
  }

  /** Wherever it is declared. */
  shared(id: string): number {
    const owner = Object.values(this.#templates).find(({ regions }) => regions.some((one) => one.id === id));
    return owner === undefined ? 0 : this.#regions(owner, (region) => region.id === id);
  }

  #regions({ regions }: Template, counts: (region: Region) => boolean): number {
    const { rowsOf } = this.#options;
    return regions
      .filter((region) => isTransient(region) && counts(region))
      .reduce((sum, region) => {
        const instance = { region, layer: 0, microBatch: 0, node: 0, first: 0, last: 0, ends: [] };
        return sum + rowsOf(region.rows, instance) * region.columns * dtypeBytes[region.dtype];
      }, 0);
  }
}

/** What one chunk's passes take. */
interface ChunkCost {
  /** Behind the forward, until the backward. */
  readonly held: number;
  readonly forward: number;
  /** Beyond what all micro-batches in flight hold, this one's included. */
  readonly backward: number;
}

/** Bytes of one unit's weights and gradients, whole, where ranks share them; 0 where each holds them all. */
export interface WholeBytes {
  readonly weights: number;
  readonly gradients: number;
}

/** By unit (`schedule/shared-states.ts`). */
export type GatheredBytes = Readonly<Record<'embedding' | 'moe' | 'mlp' | 'head', WholeBytes>>;

const nothing: WholeBytes = { weights: 0, gradients: 0 };
export const noneGathered: GatheredBytes = { embedding: nothing, moe: nothing, mlp: nothing, head: nothing };

/** What chunks are made of. `whole`: layers are computed again from their input. */
export interface ChunkParts {
  readonly costs: PassCosts;
  readonly whole: boolean;
  readonly gathered: GatheredBytes;
}

function chunkCost(kind: ChunkKind, parts: ChunkParts): ChunkCost {
  const { held, forward } = chunkForward(kind, parts);
  return { held, forward, backward: chunkBackward(kind, parts) };
}

/**
 * Weights of the unit at work and of the one behind it are whole. Layers of a run are alike, so that most is held at
 * the last of them, or at the one before, behind which another of its sort is gathered.
 */
function chunkForward(
  { first, last, runs }: ChunkKind,
  { costs, gathered }: ChunkParts,
): Pick<ChunkCost, 'held' | 'forward'> {
  const { stream, attention, head, embedding } = costs;
  const weightsOf = (index: number): number => {
    const run = runs[index];
    return run === undefined ? (last ? gathered.head.weights : 0) : gathered[run.block].weights;
  };
  let held = (first || last ? costs.tokens : 0) + costs.statistics;
  let forward = held + (first ? embedding.forward.peak + gathered.embedding.weights + weightsOf(0) : stream);
  runs.forEach(({ block, layers }, index) => {
    const feedForward = costs[block].forward;
    const kept = attention.forward.kept + feedForward.kept;
    const own = gathered[block].weights;
    const peakAt = (layer: number, whole: number): void => {
      const before = held + layer * kept + stream + whole;
      forward = Math.max(forward, before + attention.forward.peak, before + attention.forward.kept + feedForward.peak);
    };
    peakAt(layers - 1, own + weightsOf(index + 1));
    if (layers > 1) peakAt(layers - 2, 2 * own);
    held += layers * kept;
  });
  if (!last) return { held, forward };
  forward = Math.max(forward, held + stream + head.forward.peak + gathered.head.weights);
  return { held: held + head.forward.kept, forward };
}

/**
 * Relative to what is held. Besides the weights, gradients of the unit at work are whole from where its backward
 * begins, and those of the one before it until its end. Most is held at an end of a run of layers, or beside it.
 */
function chunkBackward({ first, last, runs }: ChunkKind, { costs, whole, gathered }: ChunkParts): number {
  const { gradient, head, embedding } = costs;
  const order = [...runs].reverse();
  const weightsOf = (index: number): number => {
    const run = order[index];
    return run === undefined ? (first ? gathered.embedding.weights : 0) : gathered[run.block].weights;
  };
  const headWhole = gathered.head.weights + gathered.head.gradients + weightsOf(0);
  let backward = last ? head.backward.peak + headWhole : gradient;
  let now = gradient - (last ? head.forward.kept : 0);
  let gradientsBefore = last ? gathered.head.gradients : 0;
  order.forEach((run, index) => {
    const one = layerBackward(costs[run.block], costs, whole);
    const own = gathered[run.block];
    const end = run.layers - 1;
    for (const layer of new Set([0, Math.min(1, end), Math.max(0, end - 1), end])) {
      const whole = own.weights + (layer < end ? own.weights : weightsOf(index + 1));
      const before = now + layer * one.change + whole + (layer > 0 ? own.gradients : gradientsBefore);
      backward = Math.max(backward, before + one.again, before + own.gradients + one.peak);
    }
    now += run.layers * one.change;
    gradientsBefore = own.gradients;
  });
  if (!first) return backward;
  const ends = gathered.embedding.weights + gathered.embedding.gradients + gradientsBefore;
  return Math.max(backward, now + embedding.backward.peak + ends);
}

/** Backward of one layer, relative to what is held before it. */
interface LayerBackward {
  /** At its highest before gradients of weights are made: while it is computed again. */
  readonly again: number;
  readonly peak: number;
  readonly change: number;
}

function layerBackward(block: BlockCosts, { attention, again: stream }: PassCosts, whole: boolean): LayerBackward {
  let [now, again] = [0, 0];
  if (whole) {
    again = attention.recompute.peak;
    now += attention.recompute.kept;
  }
  again = Math.max(again, now + block.recompute.peak);
  // The stream that attention computes again is there until the feed-forward has been computed again.
  now += block.recompute.kept - (whole ? stream : 0);
  let peak = now + block.backward.peak;
  now -= block.recompute.kept + block.forward.kept;
  if (!whole) {
    peak = Math.max(peak, now + attention.recompute.peak);
    now += attention.recompute.kept;
  }
  peak = Math.max(peak, now + attention.backward.peak);
  now -= attention.recompute.kept - (whole ? stream : 0) + attention.forward.kept;
  return { again, peak, change: now };
}

/** What passes take, by kind of chunk, worked out as they are asked for. */
export class ChunkCosts {
  readonly #parts: ChunkParts;
  readonly #known: ChunkCost[] = [];

  constructor(parts: ChunkParts) {
    this.#parts = parts;
  }

  of(kind: ChunkKind): ChunkCost {
    const known = this.#known[kind.number];
    if (known !== undefined) return known;
    const cost = chunkCost(kind, this.#parts);
    this.#known[kind.number] = cost;
    return cost;
  }
}

/** What a program's templates gather, and scatter. */
function gatheredIn({ templates }: Program): GatheredBytes {
  const bytesOf = (name: string): number =>
    (templates[name]?.regions ?? [])
      .filter(({ life }) => life === 'pass')
      .reduce((sum, { rows, dtype }) => sum + (typeof rows === 'number' ? rows : rows.max) * dtypeBytes[dtype], 0);
  const unit = (name: keyof GatheredBytes): WholeBytes => ({
    weights: bytesOf(`gather.${name}`),
    gradients: bytesOf(`scatter.${name}`),
  });
  return { embedding: unit('embedding'), moe: unit('moe'), mlp: unit('mlp'), head: unit('head') };
}

/** The most bytes that the passes of a stage hold at a time; states are beside. */
export function closedPeak(setting: MemorySetting, stage: number, program = stageProgram(setting, stage)): number {
  const step = memoryStep(setting);
  const costs = passCosts(new Costs(program.templates, timelineOptions(setting)));
  const parts = { costs, whole: step.recompute === 'full', gathered: gatheredIn(program) };
  return peakOfPasses(stagePasses(step, stage), new ChunkCosts(parts));
}

/** The same from what is known. */
export function peakOfPasses({ kinds, states }: StagePasses, costs: ChunkCosts): number {
  let peak = 0;
  for (const { pass, kind, kept } of states) {
    let bytes = costs.of(kind)[pass];
    for (let place = 0; place < kept.length; place++) {
      const other = kinds[place];
      if (other !== undefined) bytes += (kept[place] ?? 0) * costs.of(other).held;
    }
    if (bytes > peak) peak = bytes;
  }
  return peak;
}
