import { describe, expect, it } from 'vitest';
import { Elementwise } from '../device/cpu/elementwise.js';
import { CpuMemory } from '../device/cpu/memory.js';
import { referenceGemm } from '../device/cpu/gemm-reference.js';
import { Tape, linear, matrix, swiglu } from '../../testing/transformer/reference-tape.js';
import { finiteDifferences, randomArray, relativeError, seededRandom, weightedSum } from '../../testing/numbers.js';
import {
  chunkSegments,
  expertActivation,
  expertActivationGrad,
  expertDown,
  expertDownInputGrad,
  expertGateUp,
  expertGateUpInputGrad,
  expertWeightGrad,
} from './experts.js';
import type { Segments } from './experts.js';
import { appendAll } from '@monta/core';

const [hidden, localExperts, sources] = [5, 3, 2];
const counts = Int32Array.of(4, 1, 0, 0, 2, 7);
const total = 14;
const everything = chunkSegments({ counts, localExperts, sources, chunk: 0, of: 1 });

function setUp(ffn: number, seed: number) {
  const random = seededRandom(seed);
  const empty = (width: number): Float32Array => new Float32Array(total * width).fill(NaN);
  return {
    shape: { hidden, ffn },
    x: randomArray(total * hidden, random),
    gateUp: randomArray(localExperts * 2 * ffn * hidden, random),
    down: randomArray(localExperts * hidden * ffn, random),
    dy: randomArray(total * hidden, random),
    gateUpRows: empty(2 * ffn),
    activated: empty(ffn),
    y: empty(hidden),
    dactivated: empty(ffn),
    dgateUpRows: empty(2 * ffn),
    dx: empty(hidden),
    dgateUp: new Float32Array(localExperts * 2 * ffn * hidden),
    ddown: new Float32Array(localExperts * hidden * ffn),
  };
}
type State = ReturnType<typeof setUp>;

function forward(s: State, segments: Segments): void {
  expertGateUp({
    gemm: referenceGemm,
    expertShape: s.shape,
    segments,
    x: s.x,
    gateUp: s.gateUp,
    gateUpRows: s.gateUpRows,
  });
  expertActivation(s.shape, segments, s.gateUpRows, s.activated);
  expertDown({ gemm: referenceGemm, expertShape: s.shape, segments, activated: s.activated, down: s.down, y: s.y });
}

function inputGrad(s: State, segments: Segments): void {
  expertDownInputGrad({
    gemm: referenceGemm,
    expertShape: s.shape,
    segments,
    dy: s.dy,
    down: s.down,
    dactivated: s.dactivated,
  });
  expertActivationGrad({
    expertShape: s.shape,
    segments,
    gateUpRows: s.gateUpRows,
    dactivated: s.dactivated,
    dgateUpRows: s.dgateUpRows,
  });
  expertGateUpInputGrad({
    gemm: referenceGemm,
    expertShape: s.shape,
    segments,
    dgateUpRows: s.dgateUpRows,
    gateUp: s.gateUp,
    dx: s.dx,
  });
}

function weightGrad(s: State, segments: Segments): void {
  expertWeightGrad({ ...s, gemm: referenceGemm, expertShape: s.shape, segments });
}

const at = (values: Float32Array, first: number, n: number, width: number) =>
  matrix(n, width, Float64Array.from(values.subarray(first * width, (first + n) * width)));

function twin(s: State) {
  const { ffn } = s.shape;
  const y = new Float64Array(total * hidden);
  const dx = new Float64Array(total * hidden);
  const dgateUp: number[] = [];
  const ddown: number[] = [];
  let row = 0;
  for (let e = 0; e < localExperts; e++) {
    const rows = counts[e * sources] + counts[e * sources + 1];
    const tape = new Tape();
    const x = at(s.x, row, rows, hidden);
    const [gate, up] = [at(s.gateUp, e * 2 * ffn, ffn, hidden), at(s.gateUp, e * 2 * ffn + ffn, ffn, hidden)];
    const down = at(s.down, e * hidden, hidden, ffn);
    const out = linear(tape, swiglu(tape, linear(tape, x, gate), linear(tape, x, up)), down);
    out.gradient.set(s.dy.subarray(row * hidden, (row + rows) * hidden));
    tape.run();
    y.set(out.value, row * hidden);
    dx.set(x.gradient, row * hidden);
    appendAll(dgateUp, gate.gradient);
    appendAll(dgateUp, up.gradient);
    appendAll(ddown, down.gradient);
    row += rows;
  }
  return { y, dx, dgateUp, ddown };
}

describe('experts', () => {
  it('names every row of every expert once, neighbours merged', () => {
    expect([...everything]).toEqual([0, 0, 5, 2, 5, 9]);
    for (const of of [1, 2, 3, 5, 9]) {
      const seen: number[] = [];
      for (let chunk = 0; chunk < of; chunk++) {
        const segments = chunkSegments({ counts, localExperts, sources, chunk, of });
        for (let i = 0; i < segments.length; i += 3)
          for (let r = 0; r < segments[i + 2]; r++) seen.push(segments[i + 1] + r);
      }
      expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i));
    }
  });

  it.each([
    [1, 1],
    [2, 3],
    [3, 2],
    [8, 1],
  ])(
    'agrees with the plain loops, %i chunks forward and %i backward, in any order',
    (forwardChunks, backwardChunks) => {
      const s = setUp(4, 1);
      const expected = twin(s);
      for (let chunk = forwardChunks - 1; chunk >= 0; chunk--)
        forward(s, chunkSegments({ counts, localExperts, sources, chunk, of: forwardChunks }));
      for (let chunk = 0; chunk < backwardChunks; chunk++)
        inputGrad(s, chunkSegments({ counts, localExperts, sources, chunk, of: backwardChunks }));
      weightGrad(s, everything);
      expect(relativeError(s.y, expected.y)).toBeLessThan(2e-6);
      expect(relativeError(s.dx, expected.dx)).toBeLessThan(2e-6);
      expect(relativeError(s.dgateUp, expected.dgateUp)).toBeLessThan(2e-6);
      expect(relativeError(s.ddown, expected.ddown)).toBeLessThan(2e-6);
    },
  );

  it('leaves rows outside its segments alone', () => {
    const s = setUp(4, 2);
    forward(s, chunkSegments({ counts, localExperts, sources, chunk: 0, of: 2 }));
    const written = [...Array(total).keys()].filter((row) => !Number.isNaN(s.y[row * hidden]));
    expect(written).toEqual([0, 1, 5, 7, 8, 9]);
  });

  it('sharded over etp gives partial sums, and the shard of each weight gradient', () => {
    const whole = setUp(6, 3);
    const expected = twin(whole);
    const y = new Float64Array(total * hidden);
    const dx = new Float64Array(total * hidden);
    for (let part = 0; part < 3; part++) {
      const s = { ...setUp(2, 3), x: whole.x, dy: whole.dy };
      const rowsOf = (values: ArrayLike<number>, e: number, half: number): number[] =>
        Array.from(values).slice((e * 12 + half * 6 + part * 2) * hidden, (e * 12 + half * 6 + part * 2 + 2) * hidden);
      const shardGateUp = (values: ArrayLike<number>): number[] =>
        [0, 1, 2].flatMap((e) => [...rowsOf(values, e, 0), ...rowsOf(values, e, 1)]);
      const shardDown = (values: ArrayLike<number>): number[] =>
        Array.from(values).filter((_, i) => Math.floor((i % 6) / 2) === part);
      s.gateUp = Float32Array.from(shardGateUp(whole.gateUp));
      s.down = Float32Array.from(shardDown(whole.down));
      forward(s, everything);
      inputGrad(s, everything);
      weightGrad(s, everything);
      s.y.forEach((value, i) => {
        y[i] += value;
      });
      s.dx.forEach((value, i) => {
        dx[i] += value;
      });
      expect(relativeError(s.dgateUp, shardGateUp(expected.dgateUp))).toBeLessThan(2e-6);
      expect(relativeError(s.ddown, shardDown(expected.ddown))).toBeLessThan(2e-6);
    }
    expect(relativeError(y, expected.y)).toBeLessThan(2e-6);
    expect(relativeError(dx, expected.dx)).toBeLessThan(2e-6);
  });

  it('agrees with finite differences', () => {
    const s = setUp(3, 4);
    const loss = (): number => {
      forward(s, everything);
      return weightedSum(s.y, s.dy);
    };
    const expected = [s.x, s.gateUp, s.down].map((values) => finiteDifferences(values, loss));
    forward(s, everything);
    inputGrad(s, everything);
    weightGrad(s, everything);
    expect(relativeError(s.dx, expected[0])).toBeLessThan(1e-3);
    expect(relativeError(s.dgateUp, expected[1])).toBeLessThan(1e-3);
    expect(relativeError(s.ddown, expected[2])).toBeLessThan(1e-3);
  });

  it('computes the activation as the vector kernels of the device do', () => {
    const device = new Elementwise(CpuMemory.create({ bytes: 1 << 16 }));
    const s = setUp(7, 5);
    const { ffn } = s.shape;
    expertGateUp({
      gemm: referenceGemm,
      expertShape: s.shape,
      segments: everything,
      x: s.x,
      gateUp: s.gateUp,
      gateUpRows: s.gateUpRows,
    });
    const given = s.gateUpRows.slice();
    expertActivation(s.shape, everything, s.gateUpRows, s.activated);
    s.dactivated.set(s.activated.map((value) => value - 0.3));
    expertActivationGrad({
      expertShape: s.shape,
      segments: everything,
      gateUpRows: s.gateUpRows,
      dactivated: s.dactivated,
      dgateUpRows: s.gateUpRows,
    });
    const activated = new Float32Array(s.activated.length);
    const gradients = new Float32Array(given.length);
    for (let row = 0; row < activated.length / ffn; row++) {
      const [gate, up, dgate, dup] = [given, given, gradients, gradients].map((values, i) =>
        values.subarray((2 * row + (i % 2)) * ffn, (2 * row + (i % 2) + 1) * ffn),
      );
      const part = (values: Float32Array): Float32Array => values.subarray(row * ffn, (row + 1) * ffn);
      device.siluMul(gate, up, part(activated));
      device.siluMulBackward({ gate, up, gradOut: part(s.dactivated), gradGate: dgate, gradUp: dup });
    }
    expect(relativeError(s.activated, activated)).toBeLessThan(2e-6);
    expect(relativeError(s.gateUpRows, gradients)).toBeLessThan(2e-6);
  });
});
