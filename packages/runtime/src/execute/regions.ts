/**
 * Where the regions of a rank's program lie. Each gets its room when the first operation that uses it is issued, with
 * exactly the rows that it will hold, and gives it back once nothing that is still to be issued asks for it. What was
 * issued may run later: whoever gets the room next waits for the operations that used it before. A rank whose memory is
 * full throws `DeviceMemoryError`, which ends the job on all ranks.
 */
import { appendAll } from '@monta/core/units';
import { chunkRows } from '@monta/core/routing';
import type { Binding, CompiledOperation, CompiledProgram, Region, RegionInstance, Size, Use } from '@monta/core';
import type { Device, Operand } from '../device/device.js';
import { elementBytes, part, type ElementType, type View } from '../device/view.js';

/** The token slice of this rank, for uses that name it. */
export interface OwnSlice {
  readonly start: number;
  readonly end: number;
}

/** Finds parameters: the view of a region of a layer, or undefined. */
export type ParameterViews = (id: string, layer: number) => View | undefined;

export interface RegionOptions {
  readonly device: Device;
  readonly binding: Binding;
  readonly rank: number;
  readonly slice: OwnSlice;
  readonly parameters: ParameterViews;
}

interface Placed {
  readonly view: View;
  /** Operations that used the room before and may not have ended; those that use the region wait for them. */
  readonly waits: readonly number[];
}

/** Room that was given back while operations that use it may be under way. */
interface Freed {
  readonly start: number;
  readonly end: number;
  readonly operations: readonly number[];
}

const bytesOf = ({ type, length }: View): number => length * elementBytes[type];

export class Regions {
  readonly #options: RegionOptions;
  /** Placed by the owner, by id and micro-batch. */
  readonly #given = new Map<string, View>();
  #program: CompiledProgram | undefined;
  #placed: (Placed | undefined)[] = [];
  #freed: Freed[] = [];
  /** Regions by the operation after whose issue nothing asks for them. */
  readonly #closing = new Map<number, number[]>();
  #usedBytes = 0;
  #peakBytes = 0;

  constructor(options: RegionOptions) {
    this.#options = options;
  }

  /** The most bytes of regions at a time so far; without parameters and what the owner placed. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Puts a region that lives a micro-batch or longer where the owner wants it. */
  place(id: string, view: View, microBatch = 0): void {
    this.#given.set(`${microBatch}/${id}`, view);
  }

  /** Starts a program; nothing of one before may be under way. */
  begin(program: CompiledProgram): void {
    this.#program = program;
    this.#placed = [];
    this.#freed = [];
    this.#closing.clear();
    program.regions.forEach(({ region, last }, number) => {
      if (region.life === 'parameter' || region.life === 'step') return;
      const closing = this.#closing.get(last);
      if (closing === undefined) this.#closing.set(last, [number]);
      else closing.push(number);
    });
  }

  /**
   * Makes room for the regions that an operation uses first. Returns the operations that it has to wait for because of
   * the room: those that had it before.
   */
  open({ instances }: CompiledOperation, hasEnded: (operation: number) => boolean): number[] {
    const waits: number[] = [];
    for (const instance of instances) {
      const placed = (this.#placed[instance] ??= this.#place(this.#instance(instance), hasEnded));
      appendAll(waits, placed.waits);
    }
    return waits;
  }

  /** An operation has been issued: gives back the room of regions that nothing behind it uses. */
  issued({ index }: CompiledOperation): void {
    for (const number of this.#closing.get(index) ?? []) {
      const view = this.#placed[number]?.view;
      const instance = this.#instance(number);
      if (view === undefined || this.#givenView(instance) !== undefined) continue;
      this.#options.device.free(view);
      this.#usedBytes -= bytesOf(view);
      this.#freed.push({ start: view.byteOffset, end: view.byteOffset + bytesOf(view), operations: instance.ends });
      this.#placed[number] = undefined;
    }
  }

  /** Rows of chunk `chunk` of `of` of a size on this rank at a node. */
  rows(size: Size, node: number, chunk = 0, of = 1): number {
    const { binding, rank } = this.#options;
    return typeof size === 'number' ? chunkRows(size, chunk, of) : binding.rows(size.rule, rank, node, { chunk, of });
  }

  /** What the i-th use of an operation names: all of the region, a chunk of it, or the rows of the own token slice. */
  operand(operation: CompiledOperation, place: number): Operand {
    const number = operation.instances[place];
    const instance = this.#instance(number);
    const view = this.#placed[number]?.view;
    if (view === undefined) throw new Error(`${operation.name}: region ${instance.region.id} has no memory`);
    return this.#part(operation.operation.uses[place], instance, view);
  }

  /** The whole of a region that an operation of a node uses, and its declaration; undefined when none does. */
  ofNode(node: number, id: string): { readonly region: Region; readonly view: View } | undefined {
    const program = this.#program;
    if (program === undefined) return undefined;
    const { first, count } = program.nodes[node];
    for (const { instances } of program.operations.slice(first, first + count))
      for (const number of instances) {
        const view = this.#placed[number]?.view;
        const { region } = this.#instance(number);
        if (region.id === id && view !== undefined) return { region, view };
      }
    return undefined;
  }

  #part({ chunk, of, slice }: Use, { region, node }: RegionInstance, view: View): Operand {
    const { columns, order, rows: size } = region;
    if (slice === true && typeof size === 'number' && this.#options.slice.end - this.#options.slice.start < size) {
      const { start, end } = this.#options.slice;
      return { view: part(view, start * columns, (end - start) * columns), rows: end - start, columns };
    }
    if (of === 1 || order === 'blocks') return { view, rows: view.length / columns, columns };
    let before = 0;
    for (let other = 0; other < chunk; other++) before += this.rows(size, node, other, of);
    const rows = this.rows(size, node, chunk, of);
    return { view: part(view, before * columns, rows * columns), rows, columns };
  }

  #instance(number: number): RegionInstance {
    const instance = this.#program?.regions[number];
    if (instance === undefined) throw new RangeError(`the program has no region ${number}`);
    return instance;
  }

  #givenView({ region, microBatch }: RegionInstance): View | undefined {
    return this.#given.get(`${region.life === 'step' ? 0 : microBatch}/${region.id}`);
  }

  #place(instance: RegionInstance, hasEnded: (operation: number) => boolean): Placed {
    const { region, layer, node } = instance;
    if (region.life === 'parameter') {
      const view = this.#options.parameters(region.id, layer);
      if (view === undefined) throw new Error(`no parameters are known for ${region.id} of layer ${layer}`);
      return { view, waits: [] };
    }
    const given = this.#givenView(instance);
    if (given !== undefined) return { view: given, waits: [] };
    if (region.life === 'step') throw new Error(`region ${region.id} of the step was not placed by its owner`);
    const view = this.#options.device.allocate(this.#typeOf(region), this.rows(region.rows, node) * region.columns);
    this.#usedBytes += bytesOf(view);
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
    return { view, waits: this.#usersBefore(view, hasEnded) };
  }

  /** Rows in fp8 are bytes to all that only move them. */
  #typeOf({ dtype }: Region): ElementType {
    return dtype === 'fp8' ? 'u8' : dtype;
  }

  /** Operations under way that used the room of a view. */
  #usersBefore(view: View, hasEnded: (operation: number) => boolean): number[] {
    const [start, end] = [view.byteOffset, view.byteOffset + bytesOf(view)];
    const waits = new Set<number>();
    this.#freed = this.#freed.filter((freed) => {
      if (freed.end <= start || end <= freed.start) return true;
      for (const operation of freed.operations) if (!hasEnded(operation)) waits.add(operation);
      // Whoever has the room after this region waits for its users, who waited for these.
      return freed.start < start || end < freed.end;
    });
    return [...waits];
  }
}
