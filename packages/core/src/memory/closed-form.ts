/**
 * The most that a stage's passes hold, without compiling them one after another: what each layer keeps and needs
 * follows from its compiled templates, once for all layers of a kind (`pass-costs.ts`); the order of the pipeline says
 * how much of it is there at a time (`pass-peaks.ts`).
 */
import { compile } from '../schedule/compile.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import { streamAgain } from '../schedule/recompute.js';
import { blockTemplate, type Program, type Region, type Template } from '../schedule/schedule.js';
import type { StepShape } from '../schedule/step-shape.js';
import { maxOf } from '../units/index.js';
import { stagePasses } from './in-flight.js';
import { costsRow, gatheredAt, gatheredWidth, type Cost, type NamedCosts } from './pass-costs.js';
import { inOneRow, PassPeaks, writeBackwards } from './pass-peaks.js';
import { memoryStep, stageProgram, timelineOptions, type MemorySetting } from './setting.js';
import { bytesWhileRunning, templateLifetimes } from './template-lifetimes.js';
import { isTransient, memoryTimeline, type TimelineOptions } from './timeline.js';

/** Templates that start a micro-batch's stream, or its gradient. */
const starts: Readonly<Record<string, string>> = { 'embedding.forward': 'stream', 'head.backward': 'gradient' };

/** The regions that a template opens: its own, and what it keeps that no template before it has kept. */
function freshRegions({ name, of }: Template, templates: Program['templates']): (region: Region) => boolean {
  const before = new Set<string>();
  if (of?.pass === 'recompute') {
    const forward = templates[blockTemplate(of.block, 'forward')];
    for (const { id, life } of forward?.regions ?? []) if (life === 'saved') before.add(id);
    if (of.block !== 'attention') before.add(streamAgain);
  }
  const keeps = of?.pass !== 'backward';
  return ({ id, life }) => life === 'layer' || starts[name] === id || (keeps && life === 'saved' && !before.has(id));
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
  whileRunning(name: string): readonly number[] {
    return this.whileRunningOf(name, [this])[0] ?? [];
  }

  /** The same of each of several that differ in rows alone: lifetimes are worked out once. */
  whileRunningOf(name: string, others: readonly Costs[]): (readonly number[])[] {
    const template = this.#templates[name];
    if (template === undefined) return others.map(() => []);
    const lifetimes = templateLifetimes(template, freshRegions(template, this.#templates), this.#options.freed);
    return others.map((other) => bytesWhileRunning(lifetimes, other.#templates[name]?.regions ?? [], other.#options));
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

/** Writes what a program's templates gather, and scatter. */
function writeGathered(row: Float64Array, { templates }: Program): void {
  const bytesOf = (name: string): number =>
    (templates[name]?.regions ?? [])
      .filter(({ life }) => life === 'pass')
      .reduce((sum, { rows, dtype }) => sum + (typeof rows === 'number' ? rows : rows.max) * dtypeBytes[dtype], 0);
  for (const [unit, place] of Object.entries(gatheredAt)) {
    row[place] = bytesOf(`gather.${unit}`);
    row[place + 1] = bytesOf(`scatter.${unit}`);
  }
}

/** Whether micro-batches wait for each other in an order that the closed form does not know. */
const hasOwnOrder = ({ microBatches, passes, inFlight = 1 }: StepShape): boolean =>
  microBatches > 1 && (passes === 'beside' || inFlight > 1);

/**
 * The most bytes that the passes of a stage hold at a time; states are beside. A step that orders its passes itself is
 * compiled: no search asks for one.
 */
export function closedPeak(setting: MemorySetting, stage: number, program = stageProgram(setting, stage)): number {
  const step = memoryStep(setting);
  if (hasOwnOrder(step)) return memoryTimeline(compile(program), timelineOptions(setting)).peak.bytes;
  const passes = new PassPeaks();
  const gathered = new Float64Array(gatheredWidth);
  const peaks = new Float64Array(1);
  passes.costs.set(costsRow(new Costs(program.templates, timelineOptions(setting))));
  writeBackwards(passes.costs, step.recompute === 'full');
  writeGathered(gathered, program);
  passes.write(peaks, inOneRow([stagePasses(step, stage)]), gathered);
  return peaks[0] ?? 0;
}
