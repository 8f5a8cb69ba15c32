/**
 * The shape of a model as a training state holds it: every field that is known has its type, before anything is made of
 * it.
 */
import { completeModel, modelFamilies } from '@monta/core/model';
import type { ModelShape, MoeModel } from '@monta/core';
import { z } from 'zod';

const word = z.string().max(4096);

const modelSchema = z.looseObject({
  name: word,
  family: z.enum(modelFamilies),
  hiddenSize: z.number(),
  layers: z.number(),
  attentionHeads: z.number(),
  keyValueHeads: z.number(),
  headDim: z.number(),
  vocabSize: z.number(),
  experts: z.number(),
  topK: z.number(),
  expertFfn: z.number(),
  sharedExpertFfn: z.number(),
  sharedExpertGate: z.boolean(),
  denseFfn: z.number(),
  moeLayers: z.array(z.boolean()),
  gated: z.boolean(),
  activation: word,
  scoring: z.enum(['softmax', 'sigmoid']),
  normTopK: z.boolean(),
  routedScaling: z.number(),
  auxLossCoefficient: z.number(),
  qkNorm: z.enum(['none', 'perHead', 'allHeads']),
  attentionBias: z.enum(['none', 'queryKeyValue', 'all']),
  expertBias: z.boolean(),
  clipQkv: z.number().optional(),
  tieEmbeddings: z.boolean(),
  rmsNormEps: z.number(),
  ropeTheta: z.number(),
  ropeType: word,
  latentAttention: z
    .object({
      queryRank: z.number().optional(),
      keyValueRank: z.number(),
      nopeHeadDim: z.number(),
      ropeHeadDim: z.number(),
      valueHeadDim: z.number(),
    })
    .optional(),
  window: z
    .object({ kind: z.enum(['sliding', 'chunked']), tokens: z.number(), layers: z.array(z.boolean()) })
    .optional(),
  multiTokenLayers: z.number(),
  maxPositions: z.number().optional(),
  padTokenId: z.number().optional(),
  initializerRange: z.number(),
});

/**
 * Reads a model that `completeModel` made; returns the path of the field that is not what it should be. Throws what
 * `completeModel` throws.
 */
export function parseModelRecord(value: unknown): MoeModel | { readonly wrong: string } {
  const parsed = modelSchema.safeParse(value);
  const [issue] = parsed.error?.issues ?? [];
  if (issue !== undefined) return { wrong: ['model', ...issue.path].join('.') };
  return completeModel(parsed.data as ModelShape);
}
