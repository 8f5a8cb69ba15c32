/** Which variables the statements of a branch set. */
import type { AndOr, Assignment, CompoundList, PipelineNode } from 'unbash';

export interface AssignedName {
  readonly name: string;
  readonly node: Assignment;
}

/** Variables that plain assignments name, inside inner conditions too. */
export function assignedIn(list: CompoundList): AssignedName[] {
  return list.commands.flatMap(({ command }) => ofNode(command));
}

function ofNode(node: PipelineNode | AndOr): AssignedName[] {
  switch (node.type) {
    case 'AndOr':
    case 'Pipeline':
      return node.commands.flatMap(ofNode);
    case 'Redirected':
      return ofNode(node.command);
    case 'Case':
      return node.items.flatMap(({ body }) => assignedIn(body));
    case 'ArithmeticFor':
    case 'BraceGroup':
    case 'For':
    case 'While':
      return assignedIn(node.body);
    case 'If':
      return [
        ...[node, ...node.elif].flatMap(({ then }) => assignedIn(then)),
        ...(node.else === undefined ? [] : assignedIn(node.else)),
      ];
    case 'Command':
      return node.name === undefined
        ? node.prefix.flatMap((part) => (part.type === 'Assignment' ? [{ name: part.name, node: part }] : []))
        : [];
    case 'ArithmeticCommand':
    case 'Coproc':
    case 'Function':
    case 'Select':
    case 'Subshell':
    case 'TestCommand':
      return [];
  }
}
