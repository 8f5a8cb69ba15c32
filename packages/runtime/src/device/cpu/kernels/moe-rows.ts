/** Kernels that move and sum token rows: packing, placing, combining. Plans of the moves are arguments. */
import {
  combineRowGrad,
  combineRows,
  combineWeightGrad,
  packRows,
  packTokens,
  unpackRows,
} from '../../../moe/index.js';
import { dequantiseRows, quantiseRows, roundedRows } from '../../../moe/fp8-rows.js';
import { copyRows, rowProducts, sumRows, weighRows } from '../../../moe/row-sums.js';
import type { CatalogueKernels, CpuKernelCall } from '../kernel-call.js';

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

/** Whether an operand holds rows in fp8: bytes, with scales behind the elements. */
const isFp8 = <Role extends string>(call: CpuKernelCall<Role, unknown>, role: Role): boolean =>
  call.operand(role).view.type === 'u8';

/** Fills a buffer with rows, quantised where it is in fp8. */
function intoBuffer<Role extends string>(
  call: CpuKernelCall<Role, unknown>,
  role: Role,
  width: number,
  fill: (rows: Float32Array) => void,
): void {
  if (!isFp8(call, role)) {
    fill(call.f32(role));
    return;
  }
  call.scratch(call.rows(role) * width, (rows) => {
    fill(rows);
    quantiseRows(rows, width, call.operand(role).bytes);
  });
}

/** Uses the rows of a buffer, those that it stands for where it is in fp8. */
function outOfBuffer<Role extends string>(
  call: CpuKernelCall<Role, unknown>,
  role: Role,
  width: number,
  use: (rows: Float32Array) => void,
): void {
  if (!isFp8(call, role)) {
    use(call.f32(role));
    return;
  }
  call.scratch(call.rows(role) * width, (rows) => {
    dequantiseRows(call.operand(role).bytes, width, rows);
    use(rows);
  });
}

export const rowKernels: CatalogueKernels<RowKernel> = {
  'moe.pack': (call) => {
    const { permutation, moves } = call.arguments.send;
    const width = call.columns('source');
    const source = call.f32('source');
    intoBuffer(call, 'packed', width, (packed) => {
      if (!call.has('weights')) packTokens({ permutation, moves, width, tokens: source, packed });
      else combineRowGrad({ permutation, moves, width, weights: call.f32('weights'), dy: source, packed });
    });
  },
  'moe.place': (call) => {
    const width = call.columns('canonical');
    outOfBuffer(call, 'arrived', width, (arrived) =>
      unpackRows(call.arguments.arrived, width, arrived, call.f32('canonical')),
    );
  },
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
  'rows.copy': (call) => {
    const { moves, rounded } = call.arguments;
    if (isFp8(call, 'coarse') && isFp8(call, 'fine')) {
      copyRows(moves, call.columns('coarse'), call.operand('coarse').bytes, call.operand('fine').bytes);
      return;
    }
    const width = isFp8(call, 'coarse') ? call.columns('fine') : call.columns('coarse');
    outOfBuffer(call, 'coarse', width, (coarse) =>
      intoBuffer(call, 'fine', width, (fine) =>
        copyRows(moves, width, rounded === true ? roundedRows(coarse, width) : coarse, fine),
      ),
    );
  },
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
