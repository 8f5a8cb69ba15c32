/** What a Megatron run is as a plan: layout, batch, sequence and dispatcher, as far as its flags say. */
import { resolveLayout, type Layout } from '../../layout/index.js';
import { InputError } from '../../units/errors.js';
import type { MegatronRun } from './run.js';

export interface PlannedRun {
  readonly layout: Layout;
  /** Sequences of a micro-batch. */
  readonly sequences: number | undefined;
  readonly microBatches: number | undefined;
  readonly sequence: number | undefined;
  /** As `alltoall`, or `flex deepep`. */
  readonly dispatcher: string;
}

/** Undefined where degrees or ranks are not known, or do not make a layout: the checker says why. */
export function plannedBy(run: MegatronRun): PlannedRun | undefined {
  const { tensor: tp, pipeline: pp, contextParallel: cp, expert: ep, expertTensor: etp } = run;
  const { gpus } = run.context;
  if (
    tp === undefined ||
    pp === undefined ||
    cp === undefined ||
    ep === undefined ||
    etp === undefined ||
    gpus === undefined
  )
    return undefined;
  const type = run.text('moe_token_dispatcher_type') ?? '';
  try {
    return {
      layout: resolveLayout({ tp, pp, cp, ep, etp, sequenceParallel: run.on('sequence_parallel') && tp > 1 }, gpus),
      sequences: run.number('micro_batch_size'),
      microBatches: run.microBatches,
      sequence: run.number('seq_length'),
      dispatcher: type === 'flex' ? `flex ${run.text('moe_flex_dispatcher_backend') ?? ''}` : type,
    };
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
