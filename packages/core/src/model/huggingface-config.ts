/** A Hugging Face `config.json` by its keys, and what a family of models has to say of it. */
import type { Field, FieldMap } from '../units/documents/index.js';
import { limits } from '../units/limits.js';
import { didYouMean } from '../units/nearest.js';
import { shownValue } from '../units/presentable.js';
import type { ModelFamily, ModelShape } from './model.js';

/** A config's keys, each asked for by all its spellings. */
export class HfConfig {
  readonly field: Field;
  readonly modelType: string;
  readonly #map: FieldMap;

  constructor(field: Field, modelType: string) {
    this.field = field;
    this.modelType = modelType;
    this.#map = field.map();
  }

  find(...names: string[]): Field | undefined {
    for (const name of names) {
      const field = this.#map.get(name);
      if (field !== undefined) return field;
    }
    return undefined;
  }

  need(...names: string[]): Field {
    const field = this.find(...names);
    if (field !== undefined) return field;
    throw this.field.error(`"${names.join('" or "')}" is missing`, {
      expected: `the key in a config.json of model_type ${this.modelType}`,
      hint: didYouMean(names[0], this.#map.keys()),
    });
  }

  /**
   * Throws `InputError` for keys that are null, which is not the same as absent, where the family's class in
   * transformers has a default and no meaning for null.
   */
  refuseNull(names: readonly string[], expected: string): void {
    for (const name of names) {
      const field = this.#map.nothingAt(name);
      if (field !== undefined)
        throw field.error(`is null, with which transformers computes no ${this.modelType}`, { expected });
    }
  }

  /** Throws `InputError` for a key that says anything but what transformers computes whatever it says. */
  refuseOther(name: string, computed: string | number, why: string): void {
    const field = this.find(name);
    if (field !== undefined && field.value !== computed)
      throw field.error(`${shownValue(field.value)} is not what transformers computes for ${this.modelType}: ${why}`, {
        expected: `${computed}, or no "${name}"`,
      });
  }

  isAbsent(name: string): boolean {
    return !this.#map.keys().includes(name);
  }

  /** A size that has to be there. */
  integer(...names: string[]): number {
    return this.need(...names).integer({ min: 1, max: limits.width });
  }

  /** A size that may be absent or 0. */
  countOr(fallback: number, ...names: string[]): number {
    return this.find(...names)?.integer({ min: 0, max: limits.width }) ?? fallback;
  }

  /** A number from 0 that may be absent. */
  numberOr(fallback: number, ...names: string[]): number {
    return this.find(...names)?.number({ min: 0 }) ?? fallback;
  }

  /** A number above 0 that may be absent. */
  positiveOr(fallback: number, ...names: string[]): number {
    return this.find(...names)?.number({ above: 0 }) ?? fallback;
  }

  /** Numbers of layers. */
  layerNumbers(name: string, layers: number): number[] | undefined {
    return this.find(name)
      ?.list(0, layers)
      .map((layer) => layer.integer({ min: 0, max: limits.layers }));
  }

  booleanOr(fallback: boolean, ...names: string[]): boolean {
    return this.find(...names)?.boolean() ?? fallback;
  }

  /**
   * The map of rotary settings that transformers 5 computes with: `rope_scaling`, unless it is null or empty, in place
   * of all of `rope_parameters` (`convert_rope_params_to_dict` of its modeling_rope_utils.py). Throws `InputError` for
   * one map a kind of layers, which no family here has.
   */
  rotary(): FieldMap | undefined {
    const scaling = this.find('rope_scaling')?.map();
    const map = scaling !== undefined && scaling.keys().length > 0 ? scaling : this.find('rope_parameters')?.map();
    const nested = map?.keys().find((key) => map.get(key)?.isMap === true);
    if (map === undefined || nested === undefined) return map;
    throw map.need(nested).error('gives one kind of layers a rotation of its own', {
      expected: 'one rotation for all layers: rope_type, rope_theta, … themselves',
    });
  }

  /** A nested map; an empty stand-in is not made, absence is told. */
  nested(name: string): HfConfig {
    return new HfConfig(this.need(name), this.modelType);
  }
}

/** Every so many layers. */
export const anyStep = { min: 1, max: limits.layers } as const;

/** What differs between families: everything about experts, and a few about attention. */
export type FamilyPart = Pick<ModelShape, 'experts' | 'topK' | 'expertFfn'> & Partial<ModelShape>;

export interface FamilyReader {
  readonly family: ModelFamily;
  /** Rotary base when the file names none. */
  readonly ropeTheta: number;
  /** Whether the output is the embedding when the file does not say. */
  readonly tied?: boolean;
  /** Heads of keys and values where the file does not name the key: as many as of queries when left out. */
  readonly keyValueHeads?: number;
  readonly read: (config: HfConfig, layers: number) => FamilyPart;
}

/** One answer a layer. */
export const perLayer = (layers: number, moe: (layer: number) => boolean): boolean[] =>
  Array.from({ length: layers }, (_, i) => moe(i));

/**
 * The rotated part of a head's width: the share of the map in force, the key beside it where the map has none, `usual`
 * where neither is there (transformers 5: `setdefault` of both). All of the head is left out.
 */
export function rotaryDimOf(config: HfConfig, usual: number): Pick<FamilyPart, 'rotaryDim'> {
  const share = shareOf(config);
  if (share === undefined && usual === 1) return {};
  const heads = config.integer('num_attention_heads');
  const headDim =
    config.find('head_dim')?.integer({ min: 1, max: limits.width }) ?? config.integer('hidden_size') / heads;
  return { rotaryDim: Math.floor(headDim * (share?.number({ above: 0, max: 1 }) ?? usual)) };
}

const shareOf = (config: HfConfig): Field | undefined =>
  config.rotary()?.get('partial_rotary_factor') ?? config.find('partial_rotary_factor');

/**
 * Throws `InputError` for a share of the head where transformers takes it for the angles and rotates the whole head
 * with them, which fails or mixes them up.
 */
export function refuseShare(config: HfConfig): void {
  const share = shareOf(config);
  if (share !== undefined && share.value !== 1)
    throw share.error(`a part of each head is rotated, which transformers does not compute for ${config.modelType}`, {
      expected: '1, or no "partial_rotary_factor"',
    });
}
