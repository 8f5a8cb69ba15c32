/**
 * Memory of very many settings of one model. What the passes of a layer hold is straight in the tokens, the same for
 * every stage, batch and rule of sharing, and for any size of a balanced expert group: it is taken from compiled
 * templates at two token counts, once for every split of a layer, and put together from there.
 */
import { resolveLayout } from '../layout/resolve.js';
import type { Layout } from '../layout/layout.js';
import { maxOf } from '../units/index.js';
import type { PipelinePass } from '../schedule/pipeline-order.js';
import type { StepShape } from '../schedule/step-shape.js';
import { Costs, orderOf, peakOfPasses, type Cost, type LayerCosts } from './closed-form.js';
import { memoryStep, stageProgram, timelineOptions, type MemorySetting } from './setting.js';
import { partElements, stageElements, type PartElements, type StageElements } from './stage-elements.js';
import { beside, gpuOverheads, heldOf, type Overheads } from './stage-memory.js';
import type { Elements } from './states.js';

/** Sequences of a micro-batch at which templates are compiled. */
const [few, many] = [1, 8];

/** The layout with the fewest ranks that splits a layer in the same way. */
function smallest({ tp, cp, ep, etp, sequenceParallel }: Layout, experts: number): Layout {
  // Rows of a balanced group do not depend on its size, as long as rows are exchanged at all.
  const group = ep > 1 ? (leastDivisor(experts) ?? ep) : 1;
  return resolveLayout({ tp, cp, dp: etp * group, ep: group, etp, sequenceParallel });
}

/** The least above 1. */
function leastDivisor(n: number): number | undefined {
  for (let d = 2; d <= n; d++) if (n % d === 0) return d;
  return undefined;
}

/** Costs between and beyond two that are known. */
class StraightCosts implements LayerCosts {
  readonly #known = new Map<string, Cost>();
  readonly #share: number;
  readonly #few: LayerCosts;
  readonly #many: LayerCosts;

  constructor(sequences: number, [first, second]: readonly [LayerCosts, LayerCosts]) {
    this.#share = (sequences - few) / (many - few);
    this.#few = first;
    this.#many = second;
  }

  of(name: string): Cost {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const [a, b] = [this.#few.of(name), this.#many.of(name)];
    const cost = { peak: this.#between(a.peak, b.peak), kept: this.#between(a.kept, b.kept) };
    this.#known.set(name, cost);
    return cost;
  }

  shared(id: string): number {
    return this.#between(this.#few.shared(id), this.#many.shared(id));
  }

  #between(a: number, b: number): number {
    return a + (b - a) * this.#share;
  }
}

interface Entry {
  readonly costs: readonly [LayerCosts, LayerCosts];
  readonly parts: PartElements;
  /** Of the layout that was compiled. */
  readonly ep: number;
  /** By sequences. */
  readonly straight: Map<number, LayerCosts>;
  /** By stage and what decides it: the layers that lie there, and for passes the micro-batches. */
  readonly elements: Map<string, StageElements>;
  readonly peaks: Map<string, number>;
}

/** What a map holds at a key, made where it holds nothing. */
function keptIn<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** `shared` asks every template: once is enough. */
class KnownCosts implements LayerCosts {
  readonly #costs: LayerCosts;
  readonly #shared = new Map<string, number>();

  constructor(costs: LayerCosts) {
    this.#costs = costs;
  }

  of(name: string): Cost {
    return this.#costs.of(name);
  }

  shared(id: string): number {
    return keptIn(this.#shared, id, () => this.#costs.shared(id));
  }
}

/** For settings of one model, sequence and type, and one way to dispatch. */
export class MemoryTable {
  readonly #entries = new Map<string, Entry>();
  readonly #orders = new Map<string, readonly PipelinePass[]>();

  /** Bytes of the fullest device. Stages between the ends hold no more than the second. Throws `InputError`. */
  totalBytes(setting: MemorySetting, overheads: Overheads = gpuOverheads): number {
    const { layout, sequences, virtualStages, layersOfStages } = setting.step;
    const entry = this.#entryOf(setting);
    const step = memoryStep(setting);
    const shape = `${layout.pp} ${virtualStages} ${layersOfStages?.join(' ')}`;
    const stages = new Set([0, Math.min(1, layout.pp - 1), layout.pp - 1]);
    return maxOf(
      [...stages].map((stage) => {
        const elements = keptIn(entry.elements, `${stage} ${layout.ep} ${shape}`, () =>
          stageElements(step, stage, withGroup(entry.parts, entry.ep / layout.ep)),
        );
        const peak = keptIn(entry.peaks, `${stage} ${sequences} ${step.microBatches} ${shape}`, () =>
          peakOfPasses(step, stage, straightOf(entry, sequences), this.#orderOf(step, stage)),
        );
        return beside(peak, heldOf(setting, elements), setting, overheads).totalBytes;
      }),
    );
  }

  #orderOf(step: StepShape, stage: number): readonly PipelinePass[] {
    const key = `${step.layout.pp} ${step.virtualStages} ${step.microBatches} ${stage}`;
    return keptIn(this.#orders, key, () => orderOf(step, stage));
  }

  #entryOf(setting: MemorySetting): Entry {
    const { step, convention, imbalance, activationAgain = false } = setting;
    const { tp, cp, ep, etp, sequenceParallel } = step.layout;
    const again = `${String(step.recompute)} ${convention} ${imbalance} ${activationAgain}`;
    const key = `${tp} ${cp} ${ep > 1} ${etp} ${sequenceParallel} ${again}`;
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const layout = smallest(step.layout, step.model.experts);
    const at = (sequences: number) => {
      const { layersOfStages: _, ...whole } = step;
      const one = { ...setting, step: { ...whole, layout, sequences, microBatches: 1, virtualStages: 1 } };
      const program = stageProgram(one, 0);
      return { program, costs: new KnownCosts(new Costs(program, timelineOptions(one))) };
    };
    const [first, second] = [at(few), at(many)];
    const entry = {
      costs: [first.costs, second.costs] as const,
      parts: partElements(first.program.templates),
      ep: layout.ep,
      straight: new Map<number, LayerCosts>(),
      elements: new Map<string, StageElements>(),
      peaks: new Map<string, number>(),
    };
    this.#entries.set(key, entry);
    return entry;
  }
}

const straightOf = ({ costs, straight }: Entry, sequences: number): LayerCosts =>
  keptIn(straight, sequences, () => new StraightCosts(sequences, costs));

/** Weights where the experts are split over another number of ranks. */
function withGroup({ moe, mlp, first, last, both, kinds }: PartElements, times: number): PartElements {
  const scaled = ({ dense, expert }: Elements): Elements => ({ dense, expert: expert * times });
  return { moe: scaled(moe), mlp, first, last, both, kinds: scaled(kinds) };
}
