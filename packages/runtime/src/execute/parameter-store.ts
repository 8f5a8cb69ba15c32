/**
 * A rank's trainable tensors: flat weights, gradients and moments, one run a bucket, with views by name. Within a layer the gate and up
 * matrices of all local experts lie together (gate rows, then up rows, expert after expert), and then the down matrices, as the expert
 * kernels read them.
 */
import {
  bucketGroups,
  groupMembers,
  holdsParameter,
  InputError,
  parameterCopies,
  parameters,
  shardElements,
  shardRange,
  type Bucket,
  type Parameter,
  type StepShape,
} from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { CpuMemory } from '../device/cpu/index.js';
import type { View } from '../device/view.js';

/** One tensor's shard on this rank. */
export interface HeldParameter {
  readonly parameter: Parameter;
  readonly weight: Float32Array;
  readonly gradient: Float32Array;
  /** How many ranks hold the same elements. */
  readonly copies: number;
}

export interface WeightAndGradient {
  readonly weight: Float32Array;
  readonly gradient: Float32Array;
}

/** What a kind of state is called in `data`: the weights, their gradients, and AdamW's moments. */
export type ParameterData = 'weight' | 'gradient' | 'firstMoment' | 'secondMoment';
const kinds: readonly ParameterData[] = ['weight', 'gradient', 'firstMoment', 'secondMoment'];

/** Layer of a parameter, -1 for those of no layer. */
const layerOf = (name: string): number => Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1);

const isDown = ({ expert, shard }: Parameter): number => (expert !== undefined && shard?.axis === 1 ? 1 : 0);

/** Down matrices come after all gate and up matrices of their layer; otherwise the checkpoint's order. */
function byMemoryOrder(list: readonly Parameter[]): Parameter[] {
  return list
    .map((parameter, index) => ({ parameter, index }))
    .sort(
      (a, b) =>
        (a.parameter.expert === undefined || b.parameter.expert === undefined
          ? 0
          : layerOf(a.parameter.name) - layerOf(b.parameter.name) || isDown(a.parameter) - isDown(b.parameter)) ||
        a.index - b.index,
    )
    .map(({ parameter }) => parameter);
}

export class ParameterStore {
  readonly step: StepShape;
  readonly rank: number;
  /** All parameters of the model, in checkpoint order, held here or not. */
  readonly list: readonly Parameter[];
  readonly #memory: CpuMemory;
  readonly #views: Readonly<Record<ParameterData, Readonly<Record<Bucket, View>>>>;
  readonly #cache = new Map<string, WeightAndGradient>();
  readonly #held = new Map<string, { parameter: Parameter; offset: number; length: number }>();

  /** Allocates the rank's share in its memory (zeros until loaded or initialised). */
  constructor(step: StepShape, rank: number, memory: CpuMemory) {
    const { model, layout } = step;
    this.step = step;
    this.rank = rank;
    this.#memory = memory;
    this.list = parameters(model, layout);
    const total: Record<Bucket, number> = { partial: 0, dense: 0, expert: 0 };
    const held = this.list.filter((parameter) => holdsParameter(parameter, model, layout, rank));
    for (const bucket of Object.keys(bucketGroups) as Bucket[])
      for (const parameter of byMemoryOrder(held.filter((p) => p.bucket === bucket))) {
        const length = shardElements(parameter, layout, rank);
        this.#held.set(parameter.name, { parameter, offset: total[bucket], length });
        total[bucket] += length;
      }
    const allocate = (): Record<Bucket, View> => ({
      partial: memory.allocateView('f32', total.partial),
      dense: memory.allocateView('f32', total.dense),
      expert: memory.allocateView('f32', total.expert),
    });
    this.#views = { weight: allocate(), gradient: allocate(), firstMoment: allocate(), secondMoment: allocate() };
    for (const kind of kinds) for (const view of Object.values(this.#views[kind])) memory.f32(view).fill(0);
  }

  /** Where a bucket's flat gradients lie. */
  gradientView(bucket: Bucket): View {
    return this.#views.gradient[bucket];
  }

  zeroGradients(): void {
    for (const view of Object.values(this.#views.gradient)) this.#memory.f32(view).fill(0);
  }

  /** Parameters that this rank holds (a shard of), by name. */
  held(): HeldParameter[] {
    return [...this.#held.values()].map(({ parameter }) => ({
      parameter,
      weight: this.data(parameter.name, 'weight'),
      gradient: this.data(parameter.name, 'gradient'),
      copies: parameterCopies(parameter, this.step.layout),
    }));
  }

  holds(name: string): boolean {
    return this.#held.has(name);
  }

  /** This rank's shard of one state of a parameter, row-major. Throws when it holds none. */
  data(name: string, kind: ParameterData): Float32Array {
    const { parameter, offset, length } = this.#place(name);
    return this.#memory.f32(this.#views[kind][parameter.bucket]).subarray(offset, offset + length);
  }

  /** Weight and gradient by name. */
  get(name: string): WeightAndGradient {
    return this.#cached(name, () => ({ weight: this.data(name, 'weight'), gradient: this.data(name, 'gradient') }));
  }

  /** The router of a layer, [experts, hidden]. */
  router(layer: number): WeightAndGradient {
    return this.#cached(`router ${layer}`, () => {
      const found = this.list.find(
        ({ name, expert }) => expert === undefined && layerOf(name) === layer && name.endsWith('.gate.weight'),
      );
      if (found === undefined) throw new Error(`layer ${layer} has no router`);
      return this.get(found.name);
    });
  }

  /** Gate and up matrices of a layer's local experts, [experts, 2 ffn, hidden]. */
  gateUp(layer: number): WeightAndGradient {
    return this.#cached(`gateUp ${layer}`, () => this.#expertRun(layer, 0));
  }

  /** Down matrices of a layer's local experts, [experts, hidden, ffn]. */
  down(layer: number): WeightAndGradient {
    return this.#cached(`down ${layer}`, () => this.#expertRun(layer, 1));
  }

  #expertRun(layer: number, axis: number): WeightAndGradient {
    const places = [...this.#held.values()].filter(
      ({ parameter }) =>
        parameter.expert !== undefined && parameter.shard?.axis === axis && layerOf(parameter.name) === layer,
    );
    const start = Math.min(...places.map(({ offset }) => offset));
    const end = Math.max(...places.map(({ offset, length }) => offset + length));
    const part = (kind: ParameterData): Float32Array => this.#memory.f32(this.#views[kind].expert).subarray(start, end);
    return { weight: part('weight'), gradient: part('gradient') };
  }

  #cached(key: string, make: () => WeightAndGradient): WeightAndGradient {
    let found = this.#cache.get(key);
    if (found === undefined) {
      found = make();
      this.#cache.set(key, found);
    }
    return found;
  }

  /**
   * Fills the weights from full tensors: `read(name, shape)` gives a parameter's elements, row-major, of its full shape.
   * Throws `InputError` when it gives another number of elements.
   */
  load(read: (name: string, shape: readonly number[]) => ArrayLike<number>, kind: ParameterData = 'weight'): void {
    for (const { parameter } of this.#held.values()) {
      const full = read(parameter.name, parameter.shape);
      const expected = parameter.shape.reduce((product, length) => product * length, 1);
      if (full.length !== expected)
        throw new InputError(`parameter ${parameter.name} has ${full.length} elements`, {
          expected: `${expected}, of shape [${parameter.shape.join(', ')}]`,
        });
      copyShard(parameter, this.step, this.rank, full, this.data(parameter.name, kind), 'take');
    }
  }

  /**
   * Full tensors, put together from the shards of all ranks (`weight`, `gradient` or a moment). Every rank of the job must call it with
   * the same arguments; `endpoint` is this rank's. Every rank gets the tensors, and needs room in its memory for all of them.
   */
  gather(names: readonly string[], kind: ParameterData, endpoint: Endpoint): Map<string, Float32Array> {
    const mark = this.#memory.mark();
    const under = names.map((name) => this.#submitGather(name, kind, endpoint));
    const tensors = under.map(({ parameter, counts, received, event }) => {
      if (event !== undefined) endpoint.wait(event);
      const all = this.#memory.f32(received);
      const full = new Float32Array(all.length);
      let at = 0;
      counts.forEach((count, rank) => {
        if (count === 0) return;
        copyShard(parameter, this.step, rank, full, all.subarray(at, at + count), 'put');
        at += count;
      });
      return [parameter.name, full] as const;
    });
    this.#memory.release(mark);
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
    const received = this.#memory.allocateView(
      'f32',
      parameter.shape.reduce((product, length) => product * length, 1),
    );
    const sent = this.#memory.allocateView('f32', counts[this.rank]);
    if (counts[this.rank] > 0) this.#memory.f32(sent).set(this.data(name, kind));
    if (world.length === 1) {
      this.#memory.f32(received).set(this.#memory.f32(sent));
      return { parameter, counts, received };
    }
    const communicator = endpoint.communicator(`world ${world.join(' ')}`, world, 'copy');
    const event = communicator.allGather(sent, received, { counts, label: `gather ${name}` });
    return { parameter, counts, received, event };
  }

  #place(name: string): { parameter: Parameter; offset: number; length: number } {
    const place = this.#held.get(name);
    if (place === undefined) throw new Error(`rank ${this.rank} does not hold parameter ${name}`);
    return place;
  }
}

/** Copies a rank's shard out of (`take`) or into (`put`) a full tensor. Tensors have one or two axes. */
function copyShard(
  parameter: Parameter,
  step: StepShape,
  rank: number,
  full: ArrayLike<number>,
  shard: Float32Array,
  direction: 'take' | 'put',
): void {
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
