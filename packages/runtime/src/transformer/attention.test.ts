import { describe, expect, it } from 'vitest';
import { referenceGemm } from '../device/cpu/gemm-reference.js';
import { attentionBackward, attentionForward, attentionScratch, sinksGradient } from './attention.js';
import type { AttentionShape } from './attention.js';
import { headShare } from './head-share.js';
import { Tape, attention, matrix } from '../../testing/transformer/reference-tape.js';
import { finiteDifferences, randomArray, relativeError, seededRandom, weightedSum } from '../../testing/numbers.js';
import { maxOf } from '@monta/core';

function buffers(shape: AttentionShape, seed: number) {
  const random = seededRandom(seed);
  const tokens = shape.batch * shape.sequence;
  const qSize = tokens * shape.heads * shape.headDim;
  const kvSize = tokens * shape.kvHeads * shape.headDim;
  return {
    tokens,
    q: randomArray(qSize, random, 2),
    k: randomArray(kvSize, random, 2),
    v: randomArray(kvSize, random),
    dout: randomArray(qSize, random),
    out: new Float32Array(qSize).fill(NaN),
    dq: new Float32Array(qSize).fill(NaN),
    dk: new Float32Array(kvSize).fill(NaN),
    dv: new Float32Array(kvSize).fill(NaN),
    logSum: new Float32Array(tokens * shape.heads).fill(NaN),
    scratch: new Float32Array(attentionScratch(shape)).fill(NaN),
  };
}

function run(shape: AttentionShape, b: ReturnType<typeof buffers>): void {
  attentionForward({
    gemm: referenceGemm,
    shape,
    q: b.q,
    k: b.k,
    v: b.v,
    out: b.out,
    logSum: b.logSum,
    scratch: b.scratch,
  });
  attentionBackward({
    gemm: referenceGemm,
    shape,
    q: b.q,
    k: b.k,
    v: b.v,
    out: b.out,
    logSum: b.logSum,
    dout: b.dout,
    dq: b.dq,
    dk: b.dk,
    dv: b.dv,
    scratch: b.scratch,
  });
}

describe('attention', () => {
  it.each<AttentionShape>([
    { batch: 2, sequence: 7, heads: 4, kvHeads: 2, headDim: 6 },
    { batch: 1, sequence: 1, heads: 2, kvHeads: 1, headDim: 4 },
    { batch: 1, sequence: 150, heads: 2, kvHeads: 2, headDim: 8 },
    { batch: 2, sequence: 64, heads: 3, kvHeads: 1, headDim: 4 },
    { batch: 1, sequence: 130, heads: 2, kvHeads: 1, headDim: 4, window: 5 },
    { batch: 1, sequence: 130, heads: 1, kvHeads: 1, headDim: 4, window: 70 },
    { batch: 1, sequence: 9, heads: 1, kvHeads: 1, headDim: 4, window: 1 },
    { batch: 1, sequence: 9, heads: 1, kvHeads: 1, headDim: 4, window: 50 },
    { batch: 2, sequence: 70, heads: 2, kvHeads: 1, headDim: 4, window: 5, sinks: Float32Array.of(0.5, -2) },
  ])('agrees with the plain loops: %o', (shape) => {
    const b = buffers(shape, 1);
    const tape = new Tape();
    const q = matrix(b.tokens, shape.heads * shape.headDim, Float64Array.from(b.q));
    const k = matrix(b.tokens, shape.kvHeads * shape.headDim, Float64Array.from(b.k));
    const v = matrix(b.tokens, shape.kvHeads * shape.headDim, Float64Array.from(b.v));
    const sinks = shape.sinks && matrix(1, shape.heads, Float64Array.from(shape.sinks));
    const expected = attention(tape, q, k, v, { ...shape, sinks, window: shape.window ?? Infinity });
    expected.gradient.set(b.dout);
    tape.run();
    run(shape, b);
    expect(relativeError(b.out, expected.value)).toBeLessThan(2e-6);
    expect(relativeError(b.dv, v.gradient)).toBeLessThan(5e-6);
    const dsinks = new Float32Array(shape.heads);
    sinksGradient(shape, b, dsinks);
    expect(relativeError(dsinks, sinks?.gradient ?? new Float32Array(shape.heads))).toBeLessThan(5e-6);
    // with one visible key the weight is 1 and q and k get no gradient
    const size = maxOf(b.dout.map(Math.abs));
    for (const [actual, wanted] of [
      [b.dq, q.gradient],
      [b.dk, k.gradient],
    ] as const)
      expect(maxOf(wanted.map((value, i) => Math.abs(value - actual[i])))).toBeLessThan(1e-5 * size);
  });

  it('agrees with finite differences', () => {
    const shape = { batch: 1, sequence: 5, heads: 2, kvHeads: 1, headDim: 4 };
    const b = buffers(shape, 2);
    const loss = (): number => {
      attentionForward({
        gemm: referenceGemm,
        shape,
        q: b.q,
        k: b.k,
        v: b.v,
        out: b.out,
        logSum: b.logSum,
        scratch: b.scratch,
      });
      return weightedSum(b.out, b.dout);
    };
    const expected = [b.q, b.k, b.v].map((values) => finiteDifferences(values, loss));
    run(shape, b);
    expect(relativeError(b.dq, expected[0])).toBeLessThan(2e-3);
    expect(relativeError(b.dk, expected[1])).toBeLessThan(2e-3);
    expect(relativeError(b.dv, expected[2])).toBeLessThan(1e-3);
  });

  it('stays finite with large scores', () => {
    const shape = { batch: 1, sequence: 6, heads: 1, kvHeads: 1, headDim: 4 };
    const b = buffers(shape, 3);
    b.q.forEach((value, i) => {
      b.q[i] = value * 1e4;
    });
    run(shape, b);
    for (const values of [b.out, b.dq, b.dk, b.dv]) expect(values.every(Number.isFinite)).toBe(true);
  });

  it.each([1, 2, 4, 8])('over %i TP ranks adds up to the whole, replicated key/value heads included', (tp) => {
    const whole = { batch: 1, sequence: 6, heads: 8, kvHeads: 2, headDim: 4 };
    const b = buffers(whole, 4);
    run(whole, b);
    const dk = new Float32Array(b.dk.length);
    const dv = new Float32Array(b.dv.length);
    const take = (values: Float32Array, heads: number, first: number, count: number): Float32Array =>
      Float32Array.from({ length: b.tokens * count * 4 }, (_, i) => {
        const row = Math.floor(i / (count * 4));
        return values[(row * heads + first) * 4 + (i % (count * 4))];
      });
    for (let rank = 0; rank < tp; rank++) {
      const share = headShare(8, 2, tp, rank);
      const shape = { ...whole, heads: share.heads, kvHeads: share.kvHeads };
      const local = buffers(shape, 0);
      local.q = take(b.q, 8, share.firstHead, share.heads);
      local.dout = take(b.dout, 8, share.firstHead, share.heads);
      local.k = take(b.k, 2, share.firstKvHead, share.kvHeads);
      local.v = take(b.v, 2, share.firstKvHead, share.kvHeads);
      run(shape, local);
      expect(local.out).toEqual(take(b.out, 8, share.firstHead, share.heads));
      expect(local.dq).toEqual(take(b.dq, 8, share.firstHead, share.heads));
      const spread = (part: Float32Array, into: Float32Array): void => {
        const width = share.kvHeads * 4;
        part.forEach((value, i) => {
          into[(Math.floor(i / width) * 2 + share.firstKvHead) * 4 + (i % width)] += value;
        });
      };
      spread(local.dk, dk);
      spread(local.dv, dv);
    }
    expect(relativeError(dk, b.dk)).toBeLessThan(2e-6);
    expect(relativeError(dv, b.dv)).toBeLessThan(2e-6);
  });
});

describe('headShare', () => {
  it('covers all heads once, and key/value heads kvReplicas times', () => {
    for (const [heads, kvHeads, tp] of [
      [8, 8, 4],
      [8, 2, 8],
      [12, 4, 2],
      [6, 3, 6],
      [4, 1, 4],
    ]) {
      const shares = Array.from({ length: tp }, (_, rank) => headShare(heads, kvHeads, tp, rank));
      const queries = shares.flatMap((s) => Array.from({ length: s.heads }, (_, i) => s.firstHead + i));
      expect(queries).toEqual(Array.from({ length: heads }, (_, i) => i));
      for (const share of shares)
        for (let i = 0; i < share.heads; i++) {
          const whole = Math.floor(((share.firstHead + i) * kvHeads) / heads);
          expect(share.firstKvHead + Math.floor((i * share.kvHeads) / share.heads)).toBe(whole);
        }
      for (let kv = 0; kv < kvHeads; kv++)
        expect(shares.filter((s) => kv >= s.firstKvHead && kv < s.firstKvHead + s.kvHeads)).toHaveLength(
          shares[0].kvReplicas,
        );
    }
  });

  it('refuses degrees that do not divide', () => {
    expect(() => headShare(8, 3, 1, 0)).toThrow('multiple');
    expect(() => headShare(8, 2, 3, 0)).toThrow('does not divide');
    expect(() => headShare(12, 4, 6, 0)).toThrow('one must divide the other');
  });
});
