/** Where the rows of a region come from, as the operations' uses tell. */
import type { Operation, Template } from './schedule.js';
import { usesConflict, type Used } from './template-builder.js';

/**
 * The operations of a template that a region's rows come from, in issue order: those that write it, those that write
 * what these read, and so on. What the region itself is read for afterwards is not among them.
 */
export function feedersOf(template: Template, region: string): Operation[] {
  const feeders: Operation[] = [];
  let wanted: Used[] = [{ region, chunk: 0, of: 1, mode: 'read' }];
  for (const operation of [...template.operations].reverse()) {
    const { uses } = operation;
    const writes = uses.filter(({ mode }) => mode !== 'read');
    if (!usesConflict(writes, wanted)) continue;
    feeders.push(operation);
    wanted = [...wanted, ...uses.filter(({ mode }) => mode !== 'write').map((use): Used => ({ ...use, mode: 'read' }))];
  }
  return feeders.reverse();
}
