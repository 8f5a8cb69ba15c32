/** The chain of operations that decides the makespan, and what they were held by. */
import type { Lane } from '../schedule/schedule.js';
import { causes } from './rank-state.js';
import type { Happening } from './rank-state.js';

/** What a piece of the path was spent on. */
export type Resource =
  | { readonly kind: 'port'; readonly port: number }
  /** A lane on which a kernel ran. */
  | { readonly kind: 'lane'; readonly lane: Lane }
  | { readonly kind: 'latency' }
  /** The host issued operations. */
  | { readonly kind: 'host' };

export interface PathPiece {
  readonly rank: number;
  /** Index of the program node. */
  readonly node: number;
  /** The operation; for host time the one that was issued at its end. */
  readonly operation: string;
  readonly template: string;
  /** What of the work it is. */
  readonly task: string;
  /** From the beginning of the trace. */
  readonly start: number;
  /** From the beginning of the trace. */
  readonly end: number;
  /** What it was spent on. */
  readonly resource: Resource;
}

/**
 * Walks back from the last end: from a collective to the rank that came last, from every start to what allowed it. The
 * pieces follow one another without gaps from 0 to the makespan; pieces of no length are left out.
 */
export function criticalPath(happenings: readonly (readonly (Happening | undefined)[])[]): PathPiece[] {
  let rank = 0;
  let index = -1;
  let last = -1;
  happenings.forEach((list, r) => {
    list.forEach((happening, i) => {
      if (happening && happening.end > last) [rank, index, last] = [r, i, happening.end];
    });
  });
  const path: PathPiece[] = [];
  for (;;) {
    const happening = happenings[rank]?.[index];
    if (!happening) break;
    const { flat } = happening;
    const add = (of: Happening, start: number, end: number, resource: Resource): void => {
      if (end <= start) return;
      const { node, name, template, operation } = of.flat;
      path.push({ rank, node, operation: name, template: template.name, task: operation.task, start, end, resource });
    };
    let first = happening;
    if (flat.operation.body.kind === 'collective') {
      add(happening, happening.through, happening.end, { kind: 'latency' });
      add(
        happening,
        happening.ready,
        happening.through,
        happening.port < 0 ? { kind: 'latency' } : { kind: 'port', port: happening.port },
      );
      rank = happening.lastRank;
      first = happenings[rank]?.[happening.lastOperation] ?? happening;
    } else {
      add(happening, happening.issued, happening.end, { kind: 'lane', lane: flat.operation.lane });
    }
    index = first.cause === causes.host ? first.blocker : first.cause;
    // nothing for what started at the end of its cause; else the host issued, or its thread woke up
    add(first, happenings[rank]?.[index]?.end ?? 0, first.issued, { kind: 'host' });
  }
  return path.reverse();
}
