/**
 * Rotary positions of a Hugging Face config: `rope_parameters` in transformers 5, `rope_theta` and `rope_scaling` in 4.
 */
import type { FieldMap } from '../units/documents/index.js';
import { limits } from '../units/limits.js';
import type { HfConfig } from './huggingface-config.js';
import type { ModelShape, RopeScaling } from './model.js';
import { yarnScaling, yarnScoreScaling, type YarnSettings } from './rope-scaling.js';

const count = { min: 1, max: limits.sequence } as const;

/** Positions before they were stretched: the key beside the map comes first, as in transformers 5. */
const originalPositionsOf = (config: HfConfig, map: FieldMap): number | undefined =>
  (
    config.find('original_max_position_embeddings') ??
    map.get('original_max_position_embeddings') ??
    config.find('max_position_embeddings')
  )?.integer(count);

/** What a configuration says of yarn: the factor may be the ratio of its positions to the original ones. */
function yarnSettings(config: HfConfig, map: FieldMap): YarnSettings {
  const positions = config.find('max_position_embeddings')?.integer(count);
  const originalPositions = originalPositionsOf(config, map) ?? 1;
  const number = (key: string): number | undefined => {
    const field = map.get(key);
    return field === undefined || field.isNothing ? undefined : field.number({ min: 0 });
  };
  const given = map.get('factor');
  const factor = given?.isNothing === true ? undefined : given;
  /** 0 means the default, as in transformers. */
  const positive = (key: string): number | undefined => {
    const value = number(key);
    return value === 0 ? undefined : value;
  };
  return {
    factor: factor?.number({ above: 0 }) ?? (positions ?? originalPositions) / originalPositions,
    originalPositions,
    ...optional('betaFast', positive('beta_fast')),
    ...optional('betaSlow', positive('beta_slow')),
    ...optional('mscale', positive('mscale')),
    ...optional('mscaleAllDim', positive('mscale_all_dim')),
    ...optional('truncate', map.get('truncate')?.boolean()),
    ...optional('attentionFactor', number('attention_factor')),
  };
}

const optional = <K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } =>
  (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };

function scalingOf(config: HfConfig, type: string, map: FieldMap): RopeScaling | undefined {
  const above = { above: 0 } as const;
  switch (type) {
    case 'linear':
      return { kind: 'linear', factor: map.need('factor').number(above) };
    case 'yarn':
      return yarnScaling(yarnSettings(config, map));
    case 'llama3':
      return {
        kind: 'llama3',
        factor: map.need('factor').number(above),
        originalPositions:
          originalPositionsOf(config, map) ?? map.need('original_max_position_embeddings').integer(count),
        lowFactor: map.need('low_freq_factor').number(above),
        highFactor: map.need('high_freq_factor').number(above),
      };
    // Rescales sequences longer than the model's positions alone, which are refused where they are computed.
    case 'dynamic':
      return config.find('max_position_embeddings') === undefined ? undefined : { kind: 'linear', factor: 1 };
    default:
      return undefined;
  }
}

/** The map in force, and the kind of rotation that it names. */
function parametersOf(config: HfConfig): { readonly map?: FieldMap; readonly type: string } {
  const map = config.rotary();
  if (map === undefined) return { type: 'default' };
  return { map, type: (map.get('rope_type') ?? map.get('type'))?.string() ?? 'default' };
}

/** Factor on DeepSeek's attention scores, of any rescaled rotation that names the scale of all dimensions. */
export function scoreScalingOf(config: HfConfig): number {
  const { map, type } = parametersOf(config);
  return map === undefined || type === 'default' ? 1 : yarnScoreScaling(yarnSettings(config, map));
}

type RopePart = Pick<ModelShape, 'ropeTheta' | 'ropeType' | 'ropeScaling'>;

/** Rotary base, kind and rescaling; keys that are absent keep the family's defaults. */
export function ropeOf(config: HfConfig): RopePart {
  const { map, type: ropeType } = parametersOf(config);
  const ropeTheta = (map?.get('rope_theta') ?? config.find('rope_theta'))?.number({ above: 0 });
  const ropeScaling = map === undefined ? undefined : scalingOf(config, ropeType, map);
  return {
    ropeType,
    ...(ropeTheta === undefined ? {} : { ropeTheta }),
    ...(ropeScaling === undefined ? {} : { ropeScaling }),
  };
}
