/**
 * The layout string of a pipeline, `Et*3|(tt|)*29m|L`, as stages: E embedding, t decoder layer, m multi-token layer, L
 * loss (megatron/core/transformer/pipeline_parallel_layer_layout.py, `parse_str_to_list`).
 */
import { limits } from '../../units/limits.js';

/** Repeats as Megatron unrolls them: first brackets, then single signs. */
const repeats = [/\(([^)]+)\)\*(\d+)/gu, /(.)\*(\d+)/gu] as const;

/**
 * Stages in the order in which a token passes them; undefined for a sign that is none, and for more than any model has.
 */
export function readStageLayout(text: string): readonly string[] | undefined {
  const most = 4 * limits.layers;
  let unrolled = text.replaceAll(',', '');
  for (const pattern of repeats) {
    let length = 0;
    unrolled = unrolled.replaceAll(pattern, (_, part: string, count: string) => {
      const times = Number(count);
      length += part.length * times;
      return length > most ? '' : part.repeat(times);
    });
    if (length > most) return undefined;
  }
  return /^[Etm|L]+$/u.test(unrolled) && unrolled.length <= most ? unrolled.split('|') : undefined;
}

/** How often a sign stands in the stages. */
export const countSign = (stages: readonly string[], sign: 'E' | 't' | 'm' | 'L'): number =>
  stages.reduce((sum, stage) => sum + stage.split(sign).length - 1, 0);
