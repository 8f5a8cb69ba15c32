/**
 * What a framework keeps, as changes of the same templates: which regions live until the backward, and what lies beside
 * them. Monta's own executor needs none. The rules are applied before a program is compiled, so lifetimes come from one
 * compiler.
 */
import { headsPerRank, type StepShape } from '../schedule/step-shape.js';
import { moeShape } from '../schedule/step-shape.js';
import { activationOf, rowsRegion } from '../schedule/moe-shape.js';
import { streamRows } from '../schedule/moe-parts.js';
import { recomputeModules, type Recompute, type RecomputeModule } from '../schedule/recompute.js';
import type { Operation, Program, Region, Template } from '../schedule/schedule.js';
import type { Slot } from '../schedule/parameter.js';
import { gradientId } from '../schedule/parameter-regions.js';
import { tpShare } from '../schedule/rows.js';

/** monta: as the embedded runtime executes it. megatron: as Megatron-Core with TransformerEngine keeps it. */
export const conventions = ['monta', 'megatron'] as const;
export type Convention = (typeof conventions)[number];

/** A region that lies beside another one, wherever an operation uses that. */
interface Beside {
  readonly of: string;
  readonly region: Region;
}

interface Rules {
  /** Regions that live until the backward has ended, though the program computes them again from another; by which. */
  readonly kept: ReadonlyMap<string, string>;
  /** Regions that the framework does without. */
  readonly absent: ReadonlySet<string>;
  /** Regions of which only the own slice of the tokens is kept. */
  readonly sliced: ReadonlySet<string>;
  readonly beside: readonly Beside[];
}

/** What a person may have Megatron-Core recompute beyond Monta's modules. */
export const megatronModules = [...recomputeModules, 'moe_act'] as const;
export type MegatronModule = (typeof megatronModules)[number];

/** Rules of Megatron-Core that hold or do not, each alone; `megatronRules` says what they are. */
export const megatronRuleNames = ['slices', 'activations', 'rotation', 'probabilities', 'gradients'] as const;
export type MegatronRule = (typeof megatronRuleNames)[number];

/** What of a convention a run has otherwise. */
export interface ConventionChanges {
  /** `moe_act` is computed again. */
  readonly activationAgain?: boolean | undefined;
  /** Rules of Megatron-Core that do not hold: of an older version, or to see what each is worth. */
  readonly withoutRules?: readonly MegatronRule[] | undefined;
}

/**
 * Megatron-Core with TransformerEngine (megatron/core/transformer, core_v0.14 on):
 * - slices: linear layers keep their input and no gathered copy of it: under sequence parallelism the slice is gathered
 * again in the backward (`LayerNormColumnParallelLinear`), so that the gathered rows are there only while a layer runs
 * - activations: SwiGLU keeps its input, and the second linear layer its output (`moe_act` computes it again)
 * - rotation: rotated queries and keys are tensors of their own, while values stay a view of the projection, which
 * keeps all of it alive; latent attention puts queries and keys together anew and copies its values
 * (`MLASelfAttention.get_query_key_value_tensors`: `contiguous`), so that nothing holds the projections
 * - probabilities: they are multiplied in with the experts' activation (`weighted_bias_swiglu_impl`), so that returned
 * rows are not kept
 * - context parallelism by all_to_all keeps what it has exchanged, in place of that view
 * - logits and their gradient are in 16 bits each (the fused cross entropy of TransformerEngine): 4 bytes together
 * - gradients: the output's gradient is a tensor in 16 bits that stands in for the fused main gradient
 * (`linear_with_grad_accumulation_and_async_allreduce`),
 *   the embedding's one before it is added to the main gradient
 */
function megatronRules(step: StepShape, { activationAgain = false, withoutRules = [] }: ConventionChanges): Rules {
  const { model, layout, dtype } = step;
  const shape = moeShape(step);
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const has = (rule: MegatronRule): boolean => !withoutRules.includes(rule);
  const sliced = has('slices') && activationOf(layout) === 'sequence';
  const all = (id: string, columns: number, life: Region['life']): Region =>
    rowsRegion({ id, shape, rows: shape.tokens, columns, order: 'rows', life });
  const normed = ['attention.normed', 'mlp.normed', 'shared.normed', 'head.normed'];
  const rotates =
    has('rotation') &&
    model.learnedPositions === 0 &&
    model.qkNorm === 'none' &&
    model.latentAttention === undefined &&
    layout.cp === 1;
  const gradientOf = (slot: Slot): Beside => ({
    of: gradientId(slot),
    region: {
      id: `gradient.${slot}`,
      dtype,
      rows: tpShare('vocabulary', model.vocabSize, layout.tp),
      columns: model.hiddenSize,
      order: 'rows',
      life: 'layer',
    },
  });
  return {
    kept: new Map(
      has('activations')
        ? ['mlp', ...(activationAgain ? [] : ['expert', 'shared'])].map((of) => [`${of}.activated`, `${of}.gateUp`])
        : [],
    ),
    absent: new Set(has('probabilities') ? ['returned.forward'] : []),
    sliced: new Set(sliced ? normed : []),
    beside: [
      ...(sliced ? normed.map((of) => ({ of, region: all(`${of}.gathered`, model.hiddenSize, 'layer') })) : []),
      ...(rotates
        ? [
            {
              of: 'attention.queryKeyValue',
              region: all('attention.rotated', (query + keyValue) * model.headDim, 'saved'),
            },
          ]
        : []),
      ...(has('gradients') ? [gradientOf('embedding')] : []),
      ...(has('gradients') && !model.tieEmbeddings ? [gradientOf('head')] : []),
    ],
  };
}

function applied(template: Template, { kept, absent, sliced, beside }: Rules, step: StepShape): Template {
  const rows = streamRows(moeShape(step).tokens, { layout: step.layout });
  const backward = template.of?.pass === 'backward';
  // What is computed again is kept no longer than what it is computed from.
  const saved = new Set(template.regions.filter(({ life }) => life === 'saved').map(({ id }) => id));
  const regions = template.regions.flatMap((region): Region[] => {
    if (absent.has(region.id)) return backward ? [] : [{ ...region, life: 'layer' }];
    if (saved.has(kept.get(region.id) ?? '')) return [{ ...region, life: 'saved' }];
    return [sliced.has(region.id) && region.life === 'saved' ? { ...region, rows } : region];
  });
  const declared = new Set(regions.map(({ id }) => id));
  const accompanied = new Set(beside.map(({ of }) => of));
  const operations = template.operations.map((operation): Operation => {
    if (operation.uses.every(({ region }) => declared.has(region) && !accompanied.has(region))) return operation;
    const uses = operation.uses.filter(({ region }) => declared.has(region));
    const more = beside.filter(({ of, region }) => {
      if (!uses.some((use) => use.region === of)) return false;
      if (!declared.has(region.id)) regions.push(saved.has(of) ? region : { ...region, life: 'layer' });
      declared.add(region.id);
      return true;
    });
    const also = more.map(({ region }) => ({
      role: 'beside',
      region: region.id,
      chunk: 0,
      of: 1,
      mode: 'read' as const,
    }));
    return { ...operation, uses: [...uses, ...also] };
  });
  return { ...template, regions, operations };
}

/** A program as a framework holds it in memory: for its lifetimes alone, no executor takes it. */
export function asConvention(
  program: Program,
  convention: Convention,
  step: StepShape,
  changes: ConventionChanges = {},
): Program {
  if (convention === 'monta') return program;
  const rules = megatronRules(step, changes);
  const templates = Object.fromEntries(
    Object.entries(program.templates).map(([name, template]) => [name, applied(template, rules, step)]),
  );
  return { ...program, templates };
}

/**
 * Recomputation under a convention. Attention kernels that keep no scores (flash attention) leave `core_attn` nothing
 * to drop in Megatron-Core, since the output projection keeps attention's output; `selective` is `core_attn` alone
 * there.
 */
export function recomputeUnder(convention: Convention, recompute: Recompute): Recompute {
  if (convention === 'monta' || recompute === 'none' || recompute === 'full') return recompute;
  if (recompute === 'selective') return 'none';
  return recompute.filter((module: RecomputeModule) => module !== 'core_attn');
}
