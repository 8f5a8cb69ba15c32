/** Where the sliders of a layer stand, as the address says. */
import { params } from '../base/location.js';
import { files } from '../plan/plan-state.js';
import { signal } from '@preact/signals';
import type { LayerFields, LayerSliders, OwnValues } from './answer.js';

/** What each slider can stand at; the address holds the values. */
export const steps = {
  tp: [1, 2, 4, 8],
  ep: [1, 2, 4, 8, 16, 32],
  tokens: [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768],
  experts: [2, 4, 8, 16, 32, 64, 128, 256],
  topK: [1, 2, 4, 6, 8],
  skew: [0, 0.25, 0.5, 0.75, 1, 1.25],
  ports: [1, 2, 4, 8],
  network: [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8],
  inside: [1 / 4, 1 / 2, 1, 2],
} as const;
export type SliderName = keyof typeof steps;

const usual: Readonly<Record<Exclude<SliderName, keyof OwnValues>, number>> = {
  tp: 8,
  ep: 2,
  tokens: 4096,
  skew: 0,
  network: 1,
  inside: 1,
};

/** What model and cluster have themselves, as the last answer says. */
export const own = signal<OwnValues>({ experts: 8, topK: 2, ports: 8 });

/** Where a slider was moved to. */
const movedTo = (name: SliderName): number | undefined => {
  const text = params.value.get(name);
  const value = text === null ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : undefined;
};

/** What a slider stands for. */
export const valueOf = (name: SliderName): number => movedTo(name) ?? { ...usual, ...own.value }[name];

/** The place on its slider that is nearest. */
export const placeOf = (name: SliderName): number => {
  const value = valueOf(name);
  const list: readonly number[] = steps[name];
  return list.reduce((best, one, at) => (Math.abs(one - value) < Math.abs((list[best] ?? 0) - value) ? at : best), 0);
};

/** What the sliders say; model and cluster keep what no slider was moved for. */
function slidersNow(): LayerSliders {
  const value = (name: keyof typeof usual): number => steps[name][placeOf(name)] ?? usual[name];
  const moved = (name: keyof OwnValues): Partial<LayerSliders> => {
    const given = movedTo(name);
    return given === undefined ? {} : { [name]: given };
  };
  return {
    tp: value('tp'),
    ep: value('ep'),
    tokens: value('tokens'),
    skew: value('skew'),
    network: value('network'),
    inside: value('inside'),
    ...moved('experts'),
    ...moved('topK'),
    ...moved('ports'),
  };
}

/** The layer as asked for. */
export const layerFields = (): LayerFields => ({
  fields: { model: params.value.get('model') ?? '2x70b', cluster: params.value.get('cluster') ?? 'a800-2x8' },
  files: files.value,
  sliders: slidersNow(),
});
