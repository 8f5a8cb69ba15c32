/**
 * A rank's trainable tensors in its device's memory: flat weights, gradients and moments, all laid out as core's
 * `parameterLayout` says, and known to programs as regions of life `parameter`.
 */
import { InputError } from '@monta/core/units';
import { groupMembers } from '@monta/core/layout';
import {
  flatRuns,
  gradientId,
  holdsParameter,
  parameterCopies,
  parameterLayout,
  parameters,
  reductions,
  shardElements,
  shardRange,
  weightId,
} from '@monta/core/schedule';
import type { FlatRun, Parameter, ParameterLayout, PlacedParameter, Run, StepShape } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { Device } from '../device/device.js';
import { toBfloat16Array } from '../device/half.js';
import { readFloats } from '../device/host-array.js';
import type { TensorRun } from '../device/kernel-arguments.js';
import { part, type View } from '../device/view.js';

/** One tensor's shard on this rank. */
export interface HeldParameter extends TensorRun {
  readonly parameter: Parameter;
}

/** What a kind of state is called in `data`: the weights, their gradients, and AdamW's moments. */
export type ParameterData = 'weight' | 'gradient' | 'firstMoment' | 'secondMoment';
const kinds: readonly ParameterData[] = ['weight', 'gradient', 'firstMoment', 'secondMoment'];

export class ParameterStore {
  readonly step: StepShape;
  readonly rank: number;
  /** All parameters of the model, in checkpoint order, held here or not. */
  readonly list: readonly Parameter[];
  readonly #device: Device;
  readonly #layout: ParameterLayout;
  readonly #states: Readonly<Record<ParameterData, View>>;
  /** The weights rounded to the type that kernels compute in, where that is not f32. */
  readonly #compute: View | undefined;
  readonly #held: ReadonlyMap<string, PlacedParameter>;
  /** By region and layer. */
  readonly #regions = new Map<string, View>();

  /** Allocates the rank's share in its memory (zeros until loaded or initialised). */
  constructor(step: StepShape, rank: number, device: Device) {
    this.step = step;
    this.rank = rank;
    this.#device = device;
    this.list = parameters(step.model, step.layout);
    this.#layout = parameterLayout(step, rank);
    const { slots, elements } = this.#layout;
    this.#held = new Map(slots.flatMap((slot) => slot.parameters.map((placed) => [placed.parameter.name, placed])));
    const allocate = (): View => {
      const view = device.allocate('f32', elements);
      device.fill(view, 0);
      return view;
    };
    this.#states = { weight: allocate(), gradient: allocate(), firstMoment: allocate(), secondMoment: allocate() };
    if (step.dtype === 'bf16') {
      this.#compute = device.allocate('bf16', elements);
      device.fill(this.#compute, 0);
    }
    const states: Readonly<Record<FlatRun['state'], View | undefined>> = { ...this.#states, compute: this.#compute };
    const place = (key: string, state: View | undefined, { offset, length }: Run): void => {
      if (state !== undefined) this.#regions.set(key, part(state, offset, length));
    };
    for (const { slot, layer, ...run } of slots) {
      // A bias moves by steps that bf16 would round away: kernels read it in f32.
      const computed = slot === 'selectionBias' ? undefined : this.#compute;
      place(`${layer} ${weightId(slot)}`, computed ?? this.#states.weight, run);
      place(`${layer} ${gradientId(slot)}`, this.#states.gradient, run);
    }
    for (const { region, state, run } of flatRuns(this.#layout, reductions(step)))
      place(`-1 ${region}`, states[state], run);
  }

  /** Where a region of life `parameter` lies; undefined when this rank has none of the name. */
  view(region: string, layer: number): View | undefined {
    return this.#regions.get(`${layer} ${region}`);
  }

  zeroGradients(): void {
    this.#device.fill(this.#states.gradient, 0);
  }

  /** Parameters that this rank holds (a shard of), in the order of memory. */
  held(): HeldParameter[] {
    return [...this.#held.values()].map((placed) => ({
      ...placed,
      copies: parameterCopies(placed.parameter, this.step.layout),
    }));
  }

  holds(name: string): boolean {
    return this.#held.has(name);
  }

  /** A copy of this rank's shard of one state of a parameter, row-major. Throws when it holds none. */
  data(name: string, kind: ParameterData): Float32Array {
    return readFloats(this.#device, this.#part(kind, this.#place(name)));
  }

  /**
   * Copies elements of this rank's shard of one state of a parameter, row-major, from its element `first` on. Fills
   * `into`, so that a shard need not be held twice.
   */
  read(name: string, kind: ParameterData, into: Float32Array, first = 0): void {
    this.#device.read(part(this.#part(kind, this.#place(name)), first, into.length), into);
  }

  /** Sets this rank's shard of one state of a parameter, or the elements of it from `first` on. */
  write(name: string, kind: ParameterData, values: Float32Array, first = 0): void {
    const { offset } = this.#place(name);
    this.#device.write(part(this.#states[kind], offset + first, values.length), values);
    if (kind === 'weight' && this.#compute !== undefined)
      this.#device.write(part(this.#compute, offset + first, values.length), toBfloat16Array(values));
  }

  /** Sets the weights of whole rows of a parameter, of which this rank keeps what it holds. */
  writeRows(name: string, firstRow: number, values: Float32Array): void {
    const { parameter } = this.#place(name);
    const { axis, start, end } = shardRange(parameter, this.step.layout, this.rank);
    const columns = parameter.shape[1] ?? 1;
    const rows = values.length / columns;
    if (axis === 0) {
      const [from, to] = [Math.max(start, firstRow), Math.min(end, firstRow + rows)];
      if (from >= to) return;
      const own = values.subarray((from - firstRow) * columns, (to - firstRow) * columns);
      this.write(name, 'weight', own, (from - start) * columns);
      return;
    }
    const width = end - start;
    const own = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++)
      own.set(values.subarray(row * columns + start, row * columns + end), row * width);
    this.write(name, 'weight', own, firstRow * width);
  }

  /** Gives the memory back. */
  close(): void {
    for (const kind of kinds) this.#device.free(this.#states[kind]);
    if (this.#compute !== undefined) this.#device.free(this.#compute);
  }

  #part(kind: ParameterData, { offset, length }: Run): View {
    return part(this.#states[kind], offset, length);
  }

  /**
   * Fills the weights from full tensors: `read(name, shape)` gives a parameter's elements, row-major, of its full
   * shape. Throws `InputError` when it gives another number of elements.
   */
  load(read: (name: string, shape: readonly number[]) => ArrayLike<number>, kind: ParameterData = 'weight'): void {
    for (const { parameter } of this.#held.values()) {
      const full = read(parameter.name, parameter.shape);
      const expected = parameter.shape.reduce((product, length) => product * length, 1);
      if (full.length !== expected)
        throw new InputError(`parameter ${parameter.name} has ${full.length} elements`, {
          expected: `${expected}, of shape [${parameter.shape.join(', ')}]`,
        });
      const shard = new Float32Array(this.#place(parameter.name).length);
      copyShard({ parameter, step: this.step, rank: this.rank, full, shard, direction: 'take' });
      this.write(parameter.name, kind, shard);
    }
  }

  /**
   * Full tensors, put together from the shards of all ranks (`weight`, `gradient` or a moment). Every rank of the job
   * must call it with the same arguments; `endpoint` is this rank's. Every rank gets the tensors, and needs room in its
   * memory for all of them.
   */
  gather(names: readonly string[], kind: ParameterData, endpoint: Endpoint): Map<string, Float32Array> {
    const under = names.map((name) => this.#submitGather(name, kind, endpoint));
    const tensors = under.map(({ parameter, counts, sent, received, event }) => {
      if (event !== undefined) this.#device.wait(event);
      const all = readFloats(this.#device, received);
      for (const view of [sent, received]) this.#device.free(view);
      const full = new Float32Array(all.length);
      let at = 0;
      counts.forEach((count, rank) => {
        if (count === 0) return;
        copyShard({ parameter, step: this.step, rank, full, shard: all.subarray(at, at + count), direction: 'put' });
        at += count;
      });
      return [parameter.name, full] as const;
    });
    return new Map(tensors);
  }

  #submitGather(name: string, kind: ParameterData, endpoint: Endpoint) {
    const parameter = this.list.find((p) => p.name === name);
    if (parameter === undefined) throw new Error(`the model has no parameter ${name}`);
    const { model, layout } = this.step;
    const world = groupMembers(layout, 'world', this.rank);
    // The first rank that holds a shard contributes it; empty shards share their start with the next one.
    const seen = new Set<number>();
    const counts = Int32Array.from(world, (rank) => {
      const { start, end } = shardRange(parameter, layout, rank);
      if (!holdsParameter(parameter, model, layout, rank) || end === start || seen.has(start)) return 0;
      seen.add(start);
      return shardElements(parameter, layout, rank);
    });
    const received = this.#device.allocate(
      'f32',
      parameter.shape.reduce((product, length) => product * length, 1),
    );
    const sent = this.#device.allocate('f32', counts[this.rank]);
    if (counts[this.rank] > 0) this.#device.copy(this.#part(kind, this.#place(name)), sent);
    if (world.length === 1) {
      this.#device.copy(sent, received);
      return { parameter, counts, sent, received };
    }
    const communicator = endpoint.communicator(`world ${world.join(' ')}`, world, this.#device.queue('gather'));
    const event = communicator.allGather(sent, received, { counts, label: `gather ${name}` });
    return { parameter, counts, sent, received, event };
  }

  #place(name: string): PlacedParameter {
    const place = this.#held.get(name);
    if (place === undefined) throw new Error(`rank ${this.rank} does not hold parameter ${name}`);
    return place;
  }
}

/** Copies a rank's shard out of (`take`) or into (`put`) a full tensor. Tensors have one or two axes. */
function copyShard({
  parameter,
  step,
  rank,
  full,
  shard,
  direction,
}: {
  readonly parameter: Parameter;
  readonly step: StepShape;
  readonly rank: number;
  readonly full: ArrayLike<number>;
  readonly shard: Float32Array;
  readonly direction: 'take' | 'put';
}): void {
  const { axis, start, end } = shardRange(parameter, step.layout, rank);
  const [rows, columns = 1] = parameter.shape;
  const [firstRow, endRow] = axis === 0 ? [start, end] : [0, rows];
  const [firstColumn, endColumn] = axis === 1 ? [start, end] : [0, columns];
  const width = endColumn - firstColumn;
  for (let row = firstRow; row < endRow; row++) {
    const at = row * columns + firstColumn;
    const place = (row - firstRow) * width;
    if (direction === 'put') (full as Float32Array).set(shard.subarray(place, place + width), at);
    else for (let i = 0; i < width; i++) shard[place + i] = full[at + i];
  }
}
