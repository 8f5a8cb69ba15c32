/**
 * In which order a pipeline stage runs its passes: one forward, one backward (1F1B; Narayanan et al., arXiv
 * 2104.04473), plain or interleaved over several virtual stages a device, as Megatron-Core's `schedules.py` issues
 * them.
 */
import { InputError } from '../units/errors.js';

export interface PipelineShape {
  /** Stages of the pipeline, and virtual stages (model chunks) that each holds. */
  readonly stages: number;
  readonly virtual: number;
  readonly microBatches: number;
}

/** One pass of one micro-batch through one of the stage's chunks. */
export interface PipelinePass {
  readonly pass: 'forward' | 'backward';
  readonly chunk: number;
  readonly microBatch: number;
}

/** Throws `InputError` where virtual stages are interleaved and micro-batches are no multiple of the stages. */
export function checkPipeline({ stages, virtual, microBatches }: PipelineShape): void {
  if (virtual > 1 && stages === 1)
    throw new InputError(`${virtual} virtual stages without a pipeline`, { path: 'vp', expected: 'vp = 1, or pp > 1' });
  if (virtual > 1 && microBatches % stages !== 0)
    throw new InputError(`${microBatches} micro-batches in an interleaved pipeline of ${stages} stages`, {
      path: 'microBatches',
      expected: `a multiple of ${stages}`,
    });
}

/** Forward passes that a stage runs before its first backward. */
export function warmUpPasses({ stages, virtual, microBatches }: PipelineShape, stage: number): number {
  const ahead = stages - stage - 1;
  const passes = virtual === 1 ? ahead : 2 * ahead + (virtual - 1) * stages;
  return Math.min(passes, microBatches * virtual);
}

/** The chunk of a stage's forward or backward pass, of those in order the one with this number. */
export function chunkOf(
  { stages, virtual }: Pick<PipelineShape, 'stages' | 'virtual'>,
  pass: PipelinePass['pass'],
  number: number,
): number {
  const turn = Math.floor((number % (stages * virtual)) / stages);
  return pass === 'forward' ? turn : virtual - 1 - turn;
}

/** The passes of a stage, in order. */
export function pipelineOrder(shape: PipelineShape, stage: number): PipelinePass[] {
  checkPipeline(shape);
  const { stages, virtual, microBatches } = shape;
  const total = microBatches * virtual;
  const at = (pass: PipelinePass['pass'], number: number): PipelinePass => {
    if (virtual === 1) return { pass, chunk: 0, microBatch: number };
    const round = Math.floor(number / (stages * virtual));
    return { pass, chunk: chunkOf(shape, pass, number), microBatch: round * stages + (number % stages) };
  };
  const warmUp = warmUpPasses(shape, stage);
  const order = Array.from({ length: warmUp }, (_, number) => at('forward', number));
  for (let number = 0; number < total; number++) {
    if (warmUp + number < total) order.push(at('forward', warmUp + number));
    order.push(at('backward', number));
  }
  return order;
}

/** Most passes whose activations a stage holds at a time. */
export const passesInFlight = (shape: PipelineShape, stage: number): number =>
  Math.min(warmUpPasses(shape, stage) + 1, shape.microBatches * shape.virtual);
