/**
 * Writes templates. Dependencies come from the regions that operations use: an operation waits for every earlier one that wrote what it
 * reads, or read or wrote what it writes, chunk by chunk. Same-lane order is implied and not repeated.
 */
import type { Activation, Body, Lane, Operation, Region, Template, Use, Work } from './schedule.js';

export const read = (region: string, chunk = 0, of = 1): Use => ({ region, chunk, of, mode: 'read' });
export const write = (region: string, chunk = 0, of = 1): Use => ({ region, chunk, of, mode: 'write' });
export const add = (region: string, chunk = 0, of = 1): Use => ({ region, chunk, of, mode: 'add' });

/**
 * Whether two chunks share rows. Chunk c of n of a block of m rows is floor(m*c/n)..floor(m*(c+1)/n); floor is monotone, so chunks whose
 * fractions [c/n, (c+1)/n) are disjoint share none, whatever m is.
 */
function overlaps(a: Use, b: Use): boolean {
  return a.region === b.region && a.chunk * b.of < (b.chunk + 1) * a.of && b.chunk * a.of < (a.chunk + 1) * b.of;
}

const conflicts = (earlier: Use, later: Use): boolean =>
  overlaps(earlier, later) && !(earlier.mode === 'read' && later.mode === 'read');

/** Whether two operations touch the same rows and at least one of them writes them, so that their order matters. */
export const usesConflict = (earlier: readonly Use[], later: readonly Use[]): boolean =>
  earlier.some((a) => later.some((b) => conflicts(a, b)));

/** One chunk of a task. */
export interface Piece {
  readonly task: string;
  readonly chunk: number;
  readonly of: number;
}

/** An operation of its own, or a piece of a task, which is issued under the id `task.chunk`. */
export type OperationName = string | Piece;

export type Collective = Extract<Body, { kind: 'collective' }>;

export class TemplateBuilder {
  readonly #regions = new Map<string, Region>();
  readonly #operations: Operation[] = [];

  /** Declares a region once; a second declaration under the same id must be equal. */
  region(region: Region): string {
    const before = this.#regions.get(region.id);
    if (before && JSON.stringify(before) !== JSON.stringify(region))
      throw new Error(`region ${region.id} is declared twice with different shapes`);
    this.#regions.set(region.id, region);
    return region.id;
  }

  kernel(id: OperationName, name: string, work: Work, uses: readonly Use[], lane: Lane = 'compute'): void {
    this.#push(id, lane, { kind: 'kernel', name, work }, uses);
  }

  collective(
    id: OperationName,
    lane: Lane,
    collective: Omit<Collective, 'kind'>,
    uses: readonly Use[],
    priority = 0,
  ): void {
    this.#push(id, lane, { kind: 'collective', ...collective }, uses, priority);
  }

  bind(id: string, uses: readonly Use[]): void {
    this.#push(id, 'compute', { kind: 'bind' }, uses);
  }

  build(name: string, input: Activation, output: Activation): Template {
    return { name, input, output, regions: [...this.#regions.values()], operations: this.#operations };
  }

  #push(name: OperationName, lane: Lane, body: Body, uses: readonly Use[], priority = 0): void {
    const { task, chunk, of } = typeof name === 'string' ? { task: name, chunk: 0, of: 1 } : name;
    const id = typeof name === 'string' ? name : `${task}.${chunk}`;
    for (const use of uses)
      if (!this.#regions.has(use.region)) throw new Error(`operation ${id} uses region ${use.region}, not declared`);
    if (this.#operations.some((o) => o.id === id)) throw new Error(`operation ${id} is there twice`);
    const after = this.#operations.filter((o) => o.lane !== lane && usesConflict(o.uses, uses)).map((o) => o.id);
    this.#operations.push({ id, task, chunk, of, lane, body, uses, after, priority });
  }
}
