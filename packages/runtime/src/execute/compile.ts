/**
 * A template made ready to run: every operation's dependencies as indices, with those that the order of one queue implies on a GPU but not
 * here (collectives of different groups on one lane are on different communicators), and which kernels collectives wait for.
 */
import { usesConflict, type Operation, type Template } from '@monta/core';

export interface CompiledOperation {
  readonly operation: Operation;
  readonly index: number;
  /** Indices of operations that must have ended. */
  readonly after: readonly number[];
  /** A kernel that some collective waits for: its end is recorded as an event. */
  readonly signals: boolean;
}

export interface CompiledTemplate {
  readonly template: Template;
  readonly operations: readonly CompiledOperation[];
}

const runsOnHost = (operation: Operation): boolean => operation.body.kind !== 'collective';

/** Two operations whose order their queue keeps by itself. */
function sameQueue(a: Operation, b: Operation): boolean {
  if (a.lane !== b.lane || runsOnHost(a) !== runsOnHost(b)) return false;
  return a.body.kind !== 'collective' || b.body.kind !== 'collective' || a.body.group === b.body.group;
}

export function compileTemplate(template: Template): CompiledTemplate {
  const { operations } = template;
  const indexOf = new Map(operations.map((operation, index) => [operation.id, index]));
  const after = operations.map((operation, index) => {
    const set = new Set<number>();
    for (const id of operation.after) {
      const before = indexOf.get(id);
      if (before === undefined || before >= index)
        throw new Error(`${template.name}/${operation.id} waits for ${id}, which is not before it`);
      set.add(before);
    }
    operations.slice(0, index).forEach((earlier, before) => {
      if (
        earlier.lane === operation.lane &&
        !sameQueue(earlier, operation) &&
        usesConflict(earlier.uses, operation.uses)
      )
        set.add(before);
    });
    return [...set];
  });
  const signals = operations.map(() => false);
  operations.forEach((operation, index) => {
    if (operation.body.kind === 'collective') for (const before of after[index]) signals[before] = true;
  });
  return {
    template,
    operations: operations.map((operation, index) => ({
      operation,
      index,
      after: after[index],
      signals: signals[index] && runsOnHost(operation),
    })),
  };
}
