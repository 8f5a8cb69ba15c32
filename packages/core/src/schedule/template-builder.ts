/**
 * Writes templates. Every kernel is checked against the catalogue. Dependencies come from the regions that operations
 * use: an operation waits for every earlier one that wrote what it reads, or read or wrote what it writes, chunk by
 * chunk. Same-lane order is not repeated.
 */
import { kernelMisuse } from './kernel-misuse.js';
import { chunksOverlap, RegionUsers } from './region-users.js';
import type { ArgumentsOf, KernelName, OperandsOf } from './kernels.js';
import type { Mode } from './kernels/kernel-spec.js';
import { blockTemplate } from './schedule.js';
import type { Activation, BlockPass, Body, Lane, Operation, Region, Template, Use, Work } from './schedule.js';

/** A use that has yet to be given a role. */
export type Operand = Omit<Use, 'role'>;

const operand = (mode: Mode, region: string, chunk: number, of: number): Operand => ({ region, chunk, of, mode });
export const read = (region: string, chunk = 0, of = 1): Operand => operand('read', region, chunk, of);
export const write = (region: string, chunk = 0, of = 1): Operand => operand('write', region, chunk, of);
export const add = (region: string, chunk = 0, of = 1): Operand => operand('add', region, chunk, of);

/** Only the rows of this rank's token slice, of a region that may hold all T rows. */
export const own = (of: Operand): Operand => ({ ...of, slice: true });

/** What is used of a region, apart from the role. */
export type Used = Pick<Use, 'region' | 'chunk' | 'of' | 'mode'>;

/** Whether two uses touch the same rows and at least one of them writes them, so that their order matters. */
export const conflicts = (earlier: Used, later: Used): boolean =>
  earlier.region === later.region &&
  !(earlier.mode === 'read' && later.mode === 'read') &&
  chunksOverlap(earlier, later);

/** The same of all that two operations use. */
export const usesConflict = (earlier: readonly Used[], later: readonly Used[]): boolean =>
  earlier.some((a) => later.some((b) => conflicts(a, b)));

/** One chunk of a task. */
export interface Piece {
  readonly task: string;
  readonly chunk: number;
  readonly of: number;
}

/** An operation of its own, or a piece of a task, which is issued under the id `task.chunk`. */
export type OperationName = string | Piece;

const idOf = (name: OperationName): string => (typeof name === 'string' ? name : `${name.task}.${name.chunk}`);

export type Collective = Extract<Body, { kind: 'collective' }>;

/** Operands of a collective: from one region to another, or in place. */
export type CollectiveOperands = { readonly from: Operand; readonly to: Operand } | { readonly buffer: Operand };

export interface KernelOperation<Name extends KernelName> {
  readonly id: OperationName;
  readonly kernel: Name;
  readonly operands: OperandsOf<Name, Operand>;
  readonly arguments?: ArgumentsOf<Name>;
  readonly work: Work;
  readonly lane?: Lane;
}

function usesOf(operands: Readonly<Record<string, Operand | undefined>>): Use[] {
  return Object.entries(operands).flatMap(([role, operand]) => (operand === undefined ? [] : [{ role, ...operand }]));
}

const sameRegion = (one: Region, other: Region): boolean =>
  (Object.keys(one) as (keyof Region)[]).every((key) => one[key] === other[key]) ||
  JSON.stringify(one) === JSON.stringify(other);

export class TemplateBuilder {
  readonly #regions = new Map<string, Region>();
  readonly #operations: Operation[] = [];
  readonly #ids = new Set<string>();
  readonly #users = new RegionUsers();

  /** Declares a region once; a second declaration under the same id must be equal. */
  region(region: Region): string {
    const before = this.#regions.get(region.id);
    if (before && !sameRegion(before, region))
      throw new Error(`region ${region.id} is declared twice with different shapes`);
    this.#regions.set(region.id, region);
    return region.id;
  }

  /** Appends a kernel; throws when its operands or arguments are not those of the catalogue. */
  kernel<Name extends KernelName>(operation: KernelOperation<Name>): void {
    const { id, kernel: name, work, lane = 'compute' } = operation;
    const uses = usesOf(operation.operands);
    const given = { ...operation.arguments } as Readonly<Record<string, unknown>>;
    const misuse = kernelMisuse(name, uses, given);
    if (misuse !== undefined) throw new Error(`operation ${idOf(id)}: ${misuse}`);
    this.#push({ name: id, lane, body: { kind: 'kernel', name, arguments: given, work }, uses });
  }

  collective({
    id,
    lane,
    collective,
    operands,
    priority = 0,
  }: {
    readonly id: OperationName;
    readonly lane: Lane;
    readonly collective: Omit<Collective, 'kind'>;
    readonly operands: CollectiveOperands;
    readonly priority?: number;
  }): void {
    this.#push({
      name: id,
      lane,
      body: { kind: 'collective', ...collective },
      uses: usesOf({ ...operands }),
      priority,
    });
  }

  /** The host waits until what it reads is there. */
  bind(id: string, operands: Readonly<Record<string, Operand>>): void {
    this.#push({ name: id, lane: 'compute', body: { kind: 'bind' }, uses: usesOf(operands) });
  }

  /**
   * Writes a task chunk by chunk, the first of them as `emit` does: what it issues for chunk 0 of several, the others
   * do with their own rows. The first chunk has to come first.
   */
  eachChunk(emit: (chunk: number) => void): (chunk: number) => void {
    let first: readonly Operation[] | undefined;
    return (chunk) => {
      if (chunk === 0) {
        const from = this.#operations.length;
        emit(chunk);
        first = this.#operations.slice(from);
        return;
      }
      if (first === undefined) throw new Error(`chunk ${chunk} comes before chunk 0`);
      for (const operation of first) this.#append(forChunk(operation, chunk));
    };
  }

  build(name: string, input: Activation, output: Activation): Template {
    return { name, input, output, regions: [...this.#regions.values()], operations: this.#operations };
  }

  /** The template of a block's pass, whose activations come and go alike. */
  buildPass(of: BlockPass, activation: Activation): Template {
    return { ...this.build(blockTemplate(of.block, of.pass), activation, activation), of };
  }

  #push({
    name,
    lane,
    body,
    uses,
    priority = 0,
  }: {
    readonly name: OperationName;
    readonly lane: Lane;
    readonly body: Body;
    readonly uses: readonly Use[];
    readonly priority?: number;
  }): void {
    const { task, chunk, of } = typeof name === 'string' ? { task: name, chunk: 0, of: 1 } : name;
    const id = idOf(name);
    for (const use of uses)
      if (!this.#regions.has(use.region)) throw new Error(`operation ${id} uses region ${use.region}, not declared`);
    this.#append({ id, task, chunk, of, lane, body, uses, priority });
  }

  /** Adds an operation, which waits for those of other lanes before it that touch the same rows. */
  #append({ id, task, chunk, of, lane, body, uses, priority }: Omit<Operation, 'after'>): void {
    if (this.#ids.has(id)) throw new Error(`operation ${id} is there twice`);
    this.#ids.add(id);
    const found: number[] = [];
    for (const use of uses) this.#users.conflicting(use, found);
    const after: string[] = [];
    for (const index of found.sort((a, b) => a - b)) {
      const other = this.#operations[index];
      if (other !== undefined && other.lane !== lane) after.push(other.id);
    }
    const index = this.#operations.push({ id, task, chunk, of, lane, body, uses, after, priority }) - 1;
    for (const use of uses) this.#users.add(index, use);
  }
}

/** What an operation does for its first chunk, done for another one. */
function forChunk(first: Operation, chunk: number): Omit<Operation, 'after'> {
  const { id, task, of, lane, body, uses, priority } = first;
  if (of === 1) throw new Error(`operation ${id} is no piece of a task; expected one of several chunks`);
  return {
    id: idOf({ task, chunk, of }),
    task,
    chunk,
    of,
    lane,
    body: body.kind === 'kernel' && body.work.of === of ? { ...body, work: { ...body.work, chunk } } : body,
    uses: uses.map((use) => (use.of === of ? { ...use, chunk } : use)),
    priority,
  };
}
