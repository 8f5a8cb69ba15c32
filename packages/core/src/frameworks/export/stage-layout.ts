/** Layers of pipeline stages that are not all alike, as Megatron's --pipeline-model-parallel-layout writes them. */
import { evenLayers } from '../../estimate/index.js';

export interface StagesGiven {
  readonly layers: number;
  /** Multi-token prediction layers: they stand on the last stage, before the loss. */
  readonly multiTokenLayers: number;
  /** Pipeline ranks times virtual stages of each. */
  readonly stages: number;
  /** Layers of each virtual stage, where they are chosen. */
  readonly layersOfStages?: readonly number[];
}

/**
 * `Et|tt|tt|tmL`: E embedding, t decoder layer, m multi-token layer, L loss, `|` between stages. Layers that are not
 * chosen lie as plans are priced.
 */
export function stageLayout(given: StagesGiven): string {
  const counts = given.layersOfStages ?? evenLayers(given.layers, given.stages, given.multiTokenLayers);
  return counts
    .map((count, stage) => {
      const first = stage === 0 ? 'E' : '';
      const last = stage === counts.length - 1 ? `${'m'.repeat(given.multiTokenLayers)}L` : '';
      return `${first}${'t'.repeat(count)}${last}`;
    })
    .join('|');
}

/** Whether a layout has to be given: stages are chosen, do not divide, or the last holds multi-token layers. */
export const needsLayout = ({ layers, multiTokenLayers, stages, layersOfStages }: StagesGiven): boolean =>
  stages > 1 &&
  (layers % stages !== 0 || multiTokenLayers > 0 || (layersOfStages !== undefined && new Set(layersOfStages).size > 1));
