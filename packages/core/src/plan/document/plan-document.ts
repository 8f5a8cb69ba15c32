/**
 * A plan as a file: all that a run depends on, what it is predicted to take, and what that rests on. The schema is the
 * one description of it: types follow from it, `docs/plan.schema.json` is written from it, and files are checked by it.
 */
import { z } from 'zod';
import { computePrecisions, dispatchKinds, pipelineSchedules, rankOrders, stacks } from '../../estimate/index.js';
import { megatronModules, precisions, sharingRules } from '../../memory/index.js';
import { InputError } from '../../units/errors.js';
import { readDocument } from '../../units/documents/index.js';
import { limits } from '../../units/limits.js';
import { frameworkNames } from '../space/frameworks.js';

export const planVersion = 1;

/** Beyond any search's. */
const mostRunnersUp = 64;

const count = (most: number) => z.int().min(1).max(most);
const amount = z.number().min(0);

const chosen = {
  layout: z.string().describe('Parallel degrees, as monta plan --layout takes them'),
  virtualStages: count(limits.layers).describe('Chunks of the model that a stage of the pipeline holds'),
  layersOfStages: z
    .array(z.int().min(0).max(limits.layers))
    .optional()
    .describe('Layers of each virtual stage; even when left out'),
  sequences: count(limits.sequences).describe('Sequences of one micro-batch of a replica'),
  microBatches: count(limits.sequences).describe('Micro-batches of a step of a replica'),
  schedule: z.enum(pipelineSchedules).describe('Order of passes in the pipeline'),
  dispatcher: z.enum(dispatchKinds).describe('How rows reach their experts'),
  dispatch: z.string().describe('The same as monta train --dispatch takes it'),
  rankOrder: z.enum(rankOrders).optional().describe('Replicas inside stages (dp-pp) when left out'),
  weightShards: z
    .strictObject({
      dense: count(limits.ranks).describe('Ranks that a weight outside the experts is split over'),
      expert: count(limits.ranks).describe('Ranks that a weight of an expert is split over'),
    })
    .optional()
    .describe('Ranks that each dense weight, and each weight of an expert, is split over beside tp and etp'),
  hostStates: z.boolean().optional().describe("Whether the optimizer's states lie in the host's memory"),
  sharing: z
    .enum(Object.keys(sharingRules) as [keyof typeof sharingRules])
    .describe('What ranks share of weights, gradients and moments'),
  recompute: z
    .union([z.enum(['none', 'selective', 'full']), z.array(z.enum(megatronModules))])
    .describe('What runs again in the backward'),
  overlap: z
    .strictObject({
      tp: z.boolean().describe("Tensor parallelism's, beside products"),
      ep: z.boolean().describe("Experts' exchanges, beside another micro-batch"),
      dp: z.boolean().describe('Gradients and weights, beside the passes'),
      pp: z.boolean().describe("Stages' transfers, beside the passes"),
    })
    .describe('Communication that runs beside computation'),
};

const expected = z.strictObject({
  seconds: amount.describe('Of a step'),
  tokensPerSecondPerGpu: amount.describe('Tokens of the batch over the step and the GPUs'),
  mfu: amount.describe("Model FLOPs utilisation in Megatron-LM's convention, over the bf16 peak"),
  memoryBytes: amount.describe('Of the fullest device'),
});

const planSchema = z
  .strictObject({
    kind: z.literal('monta.plan'),
    version: z.literal(planVersion),
    model: z.string().describe('Name, or path of a configuration'),
    cluster: z.string().describe('Name, or path of a description'),
    framework: z.enum(frameworkNames).nullable().describe('What has to run the plan; null for anything'),
    sequence: count(limits.sequence).describe('Tokens of a sequence'),
    globalBatch: count(limits.sequences).describe('Sequences of a step over all replicas'),
    dtype: z.literal('bf16').describe('Of activations'),
    precision: z.enum(computePrecisions).describe('Of matrix products'),
    states: z
      .enum(Object.keys(precisions) as [keyof typeof precisions])
      .describe('Bytes of weights, gradients and moments'),
    stack: z.enum(stacks).describe('The software that launches kernels'),
    imbalance: z.number().min(1).max(limits.experts).describe("Rows of the fullest rank's experts over the mean"),
    ...chosen,
    expected: expected
      .extend({
        boundSeconds: amount.describe('FLOPs of the model over the peak: no plan takes less'),
        basis: z.string().describe('What the figures rest on'),
        parts: z.record(z.string(), z.number()).describe('Seconds of a step by what takes them'),
      })
      .describe('What the plan is predicted to take'),
    runnersUp: z
      .array(
        z.strictObject({
          ...chosen,
          precision: z.enum(computePrecisions).optional().describe("The plan's own when left out"),
          expected: expected.describe('What it is predicted to take'),
        }),
      )
      .max(mostRunnersUp)
      .describe('The next best plans, fastest first'),
    search: z
      .strictObject({
        represented: amount.describe('Settings of the space'),
        prunedByMemory: amount.describe('Left out because they have no room'),
        prunedByTime: amount.describe('Left out because they cannot be the fastest'),
        priced: amount.describe('Priced one by one'),
        complete: z.boolean().describe('False where the search was ended early'),
      })
      .describe('How many settings were looked at'),
    judged: z
      .array(
        z.strictObject({
          layout: z.string().describe('Parallel degrees'),
          schedule: z.enum(pipelineSchedules).describe('Order of passes in the pipeline'),
          estimatedSeconds: amount.describe('Of a step, in closed form'),
          simulatedSeconds: amount.optional().describe('Of a step, simulated'),
          why: z.string().optional().describe('Why it was not simulated'),
          dispatch: z.string().optional().describe('How rows travel in what was simulated, with chunks'),
          overlap: z
            .strictObject({
              chunks: z.boolean().describe("A chunk's stages, beside those of others"),
              experts: z.boolean().describe("A chunk's expert GEMMs, beside the transfers of others"),
              shared: z.boolean().describe('Experts that every token visits, beside dispatch and combine'),
              weightGradients: z.boolean().describe("Experts' weight gradients, beside the way back"),
              reductions: z.boolean().describe('Reductions of gradients, beside the backward'),
              passes: z.boolean().describe("A forward, beside another micro-batch's backward"),
            })
            .optional()
            .describe('What of the step ran beside what in the simulation: the fastest that was found'),
        }),
      )
      .max(mostRunnersUp)
      .optional()
      .describe('Plans whose steps were simulated, in the order of the estimate'),
    sources: z.array(z.string()).describe('What the cluster rests on'),
  })
  .meta({ title: 'Plan of a training run, by monta plan' });

export type PlanDocument = z.infer<typeof planSchema>;

/** The JSON Schema (draft 2020-12) of a plan. */
export const planJsonSchema = (): unknown => z.toJSONSchema(planSchema);

/** Whether a parsed file says that it is a plan of this kind. */
export const isPlanDocument = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'monta.plan';

/** Reads a plan. Throws `InputError` that says where it is wrong. */
export function readPlan(text: string, file: string): PlanDocument {
  const parsed = planSchema.safeParse(readDocument(text, file).value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new InputError(issue?.message ?? 'is no plan', {
    file,
    path: issue?.path
      .map((part) => (typeof part === 'number' ? `[${part}]` : String(part)))
      .join('.')
      .replaceAll('.[', '['),
    expected: `a plan of version ${planVersion}, as monta plan --output writes it`,
  });
}
