/** What a search asks of a model of steps, and the estimate in that role. */
import { memorySetting, StepPrices, stepConstants, type RunSetting } from '../../estimate/index.js';
import { MemoryTable, precisions } from '../../memory/index.js';
import { countedElements } from '../../memory/states.js';

/** Prices settings of one model, cluster and batch, which differ in what a search varies. */
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
}

/** What settings with one price list have in common beside the problem. */
type ListKey = Pick<RunSetting, 'sharing' | 'dispatcher' | 'schedule' | 'overlap' | 'recompute'>;

interface PriceList {
  readonly key: ListKey;
  readonly prices: StepPrices;
}

/** The closed form of `estimate/` for one problem, one price list for whatever layouts do not change. */
export class EstimateModel implements StepModel {
  /** By recomputation, of which there are few: comparing is faster than making keys. */
  readonly #lists = new Map<RunSetting['recompute'], PriceList[]>();
  readonly #memory = new MemoryTable();

  seconds(setting: RunSetting): number {
    return this.#pricesOf(setting).seconds(setting.layout, setting);
  }

  floorSeconds(setting: RunSetting): number {
    return this.#pricesOf(setting).floorSeconds(setting.layout, setting);
  }

  memoryBytes(setting: RunSetting): number {
    return this.#memory.totalBytes(memorySetting(setting)) + secondCopyBytes(setting);
  }

  #pricesOf(setting: RunSetting): StepPrices {
    const { sharing, dispatcher, schedule, overlap, recompute } = setting;
    let lists = this.#lists.get(recompute);
    if (lists === undefined) {
      lists = [];
      this.#lists.set(recompute, lists);
    }
    for (const { key, prices } of lists)
      if (
        key.sharing === sharing &&
        key.dispatcher === dispatcher &&
        key.schedule === schedule &&
        key.overlap.ep === overlap.ep
      )
        return prices;
    const prices = new StepPrices(setting, stepConstants);
    lists.push({ key: { sharing, dispatcher, schedule, overlap, recompute }, prices });
    return prices;
  }
}

/** DualPipe keeps the weights of two stages on a device, and their gradients (DeepSeek-V3, table 2). */
function secondCopyBytes({ schedule, model, layout, states }: RunSetting): number {
  if (schedule !== 'dualpipe' || layout.pp === 1) return 0;
  const { weight, gradient } = precisions[states];
  const { dense, expert } = countedElements(model, layout, model.layers - 1);
  return (dense + expert) * (model.layers / layout.pp) * (weight + gradient);
}
