/**
 * Memory of very many settings of one model: the same as `closedTotal`, each part worked out once. What passes hold is
 * the same for every stage, batch and rule of sharing, and for most sizes of an expert group; it depends on the
 * degrees that split a block, its recomputation and the tokens.
 */
import type { Layout } from '../layout/layout.js';
import { resolveLayout } from '../layout/resolve.js';
import type { MoeModel } from '../model/model.js';
import type { Recompute, RecomputeModule } from '../schedule/recompute.js';
import type { Template } from '../schedule/schedule.js';
import { blockTemplates, passBlocks, wholeTemplates, type PassBlock } from '../schedule/step.js';
import type { StepShape } from '../schedule/step-shape.js';
import { asConvention, recomputeUnder } from './convention.js';
import { ChunkKinds, foldedPasses, stagePasses } from './in-flight.js';
import { holdingRow, partRow } from './element-rows.js';
import { FullestStage, noStages, type Stages } from './fullest-stage.js';
import { gatheredAt, gatheredWidth } from './pass-costs.js';
import { inOneRow } from './pass-peaks.js';
import { fewMicroBatches, memoryStep, timelineOptions, type MemorySetting } from './setting.js';
import {
  foldedHolding,
  fullStages,
  partElements,
  stageHolding,
  withExperts,
  type PartElements,
  type StageHolding,
} from './stage-elements.js';
import { bytesOnDevice, communicators, gpuOverheads, standInsOf, type Overheads } from './stage-memory.js';
import {
  type SharingName,
  type StateRates,
  type WeightShards,
  noShards,
  onDevice,
  precisions,
  sharingRules,
  stateRates,
} from './states.js';
import type { Elements } from '../schedule/template-elements.js';
import { CostLines, templateLines, type CompiledAt, type TemplateLines } from './template-lines.js';

/** What settings of one table have in common: none has weight shards, and rows travel through NCCL. */
type Common = Omit<MemorySetting, 'weightShards' | 'exchange' | 'hostStates' | 'pagedStash'>;

/** What settings of one table differ in. */
export interface MemoryChoice {
  readonly layout: Layout;
  readonly sequences: number;
  readonly microBatches: number;
  readonly virtualStages?: number | undefined;
  /** As the table's rule has it when left out. */
  readonly layersOfStages?: readonly number[] | undefined;
  /** Two virtual stages a device, as far from either end (DualPipeV). */
  readonly folded?: boolean | undefined;
  readonly recompute?: Recompute | undefined;
  readonly activationAgain?: boolean | undefined;
  readonly sharing: SharingName;
  /** Whether the optimizer's states lie in the host's memory. */
  readonly hostStates?: boolean | undefined;
  /** Beside a rule that keeps weights and gradients whole. */
  readonly weightShards?: WeightShards | undefined;
}

/** Sequences at which templates are compiled. */
const [few, many] = [1, 8];

/** Modules whose recomputation changes a block. */
const modulesOf: Readonly<Record<PassBlock, readonly RecomputeModule[]>> = {
  ends: [],
  attention: ['core_attn', 'layernorm'],
  moe: ['layernorm', 'moe'],
  mlp: ['layernorm', 'mlp'],
};

/**
 * The fewest ranks whose experts' rows are those of `ep`: rows of a group do not depend on its size, as long as rows
 * are exchanged at all, and as the fullest rank's, an imbalance times the mean, are no more than could come.
 */
function groupLike(ep: number, { experts, topK }: MoeModel, imbalance: number): number {
  const most = (group: number): number => (Math.min(topK, experts / group) * group) / topK;
  for (let group = 2; group < ep; group++) if (experts % group === 0 && most(group) >= imbalance) return group;
  return ep;
}

/** The layout with the fewest ranks that splits a block in the same way, with a group of so many for the experts. */
function smallest({ tp, cp, etp, sequenceParallel }: Layout, group: number, block: PassBlock): Layout {
  // A micro-batch's share of the tokens apart, cp changes what attention keeps, whatever its size.
  if (block === 'attention') return resolveLayout({ tp, cp: Math.min(2, cp), dp: 1, sequenceParallel });
  if (block !== 'moe') return resolveLayout({ tp, dp: 1, sequenceParallel });
  return resolveLayout({ tp, dp: etp * group, ep: group, etp, sequenceParallel });
}

type Entries = Map<Recompute, Map<number, Entry>>;

/** Passes of one split of the layers. */
interface Entry {
  readonly costs: CostLines;
  readonly weights: Weights;
}

/** Weights of one split of the layers, by the ranks that share the experts. */
interface Weights {
  readonly compiled: PartElements;
  /** Of the layout that was compiled. */
  readonly ep: number;
  readonly known: Map<number, RankWeights>;
}

interface RankWeights {
  /** Dense elements and experts' of what is gathered as a whole, by the places of `gatheredAt`. */
  readonly units: Float64Array;
  /** `partRow`, with what stands in for fused gradients. */
  readonly row: Float64Array;
}

/** Templates of a block that keep all they make, and the step whose they are. */
interface WholeBlock {
  readonly step: StepShape;
  readonly templates: readonly Template[];
}

interface Holding {
  readonly stage: number;
  readonly holding: StageHolding;
}

function unitsRow({ ends, moe, mlp }: PartElements): Float64Array {
  const row = new Float64Array(gatheredWidth);
  for (const [unit, { dense, expert }] of Object.entries({ ...ends, moe, mlp })) {
    const place = gatheredAt[unit as keyof typeof gatheredAt];
    row[place] = dense;
    row[place + 1] = expert;
  }
  return row;
}

/** What of a layout its memory depends on. */
interface LayoutRow {
  /** A number for how it splits the layers, and of what it splits, by the fewest ranks of an expert group. */
  readonly split: number;
  readonly communicators: number;
  /** Of its ranks, once they are known. */
  weights: RankWeights | undefined;
}

/** What a map holds at a key, made where it holds nothing. */
function keptIn<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** For settings of one model, sequence, type, convention and precision, and one way to dispatch. */
export class MemoryTable {
  readonly #setting: Common;
  readonly #layersOf: ((stages: number) => readonly number[]) | undefined;
  readonly #experts: number;
  /** By the ranks that share the experts, the fewest that have as many rows. */
  readonly #groups: number[] = [];
  readonly #rates: Readonly<Record<'device' | 'host', Readonly<Record<SharingName, StateRates>>>>;
  readonly #kinds = new ChunkKinds();
  readonly #fullest = new FullestStage();
  /** As `gatheredAt` says. */
  readonly #gathered = new Float64Array(gatheredWidth);
  readonly #layouts = new Map<Layout, LayoutRow>();
  #lastLayout: Layout | undefined;
  #lastRow: LayoutRow | undefined;
  #lastShape = -1;
  #lastSplit: readonly number[] | undefined;
  #lastStages = noStages;
  /** By degrees, the numbers of splits. */
  readonly #splits = new Map<string, number>();
  /** By recomputation, of which there are few, and whether activations are computed again; then by split. */
  readonly #entries: readonly [Entries, Entries] = [new Map(), new Map()];
  readonly #blocks = new Map<string, TemplateLines>();
  /** By what splits a block: its templates before recomputation, at both numbers of sequences. */
  readonly #wholes = new Map<string, readonly [WholeBlock, WholeBlock]>();
  readonly #weights = new Map<string, Weights>();
  /** By pp, then by rounds and virtual stages. */
  readonly #stages = new Map<number, Map<number, Stages>>();
  /** By the split of the layers, then by stages. */
  readonly #holdings = new Map<readonly number[] | undefined, Map<number, readonly Holding[]>>();
  readonly #unevenStages = new Map<readonly number[], Map<number, Map<number, Stages>>>();

  /** `layersOf`: layers of so many virtual stages where a choice does not say; as even as can be when left out. */
  constructor(setting: Common, layersOf?: (stages: number) => readonly number[]) {
    this.#setting = setting;
    this.#layersOf = layersOf;
    this.#experts = setting.step.model.experts;
    const rates = (hostStates: boolean): Record<SharingName, StateRates> =>
      Object.fromEntries(
        Object.entries(sharingRules).map(([name, rule]) => [
          name,
          stateRates(onDevice(setting.precision, hostStates), rule),
        ]),
      ) as Record<SharingName, StateRates>;
    this.#rates = { device: rates(false), host: rates(true) };
  }

  /** Bytes of the fullest device. Throws `InputError`. */
  totalBytes(choice: MemoryChoice, overheads: Overheads = gpuOverheads): number {
    const row = this.#prepare(choice);
    return this.#bytesOf(choice, row, overheads, this.#writeGathered(choice, row) ? this.#gathered : undefined);
  }

  /**
   * No more than `totalBytes`: without weights and gradients that are whole while their layer is at work. Little work
   * where choices that differ in what ranks share follow one another. Throws `InputError`.
   */
  leastBytes(choice: MemoryChoice, overheads: Overheads = gpuOverheads): number {
    return this.#bytesOf(choice, this.#prepare(choice), overheads);
  }

  #prepare(choice: MemoryChoice): LayoutRow {
    const { layout, sequences } = choice;
    const row = this.#rowOf(layout);
    const { costs, weights } = this.#entryOf(choice, row.split);
    row.weights ??= weights.known.get(layout.ep) ?? this.#weightsOf(weights, layout.ep);
    const tokens = (sequences * this.#setting.step.sequence) / layout.cp;
    this.#fullest.prepare(costs, tokens, row.weights.row, this.#stagesOf(choice));
    return row;
  }

  #bytesOf(choice: MemoryChoice, row: LayoutRow, overheads: Overheads, gathered?: Float64Array): number {
    const { layout, sharing, hostStates = false, weightShards = noShards } = choice;
    const rates = this.#rates[hostStates ? 'host' : 'device'][sharing];
    const bytes = this.#fullest.bytes(layout, rates, weightShards, gathered);
    return bytesOnDevice(bytes, row.communicators * overheads.communicatorBytes, overheads);
  }

  /** Writes what weights and gradients are whole only while their layer is at work; false where all always are. */
  #writeGathered({ layout, sharing, weightShards = noShards }: MemoryChoice, { weights }: LayoutRow): boolean {
    const rule = sharingRules[sharing];
    const sharded = weightShards.dense > 1 || weightShards.expert > 1;
    if (weights === undefined || (!sharded && !rule.gradients)) return false;
    const row = this.#gathered;
    const { units } = weights;
    const denseSplit = (sharded ? weightShards.dense : layout.dp * layout.cp) > 1;
    const expertSplit = (sharded ? weightShards.expert : layout.edp) > 1;
    const { weight, gradient } = precisions[this.#setting.precision];
    const weightBytes = sharded || rule.weights ? weight : 0;
    for (let place = 0; place < gatheredWidth; place += 2) {
      const elements = (denseSplit ? (units[place] ?? 0) : 0) + (expertSplit ? (units[place + 1] ?? 0) : 0);
      row[place] = elements * weightBytes;
      row[place + 1] = elements * gradient;
    }
    return true;
  }

  #weightsOf({ compiled, ep: compiledEp, known }: Weights, ep: number): RankWeights {
    const { convention, precision } = this.#setting;
    const parts = withExperts(compiled, compiledEp / ep);
    const standIns = (kinds: Elements): number =>
      standInsOf(convention, precisions[precision], kinds, this.#experts / ep);
    const standInBytes = { moe: standIns(parts.moe), mlp: standIns(parts.mlp), mixed: standIns(parts.mixed) };
    const made = { row: partRow(parts, standInBytes), units: unitsRow(parts) };
    known.set(ep, made);
    return made;
  }

  #stepOf({ layout, sequences, microBatches, virtualStages = 1, layersOfStages, recompute }: MemoryChoice): StepShape {
    const layers = layersOfStages ?? this.#layersOf?.(layout.pp * virtualStages);
    const { layersOfStages: _, ...rest } = this.#setting.step;
    const step = { ...rest, layout, sequences, microBatches, virtualStages, recompute: recompute ?? 'none' };
    return layers === undefined ? step : { ...step, layersOfStages: layers };
  }

  #stagesOf(choice: MemoryChoice): Stages {
    const { layout, microBatches, virtualStages = 1, layersOfStages, folded = false } = choice;
    const { pp } = layout;
    // A search asks for a point's settings one after another.
    const shape = ((pp * 2 ** 12 + virtualStages) * 2 + Number(folded)) * 2 ** 26 + microBatches;
    if (shape === this.#lastShape && layersOfStages === this.#lastSplit) return this.#lastStages;
    const stages = this.#knownStages(choice);
    this.#lastShape = shape;
    this.#lastSplit = layersOfStages;
    this.#lastStages = stages;
    return stages;
  }

  #knownStages(choice: MemoryChoice): Stages {
    const { layout, microBatches, virtualStages = 1, layersOfStages, folded = false } = choice;
    const { pp } = layout;
    const rounds = fewMicroBatches({ pp, virtualStages, microBatches });
    const known =
      layersOfStages === undefined
        ? this.#stages
        : keptIn(this.#unevenStages, layersOfStages, () => new Map<number, Map<number, Stages>>());
    const ofPipeline = known.get(pp) ?? keptIn(known, pp, () => new Map<number, Stages>());
    const key = (rounds * 2 ** 12 + virtualStages) * 2 + Number(folded);
    return ofPipeline.get(key) ?? keptIn(ofPipeline, key, () => this.#newStages(choice));
  }

  #newStages(choice: MemoryChoice): Stages {
    const { layout, virtualStages = 1, layersOfStages, folded = false } = choice;
    const step = memoryStep({ ...this.#setting, step: this.#stepOf(choice) });
    const ofSplit = keptIn(this.#holdings, layersOfStages, () => new Map<number, readonly Holding[]>());
    const holdings = keptIn(ofSplit, (layout.pp * 2 ** 12 + virtualStages) * 2 + Number(folded), () => {
      const holding = folded ? foldedHolding : stageHolding;
      return fullStages(step, holding).map((stage) => ({ stage, holding: holding(step, stage) }));
    });
    const passes = folded ? foldedPasses : stagePasses;
    return {
      passes: inOneRow(holdings.map(({ stage }) => passes(step, stage, this.#kinds))),
      holdings: holdingRow(holdings.map(({ holding }) => holding)),
    };
  }

  #rowOf(layout: Layout): LayoutRow {
    // A search asks for a layout's settings one after another.
    if (layout === this.#lastLayout && this.#lastRow !== undefined) return this.#lastRow;
    const row = this.#layouts.get(layout) ?? this.#newRow(layout);
    this.#lastLayout = layout;
    this.#lastRow = row;
    return row;
  }

  #newRow(layout: Layout): LayoutRow {
    const { tp, cp, ep, etp, sequenceParallel } = layout;
    const key = `${tp} ${etp} ${this.#groupOf(ep)} ${cp > 1} ${sequenceParallel}`;
    const split = keptIn(this.#splits, key, () => this.#splits.size);
    const row = { split, communicators: communicators(layout), weights: undefined };
    this.#layouts.set(layout, row);
    return row;
  }

  #entryOf(choice: MemoryChoice, split: number): Entry {
    const { recompute = 'none', activationAgain = false } = choice;
    const entries = this.#entries[activationAgain ? 1 : 0];
    const ofSplits = entries.get(recompute) ?? keptIn(entries, recompute, () => new Map<number, Entry>());
    return ofSplits.get(split) ?? keptIn(ofSplits, split, () => this.#newEntry(choice));
  }

  #groupOf(ep: number): number {
    const known = this.#groups[ep];
    if (known !== undefined) return known;
    const made = groupLike(ep, this.#setting.step.model, this.#setting.imbalance);
    this.#groups[ep] = made;
    return made;
  }

  #newEntry(choice: MemoryChoice): Entry {
    const { tp, ep, etp, sequenceParallel } = choice.layout;
    const group = this.#groupOf(ep);
    const lines = (block: PassBlock): TemplateLines => this.#blockOf(choice, block);
    const blocks = { ends: lines('ends'), attention: lines('attention'), moe: lines('moe'), mlp: lines('mlp') };
    const weights = keptIn(this.#weights, `${tp} ${etp} ${group} ${sequenceParallel}`, () => {
      const layout = smallest(choice.layout, group, 'moe');
      const templates = Object.fromEntries(passBlocks.flatMap((block) => Object.entries(blocks[block].templates)));
      return {
        compiled: partElements({ ...this.#stepOf(choice), layout }, templates),
        ep: layout.ep,
        known: new Map<number, RankWeights>(),
      };
    });
    return { costs: new CostLines(Object.values(blocks), choice.recompute === 'full'), weights };
  }

  #blockOf(choice: MemoryChoice, block: PassBlock): TemplateLines {
    const { convention, step } = this.#setting;
    const layout = smallest(choice.layout, this.#groupOf(choice.layout.ep), block);
    const recompute = ofBlock(recomputeUnder(convention, choice.recompute ?? 'none'), block);
    const activationAgain = block === 'moe' && choice.activationAgain === true;
    const { tp, cp, ep, etp, sequenceParallel } = layout;
    const degrees = `${block} ${tp} ${cp} ${ep} ${etp} ${sequenceParallel}`;
    return keptIn(this.#blocks, `${degrees} ${String(recompute)} ${activationAgain}`, () => {
      const [ofFew, ofMany] = keptIn(this.#wholes, degrees, () => {
        const at = (sequences: number): WholeBlock => {
          const one = { ...this.#stepOf(choice), layout, sequences: sequences * cp };
          return { step: one, templates: hasBlock(step.model, block) ? wholeTemplates(one, block) : [] };
        };
        return [at(few), at(many)] as const;
      });
      const compiledAt = (sequences: number, { step: one, templates: whole }: WholeBlock): CompiledAt => {
        const templates = blockTemplates(whole, block, recompute);
        const program = asConvention({ stage: 0, templates, nodes: [] }, convention, one, { activationAgain });
        return { tokens: sequences * step.sequence, templates: program.templates };
      };
      const both = [compiledAt(few, ofFew), compiledAt(many, ofMany)] as const;
      return templateLines(block, both, timelineOptions(this.#setting));
    });
  }
}

const hasBlock = ({ moeLayers }: MoeModel, block: PassBlock): boolean =>
  block === 'ends' || block === 'attention' || moeLayers.includes(block === 'moe');

/** What of the recomputation changes a block. */
function ofBlock(recompute: Recompute, block: PassBlock): Recompute {
  if (recompute === 'none' || block === 'ends') return 'none';
  if (recompute === 'full') return recompute;
  if (recompute === 'selective') return block === 'attention' ? 'selective' : ['layernorm'];
  const modules = recompute.filter((module) => modulesOf[block].includes(module));
  return modules.length === 0 ? 'none' : modules;
}
