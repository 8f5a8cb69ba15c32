/** How an operation of a template is called wherever it ran, simulated or measured. */
import type { Lane, Operation, Template } from './schedule.js';

/** What an operation is called and where it queues, the same for all ranks. */
export interface SpanLabel {
  /**
   * Template and operation id, as `moe.forward/all_gather.0`: by this, traces are matched; nothing else is read out of
   * it.
   */
  readonly operation: string;
  /** As `moe.forward`. */
  readonly template: string;
  /** What all its chunks do together, as `all_gather`. */
  readonly task: string;
  /** Which chunk of how many; 0 of 1 when its task is not cut. */
  readonly chunk: number;
  readonly of: number;
  readonly lane: Lane;
}

/** How spans call an operation of a template. */
export const spanLabel = (template: Template, { id, task, chunk, of, lane }: Operation): SpanLabel => ({
  operation: `${template.name}/${id}`,
  template: template.name,
  task,
  chunk,
  of,
  lane,
});
