/** Kernels that move and sum token rows: packing, placing, combining. Plans of the moves are arguments. */
import {
  combineRowGrad,
  combineRows,
  combineWeightGrad,
  packRows,
  packTokens,
  unpackRows,
} from '../../../moe/index.js';
import type { CatalogueKernels } from '../kernel-call.js';

type RowKernel = 'moe.pack' | 'moe.place' | 'moe.unplace' | 'moe.take' | 'moe.combine' | 'moe.combine.weights';

export const rowKernels: CatalogueKernels<RowKernel> = {
  'moe.pack': (call) => {
    const { permutation, moves } = call.arguments.send;
    const width = call.columns('source');
    const [source, packed] = [call.f32('source'), call.f32('packed')];
    if (!call.has('weights')) packTokens(permutation, moves, width, source, packed);
    else combineRowGrad(permutation, moves, width, call.f32('weights'), source, packed);
  },
  'moe.place': (call) =>
    unpackRows(call.arguments.arrived, call.columns('arrived'), call.f32('arrived'), call.f32('canonical')),
  'moe.unplace': (call) =>
    packRows(call.arguments.arrived, call.columns('canonical'), call.f32('canonical'), call.f32('packed')),
  'moe.take': (call) => {
    const { start, end } = call.arguments.section;
    const width = call.columns('gathered');
    call.f32('own').set(call.f32('gathered').subarray(start * width, end * width));
  },
  'moe.combine': (call) => {
    const tokens = call.rows('combined');
    const permutation = call.arguments.returned;
    combineRows(
      permutation,
      tokens,
      permutation.pickRow.length / Math.max(1, tokens),
      call.columns('combined'),
      call.f32('returned'),
      call.has('weights') ? call.f32('weights') : undefined,
      call.f32('combined'),
      call.arguments.accumulate,
    );
  },
  'moe.combine.weights': (call) =>
    combineWeightGrad(
      call.arguments.returned,
      call.rows('routeGradient'),
      call.columns('routeGradient'),
      call.columns('returned'),
      call.f32('returned'),
      call.f32('gradient'),
      call.f32('routeGradient'),
    ),
};
