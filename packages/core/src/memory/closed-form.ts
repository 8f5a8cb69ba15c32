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

/**
 * `whole`: layers are computed again from their input. Layers of a run are alike, so that the first or the last of them
 * is where most is held.
 */
function chunkCost({ first, last, runs }: ChunkKind, costs: PassCosts, whole: boolean): ChunkCost {
  const { stream, gradient, attention, head, embedding } = costs;
  let held = (first || last ? costs.tokens : 0) + costs.statistics;
  let forward = held + (first ? embedding.forward.peak : stream);
  for (const { block, layers } of runs) {
    const feedForward = costs[block].forward;
    const before = held + (layers - 1) * (attention.forward.kept + feedForward.kept);
    const between = before + attention.forward.kept;
    forward = Math.max(forward, before + stream + attention.forward.peak, between + stream + feedForward.peak);
    held = between + feedForward.kept;
  }
  if (last) {
    forward = Math.max(forward, held + stream + head.forward.peak);
    held += head.forward.kept;
  }
  // Below, bytes relative to `held`.
  let backward = last ? head.backward.peak : gradient;
  let now = gradient - (last ? head.forward.kept : 0);
  for (let index = runs.length - 1; index >= 0; index--) {
    const run = runs[index];
    if (run === undefined) continue;
    const one = layerBackward(costs[run.block], costs, whole);
    backward = Math.max(backward, now + one.peak, now + one.peak + (run.layers - 1) * one.change);
    now += run.layers * one.change;
  }
  if (first) backward = Math.max(backward, now + embedding.backward.peak);
  return { held, forward, backward };
}

/** Backward of one layer, relative to what is held before it. */
function layerBackward(
  block: BlockCosts,
  { attention, again }: PassCosts,
  whole: boolean,
): { readonly peak: number; readonly change: number } {
  let [now, peak] = [0, 0];
  if (whole) {
    peak = attention.recompute.peak;
    now += attention.recompute.kept;
  }
  peak = Math.max(peak, now + block.recompute.peak);
  // The stream that attention computes again is there until the feed-forward has been computed again.
  now += block.recompute.kept - (whole ? again : 0);
  peak = Math.max(peak, now + block.backward.peak);
  now -= block.recompute.kept + block.forward.kept;
  if (!whole) {
    peak = Math.max(peak, now + attention.recompute.peak);
    now += attention.recompute.kept;
  }
  peak = Math.max(peak, now + attention.backward.peak);
  now -= attention.recompute.kept - (whole ? again : 0) + attention.forward.kept;
  return { peak, change: now };
}

/** What passes take, by kind of chunk, worked out as they are asked for. `whole`: as `chunkCost`. */
export class ChunkCosts {
  readonly #costs: PassCosts;
  readonly #whole: boolean;
  readonly #known: ChunkCost[] = [];

  constructor(costs: PassCosts, whole: boolean) {
    this.#costs = costs;
    this.#whole = whole;
  }

  of(kind: ChunkKind): ChunkCost {
    const known = this.#known[kind.number];
    if (known !== undefined) return known;
    const cost = chunkCost(kind, this.#costs, this.#whole);
    this.#known[kind.number] = cost;
    return cost;
  }
}

/** The most bytes that the passes of a stage hold at a time; states are beside. */
export function closedPeak(setting: MemorySetting, stage: number, program = stageProgram(setting, stage)): number {
  const step = memoryStep(setting);
  const costs = passCosts(new Costs(program.templates, timelineOptions(setting)));
  return peakOfPasses(stagePasses(step, stage), new ChunkCosts(costs, step.recompute === 'full'));
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
