/**
 * Graphs of cuDNN's backend interface: tensors and operations as descriptors, finalized into a plan that runs on
 * addresses by tensor.
 */
import koffi from 'koffi';
import { cudnn, written, type Address, type CudnnLibrary } from '../bindings/index.js';

const { attributes, dataTypes, descriptors, pointwise, reduction, types } = cudnn;

export type DataType = keyof typeof dataTypes;
export type Dimensions = readonly [number, number, number, number];

export interface TensorOptions {
  readonly type: DataType;
  readonly dimensions: Dimensions;
  /** Elements; packed unless given. */
  readonly strides?: Dimensions;
}

/** A tensor of a graph; `id` is set where the caller gives its address. */
export interface Tensor extends TensorOptions {
  readonly descriptor: Address;
  readonly id: number;
}

/** Bytes to which addresses are aligned. */
const alignment = 16;

function packedStrides([, b, c, d]: Dimensions): Dimensions {
  return [b * c * d, c * d, d, 1];
}

/** A graph that is being built. Every method that makes a tensor appends the operation that writes it. */
export class Graph {
  readonly #library: CudnnLibrary;
  readonly #handle: Address;
  readonly #descriptors: Address[] = [];
  readonly #operations: Address[] = [];
  readonly #scalars: { readonly id: number; readonly value: Float32Array }[] = [];
  #nextId = 1;

  constructor(library: CudnnLibrary, handle: Address) {
    this.#library = library;
    this.#handle = handle;
  }

  /** A tensor in the card's memory, whose address is given at each run. */
  input(options: TensorOptions): Tensor {
    return this.#tensor(options);
  }

  /** A number that the plan keeps: fp32, in this process's memory. */
  scalar(value: number): Tensor {
    const tensor = this.#tensor({ type: 'f32', dimensions: [1, 1, 1, 1] }, attributes.tensor.isByValue);
    // Longer than what the garbage collector may move.
    const kept = new Float32Array(32);
    kept[0] = value;
    this.#scalars.push({ id: tensor.id, value: kept });
    return tensor;
  }

  /** An intermediate that never reaches memory. */
  virtual(options: TensorOptions): Tensor {
    return this.#tensor(options, attributes.tensor.isVirtual);
  }

  matmul(a: Tensor, b: Tensor, to: Tensor): Tensor {
    const kind = this.#describe(descriptors.matmul, (set) =>
      set(attributes.matmulPrecision, types.dataType, dataTypes.f32),
    );
    const { operationMatmul: names } = attributes;
    this.#operate(descriptors.operationMatmul, [
      [names.a, a.descriptor],
      [names.b, b.descriptor],
      [names.c, to.descriptor],
      [names.descriptor, kind],
    ]);
    return to;
  }

  /** to = mode(x, b), or t ? x : b for `select`. */
  pointwise(
    mode: Exclude<keyof typeof pointwise, 'index'>,
    { x, b, t }: { readonly x: Tensor; readonly b?: Tensor; readonly t?: Tensor },
    to: Tensor,
  ): Tensor {
    const kind = this.#describe(descriptors.pointwise, (set) => {
      set(attributes.pointwiseMode, types.pointwiseMode, pointwise[mode]);
      set(attributes.pointwisePrecision, types.dataType, mode === 'greaterEqual' ? dataTypes.boolean : dataTypes.f32);
    });
    this.#pointwise(kind, { x, b, t }, to);
    return to;
  }

  /** to = the index along an axis of x. */
  index(axis: number, x: Tensor, to: Tensor): Tensor {
    const kind = this.#describe(descriptors.pointwise, (set) => {
      set(attributes.pointwiseMode, types.pointwiseMode, pointwise.index);
      set(attributes.pointwisePrecision, types.dataType, dataTypes.f32);
      set(attributes.pointwiseAxis, types.int64, axis);
    });
    this.#pointwise(kind, { x }, to);
    return to;
  }

  reduce(operator: keyof typeof reduction, x: Tensor, to: Tensor): Tensor {
    const kind = this.#describe(descriptors.reduction, (set) => {
      set(attributes.reductionPrecision, types.dataType, dataTypes.f32);
      set(attributes.reductionOperator, types.reductionOperator, reduction[operator]);
    });
    const { operationReduction: names } = attributes;
    this.#operate(descriptors.operationReduction, [
      [names.x, x.descriptor],
      [names.y, to.descriptor],
      [names.descriptor, kind],
    ]);
    return to;
  }

  /** The same elements under the dimensions and strides of `to`. */
  reshape(x: Tensor, to: Tensor): Tensor {
    const { operationReshape: names } = attributes;
    this.#operate(descriptors.operationReshape, [
      [names.x, x.descriptor],
      [names.y, to.descriptor],
    ]);
    return to;
  }

  /** Finalizes the graph and builds the plan of cuDNN's first proposal. The graph belongs to the plan from here on. */
  plan(): GraphPlan {
    const library = this.#library;
    const graph = this.#create(descriptors.operationGraph);
    this.#set(graph, attributes.graphOperations, types.descriptor, BigUint64Array.from(this.#operations, BigInt));
    this.#set(graph, attributes.graphHandle, types.handle, BigUint64Array.of(BigInt(this.#handle)));
    library.cudnnBackendFinalize(graph);
    const heuristic = this.#create(descriptors.heuristic);
    this.#set(heuristic, attributes.heuristicGraph, types.descriptor, BigUint64Array.of(BigInt(graph)));
    this.#set(heuristic, attributes.heuristicMode, types.heuristicMode, Int32Array.of(cudnn.heuristicA));
    library.cudnnBackendFinalize(heuristic);
    const configuration = this.#create(descriptors.engineConfiguration);
    const count = new BigInt64Array(1);
    const results = BigUint64Array.of(BigInt(configuration));
    library.cudnnBackendGetAttribute(heuristic, attributes.heuristicResults, types.descriptor, 1, count, results);
    if (count[0] < 1n) throw new Error('cuDNN proposes no engine for this attention');
    const plan = this.#create(descriptors.plan);
    this.#set(plan, attributes.planHandle, types.handle, BigUint64Array.of(BigInt(this.#handle)));
    this.#set(plan, attributes.planConfiguration, types.descriptor, BigUint64Array.of(BigInt(configuration)));
    library.cudnnBackendFinalize(plan);
    const bytes = new BigInt64Array(1);
    library.cudnnBackendGetAttribute(plan, attributes.planWorkspace, types.int64, 1, count, bytes);
    return new GraphPlan(library, this.#handle, {
      plan,
      workspaceBytes: Number(bytes[0]),
      scalars: this.#scalars,
      descriptors: this.#descriptors,
    });
  }

  #tensor(options: TensorOptions, flag?: number): Tensor {
    const { type, dimensions, strides = packedStrides(dimensions) } = options;
    const id = this.#nextId++;
    const { tensor: names } = attributes;
    const descriptor = this.#describe(descriptors.tensor, (set, setArray) => {
      set(names.dataType, types.dataType, dataTypes[type]);
      setArray(names.dimensions, types.int64, BigInt64Array.from(dimensions, BigInt));
      setArray(names.strides, types.int64, BigInt64Array.from(strides, BigInt));
      set(names.uniqueId, types.int64, id);
      set(names.alignment, types.int64, alignment);
      if (flag !== undefined) set(flag, types.boolean, 1);
    });
    return { ...options, descriptor, id };
  }

  #pointwise(kind: Address, { x, b, t }: { x: Tensor; b?: Tensor; t?: Tensor }, to: Tensor): void {
    const { operationPointwise: names } = attributes;
    const uses: (readonly [number, Address])[] = [
      [names.descriptor, kind],
      [names.x, x.descriptor],
      [names.y, to.descriptor],
    ];
    if (b !== undefined) uses.push([names.b, b.descriptor]);
    if (t !== undefined) uses.push([names.t, t.descriptor]);
    this.#operate(descriptors.operationPointwise, uses);
  }

  #operate(kind: number, uses: readonly (readonly [attribute: number, descriptor: Address])[]): void {
    const operation = this.#describe(kind, (set) => {
      for (const [attribute, descriptor] of uses) set(attribute, types.descriptor, descriptor);
    });
    this.#operations.push(operation);
  }

  /** A finalized descriptor. */
  #describe(
    kind: number,
    fill: (
      set: (attribute: number, type: number, value: number) => void,
      setArray: (attribute: number, type: number, values: BigInt64Array) => void,
    ) => void,
  ): Address {
    const descriptor = this.#create(kind);
    fill(
      (attribute, type, value) => this.#set(descriptor, attribute, type, cell(type, value)),
      (attribute, type, values) => this.#set(descriptor, attribute, type, values),
    );
    this.#library.cudnnBackendFinalize(descriptor);
    return descriptor;
  }

  #create(kind: number): Address {
    const descriptor = written((cell) => this.#library.cudnnBackendCreateDescriptor(kind, cell));
    this.#descriptors.push(descriptor);
    return descriptor;
  }

  #set(descriptor: Address, attribute: number, type: number, values: NodeJS.TypedArray): void {
    this.#library.cudnnBackendSetAttribute(descriptor, attribute, type, values.length, values);
  }
}

/** One value in the memory layout of its attribute type; enums are ints. */
function cell(type: number, value: number): NodeJS.TypedArray {
  if (type === types.int64 || type === types.descriptor) return BigInt64Array.of(BigInt(value));
  if (type === types.boolean) return Uint8Array.of(value);
  return Int32Array.of(value);
}

interface Built {
  readonly plan: Address;
  readonly workspaceBytes: number;
  readonly scalars: readonly { readonly id: number; readonly value: Float32Array }[];
  readonly descriptors: readonly Address[];
}

/** A plan for one graph: the shape is part of it, addresses are not. */
export class GraphPlan {
  readonly workspaceBytes: number;
  readonly #library: CudnnLibrary;
  readonly #handle: Address;
  readonly #built: Built;

  constructor(library: CudnnLibrary, handle: Address, built: Built) {
    this.#library = library;
    this.#handle = handle;
    this.#built = built;
    this.workspaceBytes = built.workspaceBytes;
  }

  /** Runs on the stream. addresses: of every input tensor. */
  run(stream: Address, addresses: readonly (readonly [Tensor, Address])[], workspace: Address): void {
    const library = this.#library;
    const { scalars, plan } = this.#built;
    const ids = [...addresses.map(([{ id }]) => id), ...scalars.map(({ id }) => id)];
    const pointers = [
      ...addresses.map(([, address]) => BigInt(address)),
      ...scalars.map(({ value }) => koffi.address(value)),
    ];
    const pack = written((cell) => library.cudnnBackendCreateDescriptor(descriptors.variantPack, cell));
    try {
      const set = (attribute: number, type: number, values: NodeJS.TypedArray): void =>
        library.cudnnBackendSetAttribute(pack, attribute, type, values.length, values);
      set(attributes.packIds, types.int64, BigInt64Array.from(ids, BigInt));
      set(attributes.packPointers, types.pointer, BigUint64Array.from(pointers));
      set(attributes.packWorkspace, types.pointer, BigUint64Array.of(BigInt(workspace)));
      library.cudnnBackendFinalize(pack);
      library.cudnnSetStream(this.#handle, stream);
      library.cudnnBackendExecute(this.#handle, plan, pack);
    } finally {
      library.cudnnBackendDestroyDescriptor(pack);
    }
  }

  close(): void {
    for (const descriptor of [...this.#built.descriptors].reverse())
      this.#library.cudnnBackendDestroyDescriptor(descriptor);
  }
}
