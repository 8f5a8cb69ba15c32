/** cuDNN's backend interface: descriptors by attributes. Values from NVIDIA's cudnn_graph.h (cuDNN 9). */
import { bindCalls, textOfCode, type Calls } from './calls.js';
import type { LibraryName, NativeFunction, NativeLibrary } from './search.js';

export const cudnnName: LibraryName = {
  title: 'cuDNN',
  files: ['libcudnn.so.9', 'libcudnn.so'],
  // It opens its parts by bare name.
  companions: /^libcudnn_\w+\.so\.9$/,
};

const calls = {
  cudnnCreate: ['host'],
  cudnnDestroy: ['address'],
  cudnnSetStream: ['address', 'address'],
  cudnnBackendCreateDescriptor: ['int', 'host'],
  cudnnBackendDestroyDescriptor: ['address'],
  // descriptor, attribute, type, elements, array
  cudnnBackendSetAttribute: ['address', 'int', 'int', 'long', 'host'],
  cudnnBackendGetAttribute: ['address', 'int', 'int', 'long', 'host', 'host'],
  cudnnBackendFinalize: ['address'],
  // handle, plan, variant pack
  cudnnBackendExecute: ['address', 'address', 'address'],
} as const;

export interface CudnnLibrary extends Calls<typeof calls> {
  /** cudnnGetVersion: 91900 is 9.19.0. */
  readonly version: number;
}

export const cudnn = {
  descriptors: {
    pointwise: 0,
    engineConfiguration: 3,
    heuristic: 4,
    plan: 5,
    operationPointwise: 13,
    operationGraph: 15,
    variantPack: 16,
    tensor: 17,
    matmul: 18,
    operationMatmul: 19,
    reduction: 21,
    operationReduction: 22,
    operationReshape: 31,
  },
  types: {
    handle: 0,
    dataType: 1,
    boolean: 2,
    int64: 3,
    pointer: 6,
    heuristicMode: 8,
    pointwiseMode: 14,
    descriptor: 15,
    reductionOperator: 18,
  },
  dataTypes: { f32: 0, i32: 4, bf16: 9, boolean: 11 },
  pointwise: {
    add: 0,
    mul: 1,
    div: 6,
    sub: 9,
    exp: 13,
    log: 15,
    identity: 21,
    greaterEqual: 303,
    index: 501,
    select: 601,
  },
  reduction: { add: 0, max: 3 },
  heuristicA: 3,
  attributes: {
    pointwiseMode: 0,
    pointwisePrecision: 1,
    pointwiseAxis: 9,
    heuristicMode: 200,
    heuristicGraph: 201,
    heuristicResults: 202,
    planHandle: 400,
    planConfiguration: 401,
    planWorkspace: 402,
    operationPointwise: { descriptor: 750, x: 751, b: 752, y: 753, t: 758 },
    graphHandle: 800,
    graphOperations: 801,
    tensor: {
      alignment: 900,
      dataType: 901,
      dimensions: 902,
      strides: 903,
      uniqueId: 906,
      isVirtual: 907,
      isByValue: 908,
    },
    packIds: 1000,
    packPointers: 1001,
    packWorkspace: 1003,
    matmulPrecision: 1500,
    operationMatmul: { a: 1520, b: 1521, c: 1522, descriptor: 1523 },
    reductionOperator: 1600,
    reductionPrecision: 1601,
    operationReduction: { x: 1610, y: 1611, descriptor: 1612 },
    operationReshape: { x: 2200, y: 2201 },
  },
} as const;

/** Longest text that is asked of cudnnGetLastErrorString. */
const textBytes = 4096;

export function bindCudnn(library: NativeLibrary, rank?: number): CudnnLibrary {
  const status = textOfCode(library, 'cudnnGetErrorString');
  let last: NativeFunction | undefined;
  /** The status, and what cuDNN says of the failure itself. */
  const text = (code: number): string => {
    last ??= library.func('void cudnnGetLastErrorString(void *, size_t)');
    const buffer = Buffer.alloc(textBytes);
    last(buffer, buffer.length);
    const detail = buffer.toString('utf8', 0, Math.max(0, buffer.indexOf(0))).trim();
    return detail === '' ? status(code) : `${status(code)}: ${detail}`;
  };
  const version = Number(library.func('size_t cudnnGetVersion()')());
  return { ...bindCalls(library, calls, { rank, text }), version };
}
