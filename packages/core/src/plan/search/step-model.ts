/** What a search asks of a model of steps, and the estimate in that role. */
import { RunMemory, StepTable, stepConstants } from '../../estimate/index.js';
import type { ComputePrecision, RunSetting, StepConstants } from '../../estimate/index.js';
import { precisions, sharingRules } from '../../memory/index.js';
import { countedElements, stateBytes } from '../../memory/states.js';

/** Prices settings of one model, cluster and batch, which differ in what a search varies; none is kept: it changes. */
export interface StepModel {
  /** Of a step. More recomputation, and weights that are sharded, are never faster. */
  seconds(setting: RunSetting): number;
  /**
   * What a step takes at least however layers lie on the stages, without a bubble; for a sequence, larger micro-batches
   * take no more of it.
   */
  floorSeconds(setting: RunSetting): number;
  /** Of the fullest device. */
  memoryBytes(setting: RunSetting): number;
  /** No more than `memoryBytes`: little work where settings that differ in what ranks share follow one another. */
  leastMemoryBytes(setting: RunSetting): number;
}

/** The closed form of `estimate/` for one problem: settings that differ in what a search varies. */
export class EstimateModel implements StepModel {
  readonly #times = new Map<ComputePrecision, StepTable>();
  #memory: RunMemory | undefined;
  readonly #constants: StepConstants;

  /** `constants`: those of published runs when left out. */
  constructor(constants: StepConstants = stepConstants) {
    this.#constants = constants;
  }

  seconds(setting: RunSetting): number {
    return this.#timesOf(setting).seconds(setting);
  }

  floorSeconds(setting: RunSetting): number {
    return this.#timesOf(setting).floorSeconds(setting);
  }

  memoryBytes(setting: RunSetting): number {
    this.#memory ??= new RunMemory(setting);
    return this.#memory.totalBytes(setting) + secondCopyBytes(setting);
  }

  leastMemoryBytes(setting: RunSetting): number {
    this.#memory ??= new RunMemory(setting);
    return this.#memory.leastBytes(setting);
  }

  #timesOf(setting: RunSetting): StepTable {
    const known = this.#times.get(setting.precision);
    if (known !== undefined) return known;
    const made = new StepTable({ ...setting }, this.#constants);
    this.#times.set(setting.precision, made);
    return made;
  }
}

/**
 * DualPipe keeps the weights of two stages on a device, and their gradients (DeepSeek-V3, table 2): what ranks share of
 * the first copy they share of the second.
 */
function secondCopyBytes({ schedule, model, layout, states, sharing, weightShards: shards }: RunSetting): number {
  if (schedule !== 'dualpipe' || layout.pp === 1) return 0;
  const { dense, expert } = countedElements(model, layout, model.layers - 1);
  const layers = model.layers / layout.pp;
  const { weights, gradients } = stateBytes({
    elements: { dense: dense * layers, expert: expert * layers },
    layout,
    precision: precisions[states],
    sharing: sharingRules[sharing],
    shards,
  });
  return weights + gradients;
}
