/** Layers of pipeline stages that are not all alike, as Megatron's --pipeline-model-parallel-layout writes them. */

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
 * Layers a stage, as even as can be; of what is left over the middle stages get one each, since the ends hold embedding
 * and loss.
 */
export function evenStages({ layers, multiTokenLayers, stages }: Omit<StagesGiven, 'layersOfStages'>): number[] {
  const counts = Array.from({ length: stages }, () => 0);
  // cost of a stage in layers: embedding is light, the loss about one layer
  const load = counts.map((_, stage) => (stage === stages - 1 ? 1 + multiTokenLayers : stage === 0 ? 0.5 : 0));
  for (let layer = 0; layer < layers; layer++) {
    let lightest = 0;
    for (const [stage, held] of load.entries()) if (held < (load[lightest] ?? 0)) lightest = stage;
    counts[lightest] = (counts[lightest] ?? 0) + 1;
    load[lightest] = (load[lightest] ?? 0) + 1;
  }
  return counts;
}

/** `Et|tt|tt|tmL`: E embedding, t decoder layer, m multi-token layer, L loss, `|` between stages. */
export function stageLayout(given: StagesGiven): string {
  const counts = given.layersOfStages ?? evenStages(given);
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
