/** Templates whose row moves a communication library does inside its transfers. */
import type { Operation, Program, Template } from './schedule.js';

/**
 * The template without the kernels of some tasks. What waited for one of them waits for what it waited for; lanes are
 * in-order, so the next operation of its lane inherits the same. For prices only: nothing fills the regions that the
 * kernels would.
 */
function fusedTemplate(template: Template, tasks: readonly string[]): Template {
  const fused = ({ body, task }: Operation): boolean => body.kind === 'kernel' && tasks.includes(task);
  const instead = new Map<string, readonly string[]>();
  const inherited = new Map<string, string[]>();
  const operations: Operation[] = [];
  for (const operation of template.operations) {
    const { lane, id } = operation;
    const waits = [
      ...(inherited.get(lane) ?? []),
      ...operation.after.flatMap((other) => instead.get(other) ?? [other]),
    ];
    if (fused(operation)) {
      instead.set(id, waits);
      inherited.set(lane, waits);
    } else {
      inherited.delete(lane);
      operations.push({ ...operation, after: [...new Set(waits)].filter((other) => other !== id) });
    }
  }
  return { ...template, operations };
}

/** All templates of a program. */
export const fusedProgram = (program: Program, tasks: readonly string[]): Program => ({
  ...program,
  templates: Object.fromEntries(
    Object.entries(program.templates).map(([name, template]) => [name, fusedTemplate(template, tasks)]),
  ),
});
