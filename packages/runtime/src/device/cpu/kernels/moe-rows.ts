/** Kernels that move and sum token rows: packing, placing, combining. Plans of the moves are arguments. */
import {
  combineRowGrad,
  combineRows,
  combineWeightGrad,
  packRows,
  packTokens,
  unpackRows,
} from '../../../moe/index.js';
import { copyRows, rowProducts, sumRows, weighRows } from '../../../moe/row-sums.js';
import type { CatalogueKernels } from '../kernel-call.js';

type RowKernel =
  | 'moe.pack'
  | 'moe.place'
  | 'moe.unplace'
  | 'moe.take'
  | 'moe.combine'
  | 'moe.combine.weights'
  | 'picks.gradient'
  | 'rows.copy'
  | 'rows.sum'
  | 'rows.weigh';

export const rowKernels: CatalogueKernels<RowKernel> = {
  'moe.pack': (call) => {
    const { permutation, moves } = call.arguments.send;
    const width = call.columns('source');
    const [source, packed] = [call.f32('source'), call.f32('packed')];
    if (!call.has('weights')) packTokens({ permutation, moves, width, tokens: source, packed });
    else combineRowGrad({ permutation, moves, width, weights: call.f32('weights'), dy: source, packed });
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
    combineRows({
      permutation,
      tokens,
      picks: permutation.pickRow.length / Math.max(1, tokens),
      width: call.columns('combined'),
      rows: call.f32('returned'),
      weights: call.has('weights') ? call.f32('weights') : undefined,
      y: call.f32('combined'),
      add: call.arguments.accumulate,
    });
  },
  'moe.combine.weights': (call) =>
    combineWeightGrad({
      permutation: call.arguments.returned,
      tokens: call.rows('routeGradient'),
      picks: call.columns('routeGradient'),
      width: call.columns('returned'),
      rows: call.f32('returned'),
      dy: call.f32('gradient'),
      dweights: call.f32('routeGradient'),
    }),
  'picks.gradient': (call) => {
    const [returned, gradient] = [call.f32('returned'), call.f32('routeGradient')];
    call.arguments.returned.pickRow.forEach((row, pick) => (gradient[pick] = row < 0 ? 0 : returned[row]));
  },
  'rows.copy': (call) => copyRows(call.arguments.moves, call.columns('coarse'), call.f32('coarse'), call.f32('fine')),
  'rows.sum': (call) => {
    const weights = call.has('weights') ? call.f32('weights') : undefined;
    sumRows(call.arguments.moves, { width: call.columns('fine'), weights }, call.f32('fine'), call.f32('coarse'));
  },
  'rows.weigh': (call) => {
    const { moves } = call.arguments;
    const [width, gradient] = [call.columns('gradient'), call.f32('gradient')];
    if (call.has('output')) rowProducts(moves, width, [call.f32('output'), gradient], call.f32('weightGradient'));
    weighRows(moves, width, call.f32('weights'), gradient);
  },
};
