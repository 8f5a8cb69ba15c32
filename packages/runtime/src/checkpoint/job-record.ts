/** What a training state keeps of the job that wrote it: named settings, never the job's inputs. */
import { z } from 'zod';

/** JSON has no Infinity; it is written as a word. */
const limit = z.preprocess((value) => (value === 'Infinity' ? Infinity : value), z.number().or(z.literal(Infinity)));
const name = z.string().max(4096);

const jobRecordSchema = z.object({
  text: name,
  steps: z.number(),
  seed: z.number(),
  evaluateEvery: z.number(),
  evaluationBatches: z.number(),
  optimizer: z.object({
    learningRate: z.number(),
    minimumLearningRate: z.number(),
    warmup: z.number(),
    beta1: z.number(),
    beta2: z.number(),
    epsilon: z.number(),
    weightDecay: z.number(),
    clip: limit,
  }),
  step: z.object({
    sequence: z.number(),
    sequences: z.number(),
    microBatches: z.number(),
    dtype: name,
    capacityFactor: z.number().optional(),
    selectionBiasRate: z.number().optional(),
    payload: name.optional(),
    strategy: z.object({
      dispatch: name,
      combine: name,
      chunks: z.object({ forward: z.number(), backward: z.number() }),
    }),
  }),
});

/** For people, and to tell what a resumed run does otherwise than before. */
export type JobRecord = z.infer<typeof jobRecordSchema>;

/** The record of a job: what the schema names, whatever else the job carries. */
export const jobRecord = (job: JobRecord): JobRecord => jobRecordSchema.parse(job);

/**
 * Reads a record; undefined when it is none, as in a state that another version wrote. What it has besides is left out.
 */
export const parseJobRecord = (value: unknown): JobRecord | undefined => jobRecordSchema.safeParse(value).data;
