/** Turns a program into flat, indexed operations, and checks that it can run. */
import type { Body, Lane, Operation, Program, Template } from '../schedule/schedule.js';
import { spanLabel, type SpanLabel } from '../trace/span.js';
import { InputError } from '../units/index.js';

export const lanes: readonly Lane[] = ['compute', 'inter', 'intra', 'copy'];

/** One operation of one node, the same on all ranks of the stage. */
export interface FlatOperation {
  /** Place in issue order. */
  readonly index: number;
  readonly node: number;
  readonly template: Template;
  readonly operation: Operation;
  /** Template and operation, as spans name it. */
  readonly name: string;
  readonly label: SpanLabel;
  /** Index into `lanes`. */
  readonly lane: number;
  /** Operations of the same node that must end before this one; how many, and in the other direction which. */
  readonly pending: number;
  readonly dependents: readonly number[];
  /** The host issues nothing further until it has ended. */
  readonly blocksHost: boolean;
}

export interface FlatNode {
  readonly first: number;
  readonly count: number;
  readonly pending: number;
  readonly dependents: readonly number[];
}

export interface FlatProgram {
  readonly stage: number;
  readonly program: Program;
  readonly operations: readonly FlatOperation[];
  readonly nodes: readonly FlatNode[];
  /** Operation indices per lane, in issue order. */
  readonly queues: readonly (readonly number[])[];
}

interface FlatTemplate {
  readonly labels: readonly SpanLabel[];
  readonly pending: readonly number[];
  readonly dependents: readonly (readonly number[])[];
}

/**
 * Flattens a program. Throws `InputError` for unknown templates, nodes and operations, for repeated ids and for operations or nodes that
 * wait for themselves or for later ones in issue order (which could never be issued to an in-order queue).
 */
export function flatten(program: Program, hostRunsKernels: boolean): FlatProgram {
  const known = new Map<string, FlatTemplate>();
  const operations: FlatOperation[] = [];
  const nodes: FlatNode[] = [];
  const queues: number[][] = lanes.map(() => []);
  const nodeDependents = program.nodes.map((): number[] => []);
  program.nodes.forEach((node, index) => {
    for (const before of node.after) {
      if (!Number.isInteger(before) || before < 0 || before >= index) {
        throw new InputError(`node ${index} (${node.template}) of stage ${program.stage} waits for node ${before}`, {
          expected: index === 0 ? 'nothing to wait for in the first node' : `a node from 0 to ${index - 1}`,
        });
      }
      nodeDependents[before]?.push(index);
    }
    const template = program.templates[node.template];
    if (!template) {
      throw new InputError(`node ${index} of stage ${program.stage} names the template "${node.template}"`, {
        expected: `one of ${Object.keys(program.templates).join(', ')}`,
      });
    }
    let flat = known.get(node.template);
    if (!flat) {
      flat = flattenTemplate(template);
      known.set(node.template, flat);
    }
    const first = operations.length;
    template.operations.forEach((operation, place) => {
      const lane = lanes.indexOf(operation.lane);
      const label = flat.labels[place] ?? spanLabel(template, operation);
      queues[lane]?.push(first + place);
      operations.push({
        index: first + place,
        node: index,
        template,
        operation,
        name: label.operation,
        label,
        lane,
        pending: flat.pending[place] ?? 0,
        dependents: (flat.dependents[place] ?? []).map((dependent) => first + dependent),
        blocksHost: blocksHost(operation.body, hostRunsKernels),
      });
    });
    nodes.push({
      first,
      count: template.operations.length,
      pending: node.after.length,
      dependents: nodeDependents[index] ?? [],
    });
  });
  return { stage: program.stage, program, operations, nodes, queues };
}

function blocksHost(body: Body, hostRunsKernels: boolean): boolean {
  return body.kind === 'bind' || (body.kind === 'kernel' && hostRunsKernels);
}

function flattenTemplate(template: Template): FlatTemplate {
  const place = new Map<string, number>();
  const pending: number[] = [];
  const dependents: number[][] = template.operations.map(() => []);
  template.operations.forEach((operation, index) => {
    const before = new Set<number>();
    for (const id of operation.after) {
      const other = place.get(id);
      if (other === undefined) {
        throw new InputError(`${template.name}/${operation.id} waits for "${id}"`, {
          expected: 'the id of an operation before it in the same template',
        });
      }
      before.add(other);
    }
    // without `after`, a bind waits for everything that its node issued before
    if (operation.body.kind === 'bind' && before.size === 0) for (let i = 0; i < index; i++) before.add(i);
    for (const other of before) dependents[other]?.push(index);
    pending.push(before.size);
    if (place.has(operation.id)) {
      throw new InputError(`${template.name} has two operations "${operation.id}"`, { expected: 'ids that differ' });
    }
    place.set(operation.id, index);
  });
  return { labels: template.operations.map((operation) => spanLabel(template, operation)), pending, dependents };
}
