import { chunkRows, appendAll, maxOf, minOf } from '@monta/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finiteDifferences, randomArray, relativeError, seededRandom, weightedSum } from '../../testing/numbers.js';
import {
  addRows,
  blockStarts,
  chunkBegin,
  chunkMoves,
  chunkPlaces,
  chunkTotal,
  gatherOrder,
  packRows,
  receiveOrder,
  sendOrder,
  unpackRows,
} from './blocks.js';
import { buildPermutation, combineRowGrad, combineRows, combineWeightGrad, packTokens } from './permutation.js';

/** Distinct experts per token, and some picks dropped. */
function randomRouting(seed: number, tokens: number, picks: number, experts: number, drop: boolean) {
  const random = seededRandom(seed);
  const ids = new Int32Array(tokens * picks);
  for (let t = 0; t < tokens; t++) {
    const free = Array.from({ length: experts }, (_, e) => e);
    for (let j = 0; j < picks; j++) ids[t * picks + j] = free.splice(Math.floor(random() * free.length), 1)[0];
  }
  const kept = drop ? Uint8Array.from(ids, () => (random() < 0.7 ? 1 : 0)) : undefined;
  return { random, ids, kept };
}

const cases = fc.record({
  seed: fc.integer(),
  tokens: fc.integer({ min: 0, max: 20 }),
  picks: fc.integer({ min: 1, max: 3 }),
  experts: fc.constantFrom(4, 6, 8),
  chunks: fc.integer({ min: 1, max: 5 }),
  drop: fc.boolean(),
});

describe('permutation', () => {
  it('orders kept picks by expert and token, and its inverse finds them', () => {
    fc.assert(
      fc.property(cases, ({ seed, tokens, picks, experts, drop }) => {
        const { ids, kept } = randomRouting(seed, tokens, picks, experts, drop);
        const permutation = buildPermutation({ ids, kept, tokens, picks, experts });
        const expected = [...ids.keys()]
          .filter((pick) => kept === undefined || kept[pick] === 1)
          .sort((a, b) => ids[a] - ids[b] || a - b);
        expect([...permutation.rowPick]).toEqual(expected);
        expect([...permutation.rowToken]).toEqual(expected.map((pick) => Math.floor(pick / picks)));
        ids.forEach((_, pick) => {
          expect(permutation.pickRow[pick]).toBe(expected.indexOf(pick));
        });
        for (let e = 0; e < experts; e++)
          expect(permutation.counts[e]).toBe(expected.filter((pick) => ids[pick] === e).length);
      }),
      { seed: 1 },
    );
  });

  it('packs tokens chunk by chunk, in the order [destination][local expert][rows]', () => {
    fc.assert(
      fc.property(cases, ({ seed, tokens, picks, experts, chunks, drop }) => {
        const { random, ids, kept } = randomRouting(seed, tokens, picks, experts, drop);
        const permutation = buildPermutation({ ids, kept, tokens, picks, experts });
        const x = randomArray(tokens * 3, random);
        const expected: number[] = [];
        const actual: number[] = [];
        const ep = 2;
        const local = experts / ep;
        for (let chunk = 0; chunk < chunks; chunk++) {
          for (let rank = 0; rank < ep; rank++)
            for (let e = rank * local; e < (rank + 1) * local; e++) {
              const block = [...permutation.rowToken].filter((_, row) => ids[permutation.rowPick[row]] === e);
              const part = block.slice(
                Math.floor((block.length * chunk) / chunks),
                Math.floor((block.length * (chunk + 1)) / chunks),
              );
              for (const token of part) appendAll(expected, x.subarray(token * 3, token * 3 + 3));
            }
          const moves = chunkMoves(permutation.counts, sendOrder(experts, 1), chunk, chunks);
          const packed = new Float32Array(3 * chunkTotal(permutation.counts, chunk, chunks)).fill(NaN);
          packTokens({ permutation, moves, width: 3, tokens: x, packed });
          appendAll(actual, packed);
        }
        expect(actual).toEqual(expected);
      }),
      { seed: 1 },
    );
  });

  it('finds the place of every row among all chunks, one after another', () => {
    const orders = [sendOrder(4, 3), receiveOrder(4, 3, 1), receiveOrder(2, 3, 2), gatherOrder(4, 1, 3)];
    const cases = fc.record({
      order: fc.constantFrom(...orders),
      chunks: fc.integer({ min: 1, max: 5 }),
      counts: fc
        .array(fc.integer({ min: 0, max: 9 }), { minLength: 12, maxLength: 12 })
        .map((all) => Int32Array.from(all)),
    });
    fc.assert(
      fc.property(cases, ({ order, chunks, counts }) => {
        const starts = blockStarts(counts);
        // Row by row, as the buffer is filled.
        const filled = Array.from({ length: chunks }, (_, chunk) =>
          [...order].flatMap((block) => {
            const [first, end] = [chunk, chunk + 1].map((one) => chunkBegin(counts[block], one, chunks));
            return Array.from({ length: end - first }, (__, row) => starts[block] + first + row);
          }),
        ).flat();
        const places = chunkPlaces(counts, order, chunks);
        const found: number[] = [];
        for (let place = 0; place < places.length; place += 3) {
          expect(places[place]).toBe(found.length);
          for (let row = 0; row < places[place + 2]; row++) found.push(places[place + 1] + row);
        }
        expect(found.map((row) => filled[row])).toEqual(found.map((_, row) => row));
        expect(found.length).toBe(filled.length);
        // The canonical order in one chunk is one place.
        const most = chunks === 1 && order === orders[0] ? Math.min(3, 3 * filled.length) : 3 * chunks * counts.length;
        expect(places.length).toBeLessThanOrEqual(most);
      }),
      { seed: 1 },
    );
  });

  it('combines rows with weights and has the gradients of that', () => {
    const [tokens, picks, experts, width] = [5, 2, 4, 3];
    const { random, ids, kept } = randomRouting(3, tokens, picks, experts, true);
    expect(kept?.includes(0)).toBe(true);
    const permutation = buildPermutation({ ids, kept, tokens, picks, experts });
    const rows = randomArray(permutation.rows * width, random);
    const weights = randomArray(tokens * picks, random);
    const dy = randomArray(tokens * width, random);
    const y = new Float32Array(tokens * width).fill(NaN);
    const loss = (): number => {
      combineRows({ permutation, tokens, picks, width, rows, weights, y });
      return weightedSum(y, dy);
    };
    loss();
    const plain = new Float64Array(tokens * width);
    permutation.rowPick.forEach((pick, row) => {
      for (let i = 0; i < width; i++)
        plain[Math.floor(pick / picks) * width + i] += weights[pick] * rows[row * width + i];
    });
    expect(relativeError(y, plain)).toBeLessThan(1e-6);

    const expectedRows = finiteDifferences(rows, loss);
    const expectedWeights = finiteDifferences(weights, loss);
    const dweights = new Float32Array(tokens * picks).fill(NaN);
    combineWeightGrad({ permutation, tokens, picks, width, rows, dy, dweights });
    expect(relativeError(dweights, expectedWeights)).toBeLessThan(1e-3);
    for (const chunks of [1, 2, 3]) {
      const drows = new Float32Array(rows.length).fill(NaN);
      for (let chunk = 0; chunk < chunks; chunk++) {
        const moves = chunkMoves(permutation.counts, sendOrder(experts, 1), chunk, chunks);
        const packed = new Float32Array(chunkTotal(permutation.counts, chunk, chunks) * width);
        combineRowGrad({ permutation, moves, width, weights, dy, packed });
        unpackRows(moves, width, packed, drows);
      }
      expect(relativeError(drows, expectedRows)).toBeLessThan(1e-3);
    }
  });

  it('sums rows into tokens as the adjoint of packing them', () => {
    const { random, ids } = randomRouting(4, 6, 3, 4, false);
    const permutation = buildPermutation({ ids, kept: undefined, tokens: 6, picks: 3, experts: 4 });
    const x = randomArray(6 * 2, random);
    const drows = randomArray(permutation.rows * 2, random);
    const rows = new Float32Array(permutation.rows * 2);
    packTokens({
      permutation,
      moves: chunkMoves(permutation.counts, sendOrder(4, 1), 0, 1),
      width: 2,
      tokens: x,
      packed: rows,
    });
    const dx = new Float32Array(12).fill(1);
    combineRows({ permutation, tokens: 6, picks: 3, width: 2, rows: drows, weights: undefined, y: dx, add: true });
    expect(
      weightedSum(
        x,
        dx.map((value) => value - 1),
      ),
    ).toBeCloseTo(weightedSum(rows, drows), 5);
  });
});

describe('blocks', () => {
  it('chunks of any count cover every row of a block once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 1, max: 60 }), (rows, of) => {
        const sizes = Array.from({ length: of }, (_, chunk) => chunkRows(rows, chunk, of));
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(rows);
        expect(maxOf(sizes) - minOf(sizes)).toBeLessThanOrEqual(1);
        expect(chunkBegin(rows, of, of)).toBe(rows);
      }),
      { seed: 1 },
    );
  });

  /**
   * All ranks of an expert group, rows labelled (slice, expert, position): every rank sends, the all_to_all delivers,
   * etp members gather; in the end each holds exactly the rows of its experts, by expert, slice and position.
   */
  it.each([
    { ep: 2, etp: 1, chunks: 1 },
    { ep: 2, etp: 2, chunks: 3 },
    { ep: 1, etp: 3, chunks: 2 },
    { ep: 3, etp: 2, chunks: 4 },
  ])('rows reach the canonical place through all_to_all and all_gather: %o', ({ ep, etp, chunks }) => {
    const random = seededRandom(ep * 10 + etp);
    const [local, slices] = [2, ep * etp];
    const experts = local * ep;
    const counts = Array.from({ length: slices }, () =>
      Int32Array.from({ length: experts }, () => Math.floor(random() * 6)),
    );
    const label = (slice: number, expert: number, position: number): number =>
      (slice * experts + expert) * 100 + position;
    const canonicalOf = (list: readonly number[], expertsHere: readonly number[]): number[] =>
      expertsHere.flatMap((e) =>
        list.flatMap((s) => Array.from({ length: counts[s][e] }, (_, position) => label(s, e, position))),
      );
    const expertsOf = (rank: number): number[] => Array.from({ length: local }, (_, i) => rank * local + i);
    const all = Array.from({ length: experts }, (_, e) => e);
    const sources = Array.from({ length: slices }, (_, s) => s);
    for (let rank = 0; rank < ep; rank++) {
      const mine = expertsOf(rank);
      const blockCounts = Int32Array.from(mine.flatMap((e) => sources.map((s) => counts[s][e])));
      const canonical = new Float32Array(blockStarts(blockCounts)[blockCounts.length]).fill(NaN);
      const late = new Float32Array(canonical.length).fill(NaN);
      const members = Array.from({ length: etp }, (_, member) => sources.filter((s) => s % etp === member));
      const slicedCounts = members.map((own) => Int32Array.from(mine.flatMap((e) => own.map((s) => counts[s][e]))));
      const sliced = slicedCounts.map((own) => new Float32Array(own.reduce((sum, n) => sum + n, 0)).fill(NaN));
      for (let chunk = 0; chunk < chunks; chunk++) {
        const gathered: number[] = [];
        for (let member = 0; member < etp; member++) {
          // member's all_to_all over ep: source r sends its slice (r, member), packed from its canonical buffer
          const received = sources
            .filter((s) => s % etp === member)
            .flatMap((s) => {
              const own = Float32Array.from(canonicalOf([s], all));
              const moves = chunkMoves(counts[s], sendOrder(experts, 1), chunk, chunks);
              const packed = new Float32Array(chunkTotal(counts[s], chunk, chunks));
              packRows(moves, 1, own, packed);
              const before = all
                .slice(0, rank * local)
                .reduce((sum, e) => sum + chunkRows(counts[s][e], chunk, chunks), 0);
              const length = mine.reduce((sum, e) => sum + chunkRows(counts[s][e], chunk, chunks), 0);
              return [...packed.subarray(before, before + length)];
            });
          // it may also be put in order right away, by the counts of its own sources only
          const order = chunkMoves(slicedCounts[member], receiveOrder(local, ep, 1), chunk, chunks);
          unpackRows(order, 1, Float32Array.from(received), sliced[member]);
          appendAll(gathered, received);
        }
        const moves = chunkMoves(blockCounts, gatherOrder(local, ep, etp), chunk, chunks);
        unpackRows(moves, 1, Float32Array.from(gathered), canonical);
        // a duplicated dispatch: each ep rank sends all slices of its replica
        const duplicated = Array.from({ length: ep }, (_, r) => r).flatMap((r) =>
          mine.flatMap((e) =>
            Array.from({ length: etp }, (_, i) => r * etp + i).flatMap((s) =>
              Array.from({ length: counts[s][e] }, (_, position) => label(s, e, position)).slice(
                chunkBegin(counts[s][e], chunk, chunks),
                chunkBegin(counts[s][e], chunk + 1, chunks),
              ),
            ),
          ),
        );
        unpackRows(
          chunkMoves(blockCounts, receiveOrder(local, ep, etp), chunk, chunks),
          1,
          Float32Array.from(duplicated),
          late,
        );
      }
      expect([...canonical]).toEqual(canonicalOf(sources, mine));
      expect([...late]).toEqual([...canonical]);
      expect(sliced.map((rows) => [...rows])).toEqual(members.map((own) => canonicalOf(own, mine)));
    }
  });

  it('adds packed rows where unpacking would write them', () => {
    const counts = Int32Array.of(3, 0, 2, 5);
    const moves = chunkMoves(counts, receiveOrder(2, 2, 1), 1, 2);
    const packed = randomArray(2 * chunkTotal(counts, 1, 2), seededRandom(1));
    const written = new Float32Array(20);
    unpackRows(moves, 2, packed, written);
    const added = new Float32Array(20).fill(2);
    addRows(moves, 2, packed, added);
    expect(
      relativeError(
        added,
        written.map((value) => value + 2),
      ),
    ).toBeLessThan(1e-6);
  });
});
