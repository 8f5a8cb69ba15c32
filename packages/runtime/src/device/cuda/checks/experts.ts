/** Checks of what a layer of experts is made of: router, canonical order, rows in and out, SwiGLU. */
import {
  buildPermutation,
  combineRowGrad,
  combineRows,
  combineWeightGrad,
  dropByProbability,
  expertCapacity,
  expertActivation,
  expertActivationGrad,
  packTokens,
  routerBackward,
  routerSoftmax,
  routerTopK,
  type RouterShape,
} from '../../../moe/index.js';
import { elementSize } from '../operations/launcher.js';
import { dropGathered, dropRouted, notePicks, routerGradient, routerSelect } from '../operations/router.js';
import {
  buildCudaPermutation,
  combine,
  combineRowGradient,
  combineWeightGradient,
  packRows,
  permutationScratch,
  rowCapacity,
  type CudaPermutation,
} from '../operations/rows.js';
import { swigluBackward, swigluForward } from '../operations/swiglu.js';
import type { CheckBench } from './bench.js';

/** fp32 outputs whatever the storage. */
const narrow = 1e-5;

export function checkRouter(bench: CheckBench): void {
  for (const [experts, picks] of [
    [8, 2],
    [60, 4],
    [128, 8],
    [512, 10],
  ]) {
    const tokens = bench.of(517);
    for (const renormalise of [true, false]) {
      const shape: RouterShape = { tokens, experts, picks, renormalise };
      const of = `router ${experts} experts, top ${picks}${renormalise ? ', renormalised' : ''}`;
      const logits = Float32Array.from({ length: tokens * experts }, () => 4 * bench.random.uniform() - 2);
      // A tie in every seventh row: the lowest expert must win.
      for (let token = 0; token < tokens; token += 7) logits[token * experts + 5] = logits[token * experts + 2];
      const probabilities = new Float32Array(logits.length);
      const ids = new Int32Array(tokens * picks);
      const weights = new Float32Array(tokens * picks);
      routerSoftmax(shape, logits, probabilities);
      routerTopK(shape, probabilities, ids, weights);
      const on = {
        logits: bench.upload(logits),
        probabilities: bench.poisoned(logits.byteLength),
        ids: bench.poisoned(ids.byteLength),
        weights: bench.poisoned(weights.byteLength),
      };
      routerSelect(bench.on, shape, on);
      bench.expect(`${of}: probabilities`, bench.floats(on.probabilities, logits.length), probabilities, narrow);
      bench.expect(`${of}: picks`, bench.ints(on.ids, ids.length), ids, 0);
      bench.expect(`${of}: weights`, bench.floats(on.weights, weights.length), weights, narrow);
      checkRouterBackward(bench, of, shape, { probabilities, ids });
      checkCapacity(bench, of, shape, { probabilities, ids, weights });
    }
  }
}

function checkRouterBackward(
  bench: CheckBench,
  of: string,
  shape: RouterShape,
  { probabilities, ids }: { readonly probabilities: Float32Array; readonly ids: Int32Array },
): void {
  const dweights = Float32Array.from(ids, () => 2 * bench.random.uniform() - 1);
  const auxiliary = Float32Array.from({ length: shape.experts }, () => bench.random.uniform() / 10);
  const expected = new Float32Array(probabilities.length);
  routerBackward({ shape, probabilities, ids, dweights, auxiliary, dlogits: expected });
  const dropped = ids.map((id, pick) => (pick % 11 === 0 ? ~id : id));
  const dlogits = bench.poisoned(expected.byteLength);
  const rounded = bench.room(expected.length);
  routerGradient(bench.on, shape, {
    probabilities: bench.upload(probabilities),
    ids: bench.upload(dropped),
    dweights: bench.upload(dweights),
    auxiliary: bench.upload(auxiliary),
    dlogits,
    rounded,
  });
  bench.expect(`${of}: dlogits`, bench.floats(dlogits, expected.length), expected, narrow);
  bench.expect(`${of}: dlogits, rounded`, bench.stored(rounded, expected.length), expected);
}

/** Half of the picks' share and twice it, of all tokens at once and of a slice of what others noted. */
function checkCapacity(
  bench: CheckBench,
  of: string,
  shape: RouterShape,
  routed: { readonly probabilities: Float32Array; readonly ids: Int32Array; readonly weights: Float32Array },
): void {
  const { tokens, experts, picks } = shape;
  const { ids } = routed;
  // Coarse gates, so that many are equal: the earlier must stay.
  const probabilities = routed.probabilities.map((gate) => Math.ceil(gate * 64) / 64);
  for (const factor of [0.5, 2]) {
    const capacity = expertCapacity(factor, tokens, picks, experts);
    const drop = { tokens, experts, picks, capacity };
    const [kept, weights] = [new Uint8Array(ids.length), routed.weights.slice()];
    dropByProbability({ shape, capacity, probabilities, ids, kept, weights });
    const marked = ids.map((id, pick) => (kept[pick] === 1 ? id : ~id));
    const to = {
      probabilities: bench.upload(probabilities),
      ids: bench.upload(ids),
      weights: bench.upload(routed.weights),
    };
    const noted = bench.poisoned(8 * ids.length);
    notePicks(bench.on, drop, { probabilities: to.probabilities, ids: to.ids, noted });
    const slice = { start: Math.floor(tokens / 5), end: Math.floor(tokens / 2) };
    const [first, end] = [slice.start * picks, slice.end * picks];
    const own = {
      ids: bench.upload(ids.slice(first, end)),
      weights: bench.upload(routed.weights.slice(first, end)),
    };
    dropGathered(bench.on, { ...drop, slice }, { noted, ...own });
    dropRouted(bench.on, drop, to);
    const what = `${of}, capacity ${capacity}`;
    bench.expect(`${what}: picks`, bench.ints(to.ids, ids.length), marked, 0);
    bench.expect(`${what}: weights`, bench.floats(to.weights, ids.length), weights, 0);
    bench.expect(`${what}: picks of a slice`, bench.ints(own.ids, end - first), marked.slice(first, end), 0);
    const ofSlice = bench.floats(own.weights, end - first);
    bench.expect(`${what}: weights of a slice`, ofSlice, weights.slice(first, end), 0);
  }
}

/** Random routing with some picks dropped: what the card built, and what the CPU builds. */
function permuted(bench: CheckBench, shape: { tokens: number; picks: number; experts: number; padding: number }) {
  const { tokens, picks, experts } = shape;
  const ids = new Int32Array(tokens * picks);
  for (let token = 0; token < tokens; token++) {
    const order = Float64Array.from({ length: experts }, () => bench.random.uniform());
    const chosen = [...order.keys()].sort((a, b) => order[a] * (1 + a) - order[b] * (1 + b)).slice(0, picks);
    ids.set(chosen, token * picks);
  }
  const kept = Uint8Array.from(ids, () => Number(bench.random.uniform() < 0.95));
  const expected = buildPermutation({ ids, kept, tokens, picks, experts });
  const capacity = rowCapacity(shape);
  const built: CudaPermutation = {
    counts: bench.poisoned(4 * experts),
    offsets: bench.poisoned(4 * (experts + 1)),
    rowPick: bench.poisoned(4 * capacity),
    pickRow: bench.poisoned(4 * tokens * picks),
    scratch: bench.poisoned(4 * permutationScratch(shape)),
  };
  const marked = ids.map((id, pick) => (kept[pick] === 1 ? id : ~id));
  buildCudaPermutation({
    on: bench.on,
    runtime: bench.context.libraries.runtime,
    shape,
    ids: bench.upload(marked),
    cudaPermutation: built,
  });
  return { expected, built, capacity };
}

/** Where each canonical row lies when every expert begins at a multiple of `padding`, and the rows in all. */
function paddedRows(counts: Int32Array, padding: number): { readonly places: Int32Array; readonly rows: number } {
  const places: number[] = [];
  let start = 0;
  for (const count of counts) {
    for (let row = 0; row < count; row++) places.push(start + row);
    start += Math.ceil(count / padding) * padding;
  }
  return { places: Int32Array.from(places), rows: start };
}

/** Rows of `width` put in their places among zeros. */
function spread(rows: Float32Array, places: Int32Array, capacity: number, width: number): Float32Array {
  const out = new Float32Array(capacity * width);
  for (const [row, place] of places.entries()) out.set(rows.subarray(row * width, (row + 1) * width), place * width);
  return out;
}

export function checkRows(bench: CheckBench): void {
  for (const [count, picks, experts, padding] of [
    [1000, 2, 8, 1],
    [777, 8, 128, 64],
    [300, 4, 300, 8],
  ]) {
    const [tokens, width] = [bench.of(count), bench.of(264, 8)];
    const of = `rows of ${experts} experts, padded to ${padding}`;
    const shape = { tokens, picks, experts, padding };
    const { expected, built, capacity } = permuted(bench, shape);
    const { places, rows } = paddedRows(expected.counts, padding);
    const pickRow = expected.pickRow.map((row) => (row < 0 ? -1 : places[row]));
    const rowPick = new Int32Array(rows).fill(-1);
    for (const [row, place] of places.entries()) rowPick[place] = expected.rowPick[row];
    bench.expect(`${of}: counts`, bench.ints(built.counts, experts), expected.counts, 0);
    bench.expect(`${of}: total`, bench.ints(built.offsets + 4 * experts, 1), [rows], 0);
    bench.expect(`${of}: row of each pick`, bench.ints(built.pickRow, pickRow.length), pickRow, 0);
    bench.expect(`${of}: pick of each row`, bench.ints(built.rowPick, rows), rowPick, 0);
    checkMoves(bench, of, { tokens, picks, padding, width, rows, capacity, places, expected, built, experts });
  }
}

interface MoveCase {
  readonly tokens: number;
  readonly padding: number;
  readonly picks: number;
  readonly experts: number;
  readonly width: number;
  readonly rows: number;
  readonly capacity: number;
  readonly places: Int32Array;
  readonly expected: ReturnType<typeof buildPermutation>;
  readonly built: CudaPermutation;
}

function checkMoves(bench: CheckBench, of: string, one: MoveCase): void {
  const { tokens, picks, width, rows, capacity, places, expected, built, experts } = one;
  const all = Int32Array.of(0, 0, expected.rows);
  const move = { rows: capacity, picks, width, rowPick: built.rowPick, total: built.offsets + 4 * experts };
  const back = { tokens, picks, width, pickRow: built.pickRow };
  const weights = Float32Array.from({ length: tokens * picks }, () => bench.random.uniform());
  const onWeights = bench.upload(weights);
  const source = bench.sample(tokens * width);

  const packed = new Float32Array(expected.rows * width);
  packTokens({ permutation: expected, moves: all, width, tokens: source.values, packed });
  const toPack = bench.room(capacity * width);
  const shape = { tokens, picks, experts, padding: one.padding };
  packRows(bench.on, shape, built, { width, source: source.address, rows: toPack });
  bench.expect(`${of}: pack`, bench.stored(toPack, rows * width), spread(packed, places, rows, width), 0);

  const drows = new Float32Array(packed.length);
  combineRowGrad({ permutation: expected, moves: all, width, weights, dy: source.values, packed: drows });
  const toDrows = bench.room(capacity * width);
  combineRowGradient({ on: bench.on, move, dy: source.address, weights: onWeights, drows: toDrows });
  bench.expect(`${of}: combine, drows`, bench.stored(toDrows, rows * width), spread(drows, places, rows, width));

  const outputs = bench.sample(capacity * width);
  const canonical = new Float32Array(packed.length);
  for (const [row, place] of places.entries())
    canonical.set(outputs.values.subarray(place * width, (place + 1) * width), row * width);
  for (const given of [weights, undefined]) {
    const said = `${of}: combine${given === undefined ? ', plain' : ''}`;
    const y = new Float32Array(tokens * width);
    combineRows({ permutation: expected, tokens, picks, width, rows: canonical, weights: given, y });
    const toY = bench.room(y.length);
    combine(bench.on, back, { rows: outputs.address, y: toY, weights: given === undefined ? undefined : onWeights });
    bench.expect(said, bench.stored(toY, y.length), y);
    const sum = bench.sample(y.length);
    combineRows({
      permutation: expected,
      tokens,
      picks,
      width,
      rows: canonical,
      weights: given,
      y: sum.values,
      add: true,
    });
    const added = { rows: outputs.address, y: sum.address, weights: given === undefined ? undefined : onWeights };
    combine(bench.on, back, { ...added, add: true });
    bench.expect(`${said}, added`, bench.stored(sum.address, y.length), sum.values);
  }

  const dweights = new Float32Array(tokens * picks);
  combineWeightGrad({ permutation: expected, tokens, picks, width, rows: canonical, dy: source.values, dweights });
  const toDweights = bench.poisoned(dweights.byteLength);
  combineWeightGradient(bench.on, back, { rows: outputs.address, dy: source.address, dweights: toDweights });
  bench.expect(`${of}: combine, dweights`, bench.floats(toDweights, dweights.length), dweights, narrow);
}

export function checkSwiglu(bench: CheckBench): void {
  const [rows, ffn] = [bench.of(300), 776];
  // Rows behind stay as they are.
  const total = Math.ceil(0.95 * rows) - 1;
  const gateUp = bench.sample(rows * 2 * ffn, 3);
  const upstream = bench.sample(rows * ffn);
  const onTotal = bench.upload(Int32Array.of(total));
  const segments = Int32Array.of(0, 0, total);
  const plain = new Float32Array(total * ffn);
  expertActivation({ hidden: 0, ffn }, segments, gateUp.values, plain);
  const shape = { rows, ffn, total: onTotal };
  const activated = bench.room(rows * ffn);
  swigluForward(bench.on, shape, { gateUp: gateUp.address, activated });
  bench.expect('swiglu', bench.stored(activated, plain.length), plain);
  const size = elementSize(bench.storage);
  const after = bench.bytes(activated + size * plain.length, size * ffn);
  bench.expect('swiglu: rows from the total on', after, new Uint8Array(after.length).fill(0xff), 0);
  const dgateUp = new Float32Array(total * 2 * ffn);
  expertActivationGrad({
    expertShape: { hidden: 0, ffn },
    segments,
    gateUpRows: gateUp.values,
    dactivated: upstream.values,
    dgateUpRows: dgateUp,
  });
  const toGradient = bench.room(rows * 2 * ffn);
  swigluBackward(bench.on, shape, {
    gateUp: gateUp.address,
    dactivated: upstream.address,
    dgateUp: toGradient,
  });
  bench.expect('swiglu: dgateUp', bench.stored(toGradient, dgateUp.length), dgateUp);
  checkWeightedSwiglu(bench, { rows, ffn, total, gateUp, upstream, plain, dgateUp, onTotal });
}

interface SwigluCase {
  readonly rows: number;
  readonly ffn: number;
  readonly total: number;
  readonly gateUp: ReturnType<CheckBench['sample']>;
  readonly upstream: ReturnType<CheckBench['sample']>;
  readonly plain: Float32Array;
  readonly dgateUp: Float32Array;
  readonly onTotal: number;
}

/** With the combine's weights folded in, against the CPU's plain one times the weights; one row is padding. */
function checkWeightedSwiglu(bench: CheckBench, one: SwigluCase): void {
  const { rows, ffn, total, gateUp, upstream, plain, dgateUp, onTotal } = one;
  const padding = Math.min(7, total - 1);
  const rowPick = Int32Array.from({ length: rows }, (_, row) => (row === padding ? -1 : rows - 1 - row));
  const weights = Float32Array.from({ length: rows }, () => bench.random.uniform());
  const weightOf = (row: number): number => (rowPick[row] < 0 ? 0 : weights[rowPick[row]]);
  const scaled = (values: Float32Array, width: number): Float32Array =>
    values.map((value, i) => value * weightOf(Math.floor(i / width)));
  const dweights = new Float32Array(rows);
  for (let row = 0; row < total; row++) {
    if (rowPick[row] < 0) continue;
    let dot = 0;
    for (let i = row * ffn; i < (row + 1) * ffn; i++) dot += plain[i] * upstream.values[i];
    dweights[rowPick[row]] = dot;
  }
  const folded = { rows, ffn, total: onTotal, weights: bench.upload(weights), rowPick: bench.upload(rowPick) };
  // Rows of padding hold whatever lay there: NaN here, which must not reach a sum.
  const rowBytes = 2 * ffn * elementSize(bench.storage);
  bench.context.memory.write(gateUp.address + padding * rowBytes, new Uint8Array(rowBytes).fill(0xff));
  const forward = bench.room(rows * ffn);
  swigluForward(bench.on, folded, { gateUp: gateUp.address, activated: forward });
  bench.expect('swiglu, weighted', bench.stored(forward, plain.length), scaled(plain, ffn));
  const arrays = { toDgateUp: bench.room(rows * 2 * ffn), again: bench.room(rows * ffn) };
  const toDweights = bench.upload(new Float32Array(rows));
  swigluBackward(bench.on, folded, {
    gateUp: gateUp.address,
    dactivated: upstream.address,
    dgateUp: arrays.toDgateUp,
    activated: arrays.again,
    dweights: toDweights,
  });
  const gradient = bench.stored(arrays.toDgateUp, dgateUp.length);
  bench.expect('swiglu, weighted: dgateUp', gradient, scaled(dgateUp, 2 * ffn));
  bench.expect('swiglu, weighted: activated again', bench.stored(arrays.again, plain.length), scaled(plain, ffn));
  bench.expect('swiglu, weighted: dweights', bench.floats(toDweights, rows), dweights, narrow);
}
