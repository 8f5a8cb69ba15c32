/** Kernels that move and sum token rows: packing, placing, combining. See `../routing.ts` for the orders of rows. */
import type { Scope } from '@monta/core';
import {
  combineRowGrad,
  combineRows,
  combineWeightGrad,
  packRows,
  packTokens,
  unpackRows,
  type Permutation,
} from '../../moe/index.js';
import type { KernelCall, KernelRegistry } from '../kernel.js';
import type { ArrivedOrder, RoutingBook, RoutingShape } from '../routing.js';

/** What the kernels of the MoE layer need beside their buffers. */
export interface MoeContext {
  readonly routing: RoutingShape;
  readonly book: RoutingBook;
}

/** The rows of a token region that a scope covers: a region of all T tokens is read at this rank's slice. */
export function scoped<T extends Float32Array | Int32Array>(
  call: KernelCall,
  routing: RoutingShape,
  region: string,
  scope: Scope,
  all: T,
): T {
  const { rows, columns } = call.storage.region(region);
  if (scope === 'replica' || typeof rows !== 'number' || routing.layout.tp === 1) return all;
  return all.subarray(routing.slice.start * columns, routing.slice.end * columns) as T;
}

/** As `scoped`, for the floats of a region. */
export const scopedFloats = (call: KernelCall, routing: RoutingShape, region: string, scope: Scope): Float32Array =>
  scoped(call, routing, region, scope, call.floats(region));

export const scopedInts = (call: KernelCall, routing: RoutingShape, region: string, scope: Scope): Int32Array =>
  scoped(call, routing, region, scope, call.ints(region));

const pack =
  ({ routing, book }: MoeContext, scope: Scope, weighted: boolean) =>
  (call: KernelCall): void => {
    const { chunk, of } = call.chunk;
    const layer = book.get(call.node);
    const width = routing.shape.hiddenSize;
    const { permutation } = layer.tokens(scope);
    const moves = layer.sendMoves(scope, chunk, of);
    const source = scopedFloats(call, routing, call.operation.uses[0].region, scope);
    if (!weighted) packTokens(permutation, moves, width, source, call.use(1));
    else
      combineRowGrad(
        permutation,
        moves,
        width,
        scopedFloats(call, routing, 'route.weights', scope),
        source,
        call.use(1),
      );
  };

const place =
  ({ routing, book }: MoeContext, order: ArrivedOrder) =>
  (call: KernelCall): void => {
    const { chunk, of } = call.chunk;
    const moves = book.get(call.node).arrivedMoves(order, chunk, of);
    unpackRows(moves, routing.shape.hiddenSize, call.use(0), call.use(1));
  };

const unplace =
  ({ routing, book }: MoeContext, order: ArrivedOrder) =>
  (call: KernelCall): void => {
    const { chunk, of } = call.chunk;
    const moves = book.get(call.node).arrivedMoves(order, chunk, of);
    packRows(moves, routing.shape.hiddenSize, call.use(0), call.use(1));
  };

const takeOwn =
  ({ routing, book }: MoeContext) =>
  (call: KernelCall): void => {
    const { chunk, of } = call.chunk;
    const { start, end } = book.get(call.node).ownSection(chunk, of);
    const width = routing.shape.hiddenSize;
    call.use(1).set(call.use(0).subarray(start * width, end * width));
  };

/** The returned rows of an operation, whose chunks are its first uses, and where each pick's row lies in them. */
function returnedRows({ book }: MoeContext, call: KernelCall): { rows: Float32Array; permutation: Permutation } {
  const { region, of } = call.operation.uses[0];
  return { rows: call.floats(region), permutation: book.get(call.node).returned(of) };
}

/** `of` uses of the returned rows come first, then ids, perhaps weights, and the output last. */
const combine =
  (context: MoeContext, scope: Scope, weighted: boolean, add: boolean) =>
  (call: KernelCall): void => {
    const { routing } = context;
    const { rows, permutation } = returnedRows(context, call);
    const weights = weighted ? scopedFloats(call, routing, 'route.weights', scope) : undefined;
    const output = call.use(call.operation.uses.length - 1);
    combineRows(
      permutation,
      routing.tokens(scope),
      routing.shape.topK,
      routing.shape.hiddenSize,
      rows,
      weights,
      output,
      add,
    );
  };

const combineWeights =
  (context: MoeContext, scope: Scope) =>
  (call: KernelCall): void => {
    const { routing } = context;
    const { rows, permutation } = returnedRows(context, call);
    combineWeightGrad(
      permutation,
      routing.tokens(scope),
      routing.shape.topK,
      routing.shape.hiddenSize,
      rows,
      scopedFloats(call, routing, 'gradient', scope),
      call.floats('route.gradient'),
    );
  };

/** Registry entries; scopes are part of the names. */
export function moeRowKernels(context: MoeContext): KernelRegistry {
  const scopes: readonly Scope[] = ['slice', 'replica'];
  return Object.assign(
    { 'moe.takeOwn': takeOwn(context) },
    ...scopes.map((scope) => ({
      [`moe.pack.${scope}`]: pack(context, scope, false),
      [`moe.pack.${scope}.weighted`]: pack(context, scope, true),
      [`moe.place.${scope}`]: place(context, scope),
      [`moe.unplace.${scope}`]: unplace(context, scope),
      [`moe.combine.${scope}`]: combine(context, scope, true, false),
      [`moe.combine.unweighted.${scope}`]: combine(context, scope, false, false),
      [`moe.combine.backward.${scope}`]: combine(context, scope, false, true),
      [`moe.combine.weights.${scope}`]: combineWeights(context, scope),
    })),
  ) as KernelRegistry;
}
