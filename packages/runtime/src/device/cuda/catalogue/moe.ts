/** Router, rows and experts. Plans of row moves are arguments: they go to the card for the time of the launch. */
import type { KernelName } from '@monta/core';
import { linear, linearInputGradient, linearWeightGradient } from './linear.js';
import { routerGradient, routerSelect } from '../operations/router.js';
import { combine, combineWeightGradient } from '../operations/rows.js';
import { swigluBackward, swigluForward } from '../operations/swiglu.js';
import type { Address } from '../bindings/index.js';
import type { Storage } from '../kernel-source.js';
import { elementSize } from '../operations/launcher.js';
import type { CudaCallOf, CudaCatalogue, CudaKernelCall } from './call.js';
import { copyView } from './memory-kernels.js';
import { part } from '../../view.js';

type MoeKernel = Exclude<Extract<KernelName, `moe.${string}`>, 'moe.picks' | 'moe.capacity' | 'moe.capacity.gathered'>;

/** Of T tokens, those of this rank's slice; all where only the slice is there. */
const ownTokens = (tokens: number, scope: 'slice' | 'replica', slice: { start: number; end: number }) =>
  scope === 'slice' ? { start: 0, end: tokens } : slice;

const threads = 256;

/** Rows to move, one by one; weightOf: the pick whose weight each is multiplied by. */
interface RowMoves {
  readonly fromRow: Int32Array;
  readonly toRow: Int32Array;
  readonly weightOf?: Int32Array;
}

function moveRows(
  call: CudaKernelCall<never, unknown>,
  { fromRow, toRow, weightOf }: RowMoves,
  width: number,
  { from, to, weights = 0 }: { readonly from: Address; readonly to: Address; readonly weights?: Address },
): void {
  call.on.launch(
    'permute',
    'move_rows',
    { blocks: fromRow.length, threads: call.on.rowThreads(width) },
    {
      from,
      to,
      fromRow: call.upload(fromRow),
      toRow: call.upload(toRow),
      weightOf: weightOf === undefined ? 0 : call.upload(weightOf),
      weights,
      width,
    },
  );
}

/** Triples [canonical row, packed row, count], row by row. */
function expand(moves: Int32Array): { readonly canonical: Int32Array; readonly packed: Int32Array } {
  let rows = 0;
  for (let move = 0; move < moves.length; move += 3) rows += moves[move + 2];
  const [canonical, packed] = [new Int32Array(rows), new Int32Array(rows)];
  let at = 0;
  for (let move = 0; move < moves.length; move += 3)
    for (let i = 0; i < moves[move + 2]; i++, at++) {
      canonical[at] = moves[move] + i;
      packed[at] = moves[move + 1] + i;
    }
  return { canonical, packed };
}

/** Calls `visit` for every run of rows of an expert. */
function forEachSegment(segments: Int32Array, visit: (expert: number, row: number, rows: number) => void): void {
  for (let i = 0; i < segments.length; i += 3) visit(segments[i], segments[i + 1], segments[i + 2]);
}

/** Address of row `row` of `columns` elements. */
const rowAt = (storage: Storage, base: Address, row: number, columns: number): Address =>
  base + elementSize(storage) * row * columns;

type ExpertCall = CudaCallOf<'moe.experts'> | CudaCallOf<'moe.experts.inputGradient'>;

/** SwiGLU of a run of rows, in place of the CPU's `expertActivation`. */
function activate(call: ExpertCall, ffn: number, row: number, rows: number): void {
  swigluForward(call.on, { rows, ffn }, call.real('gateUpRows', row * 2 * ffn), call.real('activated', row * ffn));
}

export const moeKernels: CudaCatalogue<MoeKernel> = {
  'moe.router': (call) => {
    const { scope, renormalise, slice } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const [experts, picks] = [call.columns('probabilities'), call.columns('ids')];
    const probabilities = call.f32('probabilities');
    const ids = call.i32('ids');
    const arrays = { x: call.real('normed'), weight: call.real('weight'), y: probabilities, output: 'f32' as const };
    linear(call, { rows: tokens, inputs, outputs: experts }, arrays);
    const routes = { logits: probabilities, probabilities, ids, weights: call.f32('weights') };
    routerSelect(call.on, { tokens, experts, picks, renormalise }, routes);
    const { start, end } = ownTokens(tokens, scope, slice);
    call.on.launch(
      'router',
      'router_statistics',
      { blocks: experts, threads },
      {
        probabilities: rowAt('f32', probabilities, start, experts),
        ids: call.i32('ids', start * picks),
        statistics: call.f32('statistics'),
        tokens: end - start,
        experts,
        picks,
      },
    );
  },
  'moe.count': (call) => {
    const picks = call.operand('ids').view.length;
    const blocks = call.operand('counts').view.length;
    call.on.launch(
      'router',
      'count_picks',
      { blocks, threads },
      { ids: call.i32('ids'), counts: call.i32('counts'), picks },
    );
  },
  'moe.router.backward': (call) => {
    const { scope, renormalise, coefficient, pooledTokens, slice } = call.arguments;
    const [tokens, experts] = [call.rows('probabilities'), call.columns('probabilities')];
    const [inputs, picks] = [call.columns('normedGradient'), call.columns('ids')];
    const [auxiliary, dlogits] = [call.scratch(experts), call.scratch(tokens * experts)];
    const rounded = call.storage === 'f32' ? undefined : call.scratch(tokens * experts);
    const dy = rounded ?? dlogits;
    const counts = call.f32('statistics');
    const balance = { counts, gradient: auxiliary, experts, pooledTokens, coefficient };
    call.on.launch('router', 'auxiliary_gradient', { blocks: 1, threads }, balance);
    routerGradient(
      call.on,
      { tokens, experts, picks, renormalise },
      {
        probabilities: call.f32('probabilities'),
        ids: call.i32('ids'),
        dweights: call.f32('routeGradient'),
        auxiliary,
        dlogits,
        ...(rounded === undefined ? {} : { rounded }),
      },
    );
    const size = { rows: tokens, inputs, outputs: experts };
    linearInputGradient(call, size, { dy, weight: call.real('weight'), dx: call.real('normedGradient') });
    // The weight's gradient only of the own slice, also where all tokens are differentiated: the update sums it over
    // TP.
    const { start, end } = ownTokens(tokens, scope, slice);
    linearWeightGradient(
      call,
      { ...size, rows: end - start },
      {
        dy: rowAt(call.storage, dy, start, experts),
        x: call.real('normed'),
        dweight: call.f32('weightGradient'),
      },
    );
  },
  'moe.pack': (call) => {
    const { permutation, moves } = call.arguments.send;
    const { canonical, packed } = expand(moves);
    const rows = {
      fromRow: canonical.map((row) => permutation.rowToken[row]),
      toRow: packed,
      weightOf: canonical.map((row) => permutation.rowPick[row]),
    };
    const weights = call.has('weights') ? call.f32('weights') : undefined;
    moveRows(call, rows, call.columns('source'), { from: call.real('source'), to: call.real('packed'), weights });
  },
  'moe.place': (call) => {
    const { canonical, packed } = expand(call.arguments.arrived);
    const rows = { fromRow: packed, toRow: canonical };
    moveRows(call, rows, call.columns('arrived'), { from: call.real('arrived'), to: call.real('canonical') });
  },
  'moe.unplace': (call) => {
    const { canonical, packed } = expand(call.arguments.arrived);
    const rows = { fromRow: canonical, toRow: packed };
    moveRows(call, rows, call.columns('canonical'), { from: call.real('canonical'), to: call.real('packed') });
  },
  'moe.take': (call) => {
    const { start, end } = call.arguments.section;
    const width = call.columns('gathered');
    const own = part(call.operand('own').view, 0, (end - start) * width);
    copyView(call.context, part(call.operand('gathered').view, start * width, own.length), own, call.stream);
  },
  'moe.combine': (call) => {
    const tokens = call.rows('combined');
    const { pickRow } = call.arguments.returned;
    const shape = { tokens, picks: pickRow.length / Math.max(1, tokens), width: call.columns('combined') };
    combine(
      call.on,
      { ...shape, pickRow: call.upload(pickRow) },
      {
        rows: call.real('returned'),
        weights: call.has('weights') ? call.f32('weights') : undefined,
        y: call.real('combined'),
        add: call.arguments.accumulate,
      },
    );
  },
  'moe.combine.weights': (call) => {
    const [tokens, picks] = [call.rows('routeGradient'), call.columns('routeGradient')];
    const shape = { tokens, picks, width: call.columns('returned') };
    const pickRow = call.upload(call.arguments.returned.pickRow);
    combineWeightGradient(
      call.on,
      { ...shape, pickRow },
      {
        rows: call.real('returned'),
        dy: call.real('gradient'),
        dweights: call.f32('routeGradient'),
      },
    );
  },
  'moe.experts': (call) => {
    const [hidden, ffn] = [call.columns('input'), call.columns('activated')];
    forEachSegment(call.arguments.segments, (expert, row, rows) => {
      const wide = { rows, inputs: hidden, outputs: 2 * ffn };
      linear(call, wide, {
        x: call.real('input', row * hidden),
        weight: call.real('gateUp', expert * 2 * ffn * hidden),
        y: call.real('gateUpRows', row * 2 * ffn),
      });
      activate(call, ffn, row, rows);
      const narrow = { rows, inputs: ffn, outputs: hidden };
      linear(call, narrow, {
        x: call.real('activated', row * ffn),
        weight: call.real('down', expert * hidden * ffn),
        y: call.real('output', row * hidden),
      });
    });
  },
  'moe.experts.inputGradient': (call) => {
    const [hidden, ffn] = [call.columns('outputGradient'), call.columns('activated')];
    forEachSegment(call.arguments.segments, (expert, row, rows) => {
      const dactivated = call.real('activated', row * ffn);
      const narrow = { rows, inputs: ffn, outputs: hidden };
      linearInputGradient(call, narrow, {
        dy: call.real('outputGradient', row * hidden),
        weight: call.real('down', expert * hidden * ffn),
        dx: dactivated,
      });
      const gateUp = call.real('gateUpRows', row * 2 * ffn);
      const dgateUp = call.real('gateUpGradient', row * 2 * ffn);
      swigluBackward(call.on, { rows, ffn }, { gateUp, dactivated, dgateUp });
      activate(call, ffn, row, rows);
      const wide = { rows, inputs: hidden, outputs: 2 * ffn };
      linearInputGradient(call, wide, {
        dy: dgateUp,
        weight: call.real('gateUp', expert * 2 * ffn * hidden),
        dx: call.real('inputGradient', row * hidden),
      });
    });
  },
  'moe.experts.weightGradient': (call) => {
    const [hidden, ffn] = [call.columns('input'), call.columns('activated')];
    forEachSegment(call.arguments.segments, (expert, row, rows) => {
      const wide = { rows, inputs: hidden, outputs: 2 * ffn };
      linearWeightGradient(call, wide, {
        dy: call.real('gateUpGradient', row * 2 * ffn),
        x: call.real('input', row * hidden),
        dweight: call.f32('gateUpWeightGradient', expert * 2 * ffn * hidden),
      });
      const narrow = { rows, inputs: ffn, outputs: hidden };
      linearWeightGradient(call, narrow, {
        dy: call.real('outputGradient', row * hidden),
        x: call.real('activated', row * ffn),
        dweight: call.f32('downWeightGradient', expert * hidden * ffn),
      });
    });
  },
};
