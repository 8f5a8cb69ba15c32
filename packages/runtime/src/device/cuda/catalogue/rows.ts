/** Rows on their way to experts and back. Plans of row moves are arguments: they go to the card for the launch. */
import { fp8RowBytes, type KernelName } from '@monta/core/schedule';
import { convertRows, dequantiseMoves, moveFp8, quantiseMoves } from '../operations/fp8.js';
import { combine, combineWeightGradient } from '../operations/rows.js';
import type { Address } from '../bindings/index.js';
import { nullAddress, warp } from '../operations/launcher.js';
import type { CudaCallOf, CudaCatalogue, CudaKernelCall } from './call.js';
import { copyView } from './memory-kernels.js';
import { orderOnCard, returnedOnCard } from './pick-orders.js';
import { pairsOnCard, sortedPairs } from './row-pairs.js';
import { elementBytes, part } from '../../view.js';

type RowKernel = Extract<
  KernelName,
  'moe.pack' | 'moe.place' | 'moe.unplace' | 'moe.take' | `moe.combine${string}` | `rows.${string}` | 'picks.gradient'
>;

const threads = 256;

/** A thread an element. */
const elements = (count: number) => ({ blocks: Math.ceil(count / threads), threads });

/** Whether an operand holds rows in fp8: bytes, with scales behind the elements. */
const isFp8 = <Role extends string>(call: CudaKernelCall<Role, unknown>, role: Role): boolean =>
  call.operand(role).view.type === 'u8';

/** Arrays of rows on the card. */
interface Ends {
  readonly from: Address;
  readonly to: Address;
}

interface Followed {
  /** Triples [canonical row, packed row, rows]. */
  readonly moves: Int32Array;
  readonly width: number;
  /** To packed rows, or to canonical ones. */
  readonly to: 'packed' | 'canonical';
  /** From rows of tokens: the pick of every canonical row, and picks of a token. */
  readonly tokens?: { readonly rowPick: Address; readonly picks: number };
  /** fp32, by pick. */
  readonly weights?: Address;
}

/** A plan of moves on the card, with the row at which each begins, and how many rows move. */
function uploadMoves(call: CudaKernelCall<never, unknown>, moves: Int32Array) {
  const count = moves.length / 3;
  const starts = new Int32Array(count + 1);
  for (let move = 0; move < count; move++) starts[move + 1] = starts[move] + moves[3 * move + 2];
  return { rows: starts[count], plan: { moves: call.upload(moves), starts: call.upload(starts), count } };
}

/** Moves rows as a plan says; the card finds each row's place. */
function follow(
  call: CudaKernelCall<never, unknown>,
  { moves, width, to, tokens = { rowPick: nullAddress, picks: 0 }, weights = nullAddress }: Followed,
  ends: Ends,
): void {
  const { rows, plan } = uploadMoves(call, moves);
  const grid = { blocks: rows, threads: Math.min(threads, warp * Math.ceil(width / call.on.lanes / warp)) };
  call.on.launch('permute', 'follow_moves', grid, {
    pack: Number(to === 'packed'),
    weights,
    width,
    ...tokens,
    ...ends,
    ...plan,
  });
}

/** `rows.copy` where rows are in fp8 before or after, or as if they had been in between. */
function copyFp8(call: CudaCallOf<'rows.copy'>): void {
  const { coarse: fromRow, fine: toRow, count: rows } = pairsOnCard(call, call.arguments.moves);
  const [packed, unpacked] = [isFp8(call, 'coarse'), !isFp8(call, 'fine')];
  const width = packed ? call.columns('fine') : call.columns('coarse');
  if (packed && !unpacked) {
    const ends = { from: call.u8('coarse'), to: call.u8('fine') };
    moveFp8(call.on, { rows, bytes: call.columns('coarse'), ...ends, fromRow, toRow });
    return;
  }
  const from = packed ? call.u8('coarse') : call.real('coarse');
  const to = unpacked ? call.real('fine') : call.u8('fine');
  if (packed || !unpacked) {
    convertRows(call.on, packed ? 'dequantise' : 'quantise', { rows, width, from, to, fromRow, toRow });
    return;
  }
  const between = call.scratch(Math.ceil((rows * fp8RowBytes(width)) / elementBytes.f32));
  convertRows(call.on, 'quantise', { rows, width, from, to: between, fromRow });
  convertRows(call.on, 'dequantise', { rows, width, from: between, to, toRow });
}

export const rowKernels: CudaCatalogue<RowKernel> = {
  'moe.pack': (call) => {
    const { permutation, moves } = call.arguments.send;
    const tokens = { rowPick: orderOnCard(call, permutation).rowPick, picks: permutation.shape.picks };
    const weights = call.has('weights') ? { weights: call.f32('weights') } : {};
    if (isFp8(call, 'packed')) {
      const { rows, plan } = uploadMoves(call, moves);
      const ends = { from: call.real('source'), to: call.u8('packed') };
      quantiseMoves(call.on, { ...plan, ...ends, rows, width: call.columns('source') }, { ...tokens, ...weights });
      return;
    }
    const followed = { moves, width: call.columns('source'), to: 'packed', tokens, ...weights } as const;
    follow(call, followed, { from: call.real('source'), to: call.real('packed') });
  },
  'moe.place': (call) => {
    if (isFp8(call, 'arrived')) {
      const { rows, plan } = uploadMoves(call, call.arguments.arrived);
      const ends = { from: call.u8('arrived'), to: call.real('canonical') };
      dequantiseMoves(call.on, { ...plan, ...ends, rows, width: call.columns('canonical') });
      return;
    }
    const followed = { moves: call.arguments.arrived, width: call.columns('arrived'), to: 'canonical' } as const;
    follow(call, followed, { from: call.real('arrived'), to: call.real('canonical') });
  },
  'moe.unplace': (call) => {
    const followed = { moves: call.arguments.arrived, width: call.columns('canonical'), to: 'packed' } as const;
    follow(call, followed, { from: call.real('canonical'), to: call.real('packed') });
  },
  'moe.take': (call) => {
    const { start, end } = call.arguments.section;
    const width = call.columns('gathered');
    const own = part(call.operand('own').view, 0, (end - start) * width);
    copyView(call.context, part(call.operand('gathered').view, start * width, own.length), own, call.stream);
  },
  'moe.combine': (call) => {
    const tokens = call.rows('combined');
    const { returned } = call.arguments;
    const shape = { tokens, picks: returned.order.shape.picks, width: call.columns('combined') };
    combine(
      call.on,
      { pickRow: returnedOnCard(call, returned), ...shape },
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
    const pickRow = returnedOnCard(call, call.arguments.returned);
    combineWeightGradient(
      call.on,
      { pickRow, ...shape },
      {
        rows: call.real('returned'),
        dy: call.real('gradient'),
        dweights: call.f32('routeGradient'),
      },
    );
  },
  'rows.copy': (call) => {
    if (isFp8(call, 'coarse') || isFp8(call, 'fine') || call.arguments.rounded === true) {
      copyFp8(call);
      return;
    }
    const width = call.columns('coarse');
    const ends = { from: call.real('coarse'), to: call.real('fine') };
    const { coarse: fromRow, fine: toRow, count: pairs } = pairsOnCard(call, call.arguments.moves);
    const arrays = { fromRow, toRow, ...ends };
    const count = pairs * width;
    if (width % call.on.lanes !== 0)
      call.on.launch('permute', 'move_elements', elements(count), { count, width, ...arrays });
    else {
      const grid = { blocks: pairs, threads: call.on.rowThreads(width) };
      call.on.launch('permute', 'move_rows', grid, { width, ...arrays });
    }
  },
  'rows.sum': (call) => {
    const [rows, width] = [call.rows('coarse'), call.columns('fine')];
    const arrays = { fine: call.real('fine'), coarse: call.real('coarse') };
    const { starts, fine: fineRow, picks: pick } = sortedPairs(call, call.arguments.moves, rows);
    const places = { starts, fineRow };
    if (width % call.on.lanes === 0 || call.has('weights')) {
      const weights = call.has('weights') ? call.f32('weights') : 0;
      const grid = { blocks: rows, threads: call.on.rowThreads(width) };
      call.on.launch('permute', 'sum_rows', grid, { pick, weights, width, ...arrays, ...places });
      return;
    }
    const count = rows * width;
    call.on.launch('permute', 'sum_elements', elements(count), { count, width, ...arrays, ...places });
  },
  'rows.weigh': (call) => {
    const { fine: fineRow, picks: pick, count } = pairsOnCard(call, call.arguments.moves);
    const width = call.columns('gradient');
    const given = call.has('output');
    call.on.launch(
      'permute',
      'weigh_rows',
      { blocks: count, threads: call.on.rowThreads(width) },
      {
        output: given ? call.real('output') : 0,
        gradient: call.real('gradient'),
        fineRow,
        pick,
        weights: call.f32('weights'),
        products: given ? call.f32('weightGradient') : 0,
        width,
      },
    );
  },
  'picks.gradient': (call) => {
    const { returned } = call.arguments;
    const picks = returned.range.length;
    const arrays = { returned: call.f32('returned'), gradient: call.f32('routeGradient') };
    const pickRow = returnedOnCard(call, returned);
    call.on.launch('permute', 'gather_picks', elements(picks), { pickRow, picks, ...arrays });
  },
};
