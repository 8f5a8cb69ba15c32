/** Plans drawn at random from layouts that models and clusters allow. */
import { getCluster } from '#core/cluster/index.js';
import { exportPlan } from '#core/frameworks/export/export-plan.js';
import type { ExportPlan, ExportTarget } from '#core/frameworks/export/exported.js';
import { checkModelLayout, resolveLayout, type Layout } from '#core/layout/index.js';
import { getModel } from '#core/model/index.js';
import { halvesName, searchedHalves, type Strategy } from '#core/schedule/index.js';
import { InputError, type Random } from '#core/units/index.js';

const models = [
  'mixtral-8x7b',
  'mixtral-8x22b',
  'qwen3-30b-a3b',
  'qwen3-235b-a22b',
  'deepseek-v3',
  'olmoe-1b-7b',
  'dbrx',
].map(getModel);
const clusters = ['h100-1x8', 'h100-2x8', 'h100-8x8', 'a800-2x8', 'b200-4x8', 'h100-16x8'].map(getCluster);

/** What a framework can run at all; a draw from everything would seldom hit it. */
interface Drawn {
  readonly cp: readonly number[];
  readonly pp: readonly number[];
  readonly wholeExperts: boolean;
  readonly halves: readonly string[];
}

const drawnOf: Partial<Record<ExportTarget, Drawn>> = {
  deepspeed: { cp: [1], pp: [1], wholeExperts: true, halves: ['scattered', 'sliced'] },
  torchtitan: { cp: [1, 1, 2], pp: [1, 2, 4, 8], wholeExperts: true, halves: ['scattered', 'sliced', 'deduplicated'] },
};

/** Layers of stages as a person might choose them: some are moved to a neighbour. */
function movedLayers(random: Random, layers: number, stages: number): number[] {
  const counts = Array.from({ length: stages }, (_, stage) => Math.floor(((stage + 1) * layers) / stages));
  const each = counts.map((end, stage) => end - (counts[stage - 1] ?? 0));
  const from = random.integer(stages - 1);
  if ((each[from] ?? 0) > 1) {
    each[from] = (each[from] ?? 0) - 1;
    each[from + 1] = (each[from + 1] ?? 0) + 1;
  }
  return each;
}

/** A layout that the model and the cluster allow, drawn at random; tries until one is found. */
export function drawPlan(random: Random, target?: ExportTarget): ExportPlan {
  const drawn = target === undefined ? undefined : drawnOf[target];
  const pick = <T>(list: readonly T[]): T => {
    const one = list[random.integer(list.length)];
    if (one === undefined) throw new RangeError('nothing to pick');
    return one;
  };
  for (;;) {
    const [model, cluster] = [pick(models), pick(clusters)];
    const world = cluster.tiers.reduce((product, { size }) => product * size, 1);
    const powers = [1, 2, 4, 8];
    const [tp, cp, pp] = [pick(powers), pick(drawn?.cp ?? [1, 1, 2]), pick(drawn?.pp ?? powers)];
    const etp = drawn?.wholeExperts === true ? 1 : pick([1, tp]);
    const layout = layoutOr(
      { tp, cp, pp, ep: pick([1, 2, 4, 8, 16, 32]), etp, sequenceParallel: random.uniform() < 0.8 },
      world,
    );
    if (layout === undefined) continue;
    try {
      checkModelLayout(model, layout);
    } catch (error) {
      if (error instanceof InputError) continue;
      throw error;
    }
    const strategy: Strategy = {
      ...pick(searchedHalves().filter((pair) => drawn?.halves.includes(halvesName(pair)) ?? true)),
      chunks: { forward: pick([1, 1, 4]), backward: pick([1, 2]) },
    };
    const virtualStages = pp > 1 ? pick([1, 1, 2]) : 1;
    const moved = pp > 1 && random.uniform() < 0.3 && pp * virtualStages <= model.layers;
    return {
      model,
      cluster,
      layout,
      strategy,
      sequence: pick([1024, 4096, 8192]),
      sequences: pick([1, 2, 4]),
      microBatches: pick([1, 3, 8]),
      dtype: 'bf16',
      recompute: pick(['none', 'selective', 'full', ['core_attn', 'moe']] as const),
      sharing: pick(['distributed-optimizer', 'distributed-optimizer', 'fsdp', 'none'] as const),
      virtualStages,
      ...(moved ? { layersOfStages: movedLayers(random, model.layers, pp * virtualStages) } : {}),
    };
  }
}

function layoutOr(partial: Parameters<typeof resolveLayout>[0], world: number): Layout | undefined {
  try {
    return resolveLayout(partial, world);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/** Why an export is refused; undefined where it is written. */
export function refusalOf(plan: ExportPlan, target: ExportTarget): InputError | undefined {
  try {
    exportPlan(plan, target);
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}
