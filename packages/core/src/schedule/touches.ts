/** Uses of regions that outlive their nodes: what a later use of the same rows has to wait for. */
import { chunksOverlap } from './region-users.js';
import type { Life, ProgramNode, Region, Use } from './schedule.js';

/** A use that later ones may have to wait for. */
interface Touch extends Pick<Use, 'chunk' | 'of' | 'mode'> {
  readonly operation: number;
  readonly queue: number;
}

/** Uses of a region that outlives its node, which a later one may conflict with. */
export interface Touched {
  readonly list: Touch[];
}

/** Above the numbers of micro-batches of a step, over all chunks of a stage. */
const mostMicroBatches = 2 ** 20;

/** Which layer's or micro-batch's region an id means at a node, as `instanceKey` has it, as a number. */
function instanceNumber(life: Life, { layer, microBatch, pass }: ProgramNode): number {
  const both = (layer + 1) * mostMicroBatches + microBatch;
  switch (life) {
    case 'layer':
      throw new RangeError('a region of life layer does not outlive its node');
    case 'saved':
      return both;
    case 'pass':
      return 2 * both + (pass === 'forward' ? 0 : 1);
    case 'microBatch':
      return microBatch;
    case 'parameter':
      return layer;
    case 'step':
      return 0;
  }
}

/** Uses by region: life, id and number of the instance. */
export class Touches {
  readonly #byLife = new Map<Life, Map<string, Map<number, Touched>>>();

  /** Uses so far of a region at a node. A flat region is all of its parts. */
  of({ id, life, parts }: Region, node: ProgramNode): readonly Touched[] {
    if (parts) return parts.map(({ region, layer }) => this.#of('parameter', region, layer));
    return [this.#of(life, id, instanceNumber(life, node))];
  }

  #of(life: Life, id: string, instance: number): Touched {
    let byId = this.#byLife.get(life);
    if (byId === undefined) this.#byLife.set(life, (byId = new Map()));
    let instances = byId.get(id);
    if (instances === undefined) byId.set(id, (instances = new Map()));
    let touched = instances.get(instance);
    if (touched === undefined) instances.set(instance, (touched = { list: [] }));
    return touched;
  }
}

/**
 * Adds the operations that a use of a region that outlives its node has to wait for to `after`, and notes the use for
 * later ones. Operations that name parts of a flat region differently are kept apart too.
 */
export function follow(
  touched: Touched | undefined,
  step: { readonly use: Use; readonly number: number; readonly queue: number; readonly after: number[] },
): void {
  if (touched === undefined) return;
  const { use, number, queue, after } = step;
  const { chunk, of, mode } = use;
  const { list } = touched;
  let kept = 0;
  for (let at = 0; at < list.length; at++) {
    const touch = list[at];
    if (touch === undefined) break;
    if (touch.operation < number && touch.queue !== queue && conflict(touch, use)) include(after, touch.operation);
    if (!replaces(use, queue, touch)) list[kept++] = touch;
  }
  // telling it its own length is slow
  if (kept < list.length) list.length = kept;
  list.push({ operation: number, queue, chunk, of, mode });
}

/** Adds a number to a short list unless it is there. */
export function include(numbers: number[], number: number): void {
  if (!numbers.includes(number)) numbers.push(number);
}

const conflict = (earlier: Touch, use: Use): boolean =>
  !(earlier.mode === 'read' && use.mode === 'read') && chunksOverlap(earlier, use);

/**
 * Whether who waits for a use need not wait for an earlier one besides: it wrote over all of it, or came later on the
 * same queue.
 */
function replaces(use: Use, queue: number, touch: Touch): boolean {
  const covers = use.of === 1 || (use.chunk === touch.chunk && use.of === touch.of);
  if (!covers) return false;
  return use.mode === 'read' ? touch.mode === 'read' && touch.queue === queue : true;
}
