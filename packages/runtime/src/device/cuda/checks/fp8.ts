/** Checks of rows in fp8: the bytes that the CPU makes of them, and what these stand for. */
import { fp8RowBytes } from '@monta/core/schedule';
import { dequantiseRows, quantiseRows } from '../../../moe/fp8-rows.js';
import { convertRows, dequantiseMoves, moveFp8, quantiseMoves } from '../operations/fp8.js';
import type { CheckBench } from './bench.js';

export function checkFp8(bench: CheckBench): void {
  // Whole groups, a shorter last group, and rows whose scales are not aligned.
  for (const width of [1024, 776, 130]) checkWidth(bench, width);
}

/** Rows of many sizes: some of zeros, some so small that their scale is none. */
function sampleRows(bench: CheckBench, rows: number, width: number) {
  return bench.store(
    Float32Array.from({ length: rows * width }, (_, i) => {
      const row = Math.floor(i / width);
      const value = 2 * bench.random.uniform() - 1;
      return row % 7 === 0 ? 0 : value * 2 ** ((row % 40) - 20) * (row % 13 === 5 ? 1e-37 : 1);
    }),
  );
}

/** Rows of an array in another order. */
function reordered<T extends Uint8Array | Float32Array>(values: T, width: number, order: Int32Array): T {
  const result = values.slice() as T;
  order.forEach((from, to) => result.set(values.subarray(from * width, (from + 1) * width), to * width));
  return result;
}

function checkWidth(bench: CheckBench, width: number): void {
  const of = `rows of ${width} in fp8`;
  const [rows, bytes] = [bench.of(96, 2), fp8RowBytes(width)];
  const source = sampleRows(bench, rows, width);
  const quantised = new Uint8Array(rows * bytes);
  quantiseRows(source.values, width, quantised);
  const back = new Float32Array(source.values.length);
  dequantiseRows(quantised, width, back);
  const backwards = Int32Array.from({ length: rows }, (_, row) => rows - 1 - row);
  const order = bench.upload(backwards);
  const inOrder = bench.upload(Int32Array.from({ length: rows }, (_, row) => row));

  const packed = bench.poisoned(quantised.length);
  convertRows(bench.on, 'quantise', { rows, width, from: source.address, to: packed, fromRow: order });
  const expected = reordered(quantised, bytes, backwards);
  bench.expect(`${of}: quantised`, bench.bytes(packed, quantised.length), expected, 0);
  const moved = bench.poisoned(quantised.length);
  moveFp8(bench.on, { rows, bytes, from: packed, to: moved, fromRow: inOrder, toRow: order });
  bench.expect(`${of}: moved`, bench.bytes(moved, quantised.length), quantised, 0);
  const unpacked = bench.room(back.length);
  convertRows(bench.on, 'dequantise', { rows, width, from: packed, to: unpacked, toRow: order });
  const rounded = bench.store(back).values;
  bench.expect(`${of}: dequantised`, bench.stored(unpacked, back.length), rounded, 0);

  // The first half to the end, the second to the start; tokens backwards.
  const half = rows / 2;
  const plan = {
    moves: bench.upload(Int32Array.of(0, half, half, half, 0, half)),
    starts: bench.upload(Int32Array.of(0, half, rows)),
    count: 2,
  };
  const swapped = Int32Array.from({ length: rows }, (_, row) => (row + half) % rows);
  const sent = bench.poisoned(quantised.length);
  quantiseMoves(bench.on, { ...plan, rows, width, from: source.address, to: sent }, { rowPick: order, picks: 1 });
  const travelling = reordered(
    quantised,
    bytes,
    swapped.map((row) => rows - 1 - row),
  );
  bench.expect(`${of}: packed`, bench.bytes(sent, quantised.length), travelling, 0);
  const placed = bench.room(back.length);
  dequantiseMoves(bench.on, { ...plan, rows, width, from: sent, to: placed });
  bench.expect(`${of}: placed`, bench.stored(placed, back.length), reordered(rounded, width, backwards), 0);

  const weights = Float32Array.from({ length: rows }, () => bench.random.uniform());
  const weighed = source.values.map((value, i) => value * weights[Math.floor(i / width)]);
  const heavy = new Uint8Array(quantised.length);
  quantiseRows(weighed, width, heavy);
  const weighedRows = { rowPick: inOrder, picks: 1, weights: bench.upload(weights) };
  quantiseMoves(bench.on, { ...plan, rows, width, from: source.address, to: sent }, weighedRows);
  bench.expect(`${of}: packed, weighted`, bench.bytes(sent, heavy.length), reordered(heavy, bytes, swapped), 0);
}
