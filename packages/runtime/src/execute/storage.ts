/**
 * Where the regions of a rank's program lie. Regions whose rows only routing decides get their room when the counts are known, with exactly
 * the rows that they will hold; a rank whose memory is full throws `DeviceMemoryError`, which ends the job on all ranks.
 *
 * layer regions live while their node runs, saved ones from the node that first opens them until the last node of the program that declares
 * them for the same layer and micro-batch, step ones until `close`.
 */
import {
  chunkRows,
  InputError,
  type Binding,
  type Program,
  type ProgramNode,
  type Region,
  type Size,
  type Template,
  type Use,
} from '@monta/core';
import { elementBytes, type View } from '../device/view.js';
import type { CpuMemory } from '../device/cpu/index.js';
import type { Arena } from './arena.js';

interface Placed {
  readonly region: Region;
  readonly view: View;
  /** Given back to the arena when it dies; step regions that someone else placed are not. */
  readonly owned: boolean;
}

const savedKey = (node: ProgramNode, id: string): string => `${node.layer}/${node.microBatch}/${id}`;

const needsCounts = (size: Size): boolean => typeof size !== 'number' && size.symbol !== 'slice';

export class Storage {
  readonly #arena: Arena;
  readonly #memory: CpuMemory;
  readonly #binding: Binding;
  readonly #rank: number;
  readonly #step = new Map<string, Placed>();
  readonly #saved = new Map<string, Placed>();
  /** Last node that declares a saved region, by key. */
  readonly #lastUse = new Map<string, number>();
  #layer = new Map<string, Placed>();
  #node = 0;
  #programNode: ProgramNode | undefined;
  #template: Template | undefined;

  constructor(memory: CpuMemory, arena: Arena, binding: Binding, rank: number) {
    this.#memory = memory;
    this.#arena = arena;
    this.#binding = binding;
    this.#rank = rank;
  }

  /** Reads a program's lifetimes. Saved regions of a program before are given back. */
  begin(program: Program): void {
    this.#release(this.#saved);
    this.#lastUse.clear();
    program.nodes.forEach((node, index) => {
      for (const region of program.templates[node.template].regions)
        if (region.life === 'saved') this.#lastUse.set(savedKey(node, region.id), index);
    });
  }

  /** Places a step region in memory that the caller owns. */
  placeStep(id: string, view: View): void {
    const region: Region = { id, dtype: 'f32', rows: view.length, columns: 1, order: 'rows', life: 'step' };
    this.#step.set(id, { region, view, owned: false });
  }

  /** Makes room for a node's regions as far as their sizes are known. */
  openNode(template: Template, node: ProgramNode, index: number, countsKnown: boolean): void {
    this.#template = template;
    this.#programNode = node;
    this.#node = index;
    this.#place((region) => countsKnown || !needsCounts(region.rows));
  }

  /** Makes room for what waited for the counts. */
  countsKnown(): void {
    this.#place(() => true);
  }

  closeNode(): void {
    this.#release(this.#layer);
    for (const [key, placed] of this.#saved) {
      if (this.#lastUse.get(key) !== this.#node) continue;
      this.#arena.release(placed.view.byteOffset);
      this.#saved.delete(key);
    }
  }

  /** Gives back everything that is not the caller's. */
  close(): void {
    this.#release(this.#layer);
    this.#release(this.#saved);
    for (const [id, placed] of this.#step)
      if (placed.owned) {
        this.#arena.release(placed.view.byteOffset);
        this.#step.delete(id);
      }
  }

  /** Whether the running template has a region. */
  has(id: string): boolean {
    return this.#template?.regions.some((region) => region.id === id) ?? false;
  }

  /** The region as declared by the running template. */
  region(id: string): Region {
    return this.#find(id).region;
  }

  /** All of a region of the running node. */
  view(id: string): View {
    return this.#find(id).view;
  }

  /** The elements that a use names: a chunk of a region of order `chunks` or `rows`, all of one of order `blocks` (kernels find their rows). */
  useView({ region: id, chunk, of }: Use): View {
    const { region, view } = this.#find(id);
    if (of === 1 || region.order === 'blocks') return view;
    let rows = 0;
    for (let before = 0; before < chunk; before++) rows += this.rows(region.rows, before, of);
    const length = this.rows(region.rows, chunk, of) * region.columns;
    const start = rows * region.columns;
    return { type: view.type, byteOffset: view.byteOffset + start * elementBytes[view.type], length };
  }

  /** Rows of chunk `chunk` of `of` of a size on this rank, at the running node. */
  rows(size: Size, chunk = 0, of = 1): number {
    return typeof size === 'number'
      ? chunkRows(size, chunk, of)
      : this.#binding.rows(size.symbol, this.#rank, this.#node, chunk, of);
  }

  /** Memory for a kernel's own use, given back when `use` returns. */
  withScratch<T>(elements: number, use: (scratch: Float32Array) => T): T {
    const byteOffset = this.#arena.allocate(elements * elementBytes.f32);
    try {
      return use(this.#memory.f32({ type: 'f32', byteOffset, length: elements }));
    } finally {
      this.#arena.release(byteOffset);
    }
  }

  #find(id: string): Placed {
    const node = this.#programNode;
    const placed =
      this.#layer.get(id) ??
      (node === undefined ? undefined : this.#saved.get(savedKey(node, id))) ??
      this.#step.get(id);
    if (placed === undefined) throw new Error(`${this.#template?.name ?? 'no template'}: region ${id} has no memory`);
    return placed;
  }

  #place(ready: (region: Region) => boolean): void {
    const node = this.#programNode;
    if (this.#template === undefined || node === undefined) return;
    for (const region of this.#template.regions) {
      const [map, key] =
        region.life === 'layer'
          ? [this.#layer, region.id]
          : region.life === 'saved'
            ? [this.#saved, savedKey(node, region.id)]
            : [this.#step, region.id];
      if (map.has(key) || !ready(region)) continue;
      if (region.dtype !== 'f32' && region.dtype !== 'i32')
        throw new InputError(`the CPU computes in f32, not ${region.dtype} (region ${region.id})`, {
          expected: 'a step shape of dtype f32',
        });
      const length = this.rows(region.rows) * region.columns;
      const byteOffset = this.#arena.allocate(length * elementBytes[region.dtype]);
      map.set(key, { region, view: { type: region.dtype, byteOffset, length }, owned: true });
    }
  }

  #release(map: Map<string, Placed>): void {
    for (const { view, owned } of map.values()) if (owned) this.#arena.release(view.byteOffset);
    map.clear();
  }
}
