/** What a search asks of a model of steps, and the estimate in that role. */
import { memorySetting, StepPrices, stepConstants, type RunSetting } from '../../estimate/index.js';
import { MemoryTable, precisions } from '../../memory/index.js';
import { countedElements } from '../../memory/states.js';

/** Prices settings of one model, cluster and batch, which differ in what a search varies. */
export interface StepModel {
  /** Of a step. More recomputation, and weights that are sharded, are never faster. */
  seconds(setting: RunSetting): number;
  /** The same without the pipeline's filling: for a sequence, larger micro-batches take no more of it. */
  floorSeconds(setting: RunSetting): number;
  /** Of the fullest device. */
  memoryBytes(setting: RunSetting): number;
}

/** The closed form of `estimate/`, one price list for whatever layouts do not change. */
export class EstimateModel implements StepModel {
  readonly #prices = new Map<string, StepPrices>();
  readonly #memory = new MemoryTable();

  seconds(setting: RunSetting): number {
    return this.#pricesOf(setting).step(setting.layout, setting).seconds;
  }

  floorSeconds(setting: RunSetting): number {
    const { seconds, bubble, straggler } = this.#pricesOf(setting).step(setting.layout, setting);
    return seconds - bubble - straggler;
  }

  memoryBytes(setting: RunSetting): number {
    return this.#memory.totalBytes(memorySetting(setting)) + secondCopyBytes(setting);
  }

  #pricesOf(setting: RunSetting): StepPrices {
    const { sharing, dispatcher, schedule, overlap, recompute } = setting;
    const key = `${sharing} ${dispatcher} ${schedule} ${overlap.ep} ${String(recompute)}`;
    const known = this.#prices.get(key) ?? new StepPrices(setting, stepConstants);
    this.#prices.set(key, known);
    return known;
  }
}

/** DualPipe keeps the weights of two stages on a device, and their gradients (DeepSeek-V3, table 2). */
function secondCopyBytes({ schedule, model, layout, states }: RunSetting): number {
  if (schedule !== 'dualpipe' || layout.pp === 1) return 0;
  const { weight, gradient } = precisions[states];
  const { dense, expert } = countedElements(model, layout, model.layers - 1);
  return (dense + expert) * (model.layers / layout.pp) * (weight + gradient);
}
