/**
 * The one compiler: a program in, operations with their queues and dependencies and the lifetimes of regions out.
 * Simulator, memory and executor read this and nothing else, so prediction and execution cannot mean different
 * programs.
 *
 * Queues: kernels and binds of a lane form one queue; the collectives of a lane form one queue for every group, as each
 * group has a communicator, and on a GPU a stream, of its own; sends and receives form one for each task. Operations
 * of one queue run one after another in program order. Operations of different queues wait for one another only where
 * the result tells that they must: where they use the same rows and one of them writes them, where `after` of an
 * operation names the other, or where `after` of a node names the other's node. No node waits for the end of another
 * by itself.
 */
import { InputError } from '../units/errors.js';
import { RegionLifetimes, type RegionInstance, type Whole } from './region-lifetimes.js';
import type { Lane, Operation, Program, ProgramNode, Template } from './schedule.js';
import { planTemplate, type QueueKind, type TemplatePlan } from './template-plan.js';
import { follow, include, Touches, type Touched } from './touches.js';

export const lanes: readonly Lane[] = ['compute', 'inter', 'intra', 'copy', 'shared'];

/** One list for all that are empty. */
const none: readonly number[] = [];

export interface Queue extends QueueKind {
  /** Its operations, in order. */
  readonly operations: readonly number[];
}

/** One operation of one node, the same on all ranks of the stage: where it queues, and what it waits for. */
export interface OrderedOperation {
  /** Place in issue order. */
  readonly index: number;
  readonly node: number;
  readonly template: Template;
  readonly operation: Operation;
  /** Template and operation, as spans name it. */
  readonly name: string;
  /** Index into `queues`. */
  readonly queue: number;
  /** Operations of other queues that must have ended; all are before it. */
  readonly after: readonly number[];
  /** The other direction: operations of other queues that wait for it. */
  readonly dependents: readonly number[];
}

export interface CompiledOperation extends OrderedOperation {
  /** Index into `regions` of each use. */
  readonly instances: readonly number[];
}

export interface CompiledNode {
  /** Its operations are those from `first` on, `count` of them. */
  readonly first: number;
  readonly count: number;
}

/** What runs when: all that time depends on. */
export interface OrderedProgram {
  readonly program: Program;
  readonly queues: readonly Queue[];
  readonly operations: readonly OrderedOperation[];
  readonly nodes: readonly CompiledNode[];
}

/** The same with what lives when. */
export interface CompiledProgram extends OrderedProgram {
  readonly operations: readonly CompiledOperation[];
  readonly regions: readonly RegionInstance[];
}

/** Works through a program node by node. */
class Compilation {
  readonly operations: (OrderedOperation & { dependents: readonly number[] })[] = [];
  readonly nodes: CompiledNode[] = [];
  readonly #program: Program;
  readonly #lifetimes: RegionLifetimes | undefined;
  readonly #plans = new Map<string, TemplatePlan>();
  /** By operation of a template. */
  readonly #queuesOf = new Map<TemplatePlan, readonly number[]>();
  readonly #touches = new Touches();
  /** What the operation at hand waits for. */
  readonly #after: number[] = [];
  /** Last operations of each node; those of what it waits for where it has none. */
  readonly #sinks: (readonly number[])[] = [];
  /** By template, layer, micro-batch and pass, those of which parts are to come. */
  readonly #wholes = new Map<string, Whole>();

  /** `lifetimes` is told of all uses. */
  constructor(program: Program, lifetimes?: RegionLifetimes) {
    this.#program = program;
    this.#lifetimes = lifetimes;
    program.nodes.forEach((node, index) => this.#check(node, index));
    const ids = this.queueKinds().map(({ id }) => id);
    for (const plan of this.#plans.values())
      this.#queuesOf.set(
        plan,
        plan.queues.map((id) => ids.indexOf(id)),
      );
    program.nodes.forEach((node, index) => this.#node(node, index));
    this.#tellDependents();
  }

  /** All queues: by lane, the queue of kernels first. */
  queueKinds(): QueueKind[] {
    const kinds = [...this.#plans.values()].flatMap((plan) => plan.kinds);
    const found = new Map(kinds.map((kind) => [kind.id, kind]));
    const ids = [...found.keys()].sort();
    return lanes.flatMap((lane) => ids.flatMap((id) => found.get(id) ?? []).filter((kind) => kind.lane === lane));
  }

  #check(node: ProgramNode, index: number): void {
    const { stage, templates } = this.#program;
    for (const before of node.after) {
      if (!Number.isInteger(before) || before < 0 || before >= index)
        throw new InputError(`node ${index} (${node.template}) of stage ${stage} waits for node ${before}`, {
          expected: index === 0 ? 'nothing to wait for in the first node' : `a node from 0 to ${index - 1}`,
        });
    }
    const template = templates[node.template];
    if (!template)
      throw new InputError(`node ${index} of stage ${stage} names the template "${node.template}"`, {
        expected: `one of ${Object.keys(templates).join(', ')}`,
      });
    if (!this.#plans.has(node.template)) this.#plans.set(node.template, planTemplate(template));
  }

  #node(node: ProgramNode, index: number): void {
    const plan = this.#plans.get(node.template);
    if (!plan) return;
    const { operations } = plan.template;
    const { first: from = 0, end = operations.length } = node.part ?? {};
    const whole = this.#whole(node, index);
    const first = this.operations.length;
    const awaited = this.#awaitedBy(node);
    const queues = this.#queuesOf.get(plan) ?? [];
    const touched: (readonly Touched[] | undefined)[] = [];
    for (let place = from; place < end; place++) {
      const operation = operations[place];
      if (operation === undefined) break;
      const number = this.operations.length;
      whole.numbers.push(number);
      const queue = queues[place] ?? 0;
      const after = this.#after;
      if (after.length > 0) after.length = 0;
      const before = plan.after[place] ?? none;
      for (let at = 0; at < before.length; at++) include(after, whole.numbers[before[at] ?? -1] ?? number);
      if (plan.roots.has(place))
        for (const other of awaited) if (this.operations[other]?.queue !== queue) include(after, other);
      const outliving = plan.outliving[place] ?? [];
      for (let at = 0; at < outliving.length; at++) {
        const used = outliving[at];
        if (used === undefined) break;
        const all = (touched[used.place] ??= this.#touches.of(used.region, node));
        for (let one = 0; one < all.length; one++) follow(all[one], { use: used.use, number, queue, after });
      }
      this.#lifetimes?.use(plan.uses[place] ?? [], { plan, node, whole, operation: number, queue });
      const { template, names } = plan;
      const name = names[place] ?? '';
      this.operations.push({
        index: number,
        node: index,
        template,
        operation,
        name,
        queue,
        after: after.length === 0 ? none : after.slice(),
        dependents: none,
      });
    }
    this.#lifetimes?.end({ plan, node, whole, operation: this.operations.length - 1 });
    this.nodes.push({ first, count: end - from });
    const sinks = plan.sinks.flatMap((sink) => whole.numbers[sink] ?? []);
    this.#sinks.push(sinks.length === 0 ? awaited : sinks);
  }

  /** Last operations of the nodes that a node waits for. */
  #awaitedBy({ after }: ProgramNode): readonly number[] {
    const [before] = after;
    if (before === undefined) return none;
    if (after.length === 1) return this.#sinks[before] ?? none;
    return [...new Set(after.flatMap((one) => this.#sinks[one] ?? []))];
  }

  /** Lists of who waits for an operation, no longer than they are: there are as many as operations. */
  #tellDependents(): void {
    const { operations } = this;
    const ends = new Int32Array(operations.length);
    for (const { after } of operations) for (const other of after) ends[other] = (ends[other] ?? 0) + 1;
    let total = 0;
    for (let index = 0; index < ends.length; index++) ends[index] = total += ends[index] ?? 0;
    const dependents = Array.from({ length: total }, () => 0);
    // from the last one on, so that in the end each list begins where it ended
    for (let index = operations.length - 1; index >= 0; index--)
      for (const other of operations[index]?.after ?? none) {
        const at = (ends[other] ?? 0) - 1;
        ends[other] = at;
        dependents[at] = index;
      }
    operations.forEach((operation, index) => {
      const next = ends[index + 1] ?? total;
      const first = ends[index] ?? next;
      if (next > first) operation.dependents = dependents.slice(first, next);
    });
  }

  /** What a node is a part of, itself where it is all of its template. Throws `InputError` for parts out of order. */
  #whole(node: ProgramNode, index: number): Whole {
    const { template, layer, microBatch, pass, part } = node;
    if (part === undefined) return { node: index, numbers: [], instances: [] };
    const count = this.#plans.get(template)?.template.operations.length ?? 0;
    const key = `${template}/${layer}/${microBatch}/${pass}`;
    const begun = this.#wholes.get(key);
    const next = begun?.numbers.length ?? 0;
    if (part.first !== next || part.end <= part.first || part.end > count)
      throw new InputError(`node ${index} has operations ${part.first} to ${part.end} of ${template}`, {
        expected: `a run of its ${count} operations that begins at ${next}`,
      });
    const whole = begun ?? { node: index, numbers: [], instances: [] };
    if (part.end === count) this.#wholes.delete(key);
    else this.#wholes.set(key, whole);
    return whole;
  }
}

function orderedBy(compilation: Compilation, program: Program): OrderedProgram {
  const { operations, nodes } = compilation;
  const kinds = compilation.queueKinds();
  const inQueue = kinds.map((): number[] => []);
  for (const { index, queue } of operations) inQueue[queue]?.push(index);
  const queues = kinds.map((kind, queue): Queue => ({ ...kind, operations: inQueue[queue] ?? [] }));
  return { program, queues, operations, nodes };
}

/**
 * Compiles a program. Throws `InputError` for unknown templates, nodes, operations and regions, for repeated ids and
 * for operations or nodes that wait for themselves or for later ones in issue order (which could never be issued to an
 * in-order queue).
 */
export function compile(program: Program): CompiledProgram {
  const lifetimes = new RegionLifetimes();
  const ordered = orderedBy(new Compilation(program, lifetimes), program);
  const { instances, used } = lifetimes;
  const operations = ordered.operations.map((one, index) => ({ ...one, instances: used[index] ?? [] }));
  return { ...ordered, operations, regions: instances };
}

/** The same without the lifetimes of regions, for whoever asks for time alone. Throws as `compile` does. */
export const orderProgram = (program: Program): OrderedProgram => orderedBy(new Compilation(program), program);
