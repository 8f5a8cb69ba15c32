/**
 * Compares a computation in a 16-bit type with what fp32 gives: norms of differences and angles between gradients, not
 * element by element.
 */
import type { Expected } from './expected.js';
import type { QuantityError } from './quantity.js';
import type { RankComputation } from './verify-rank.js';

/**
 * How far bf16 may be off with the routing of fp32: logits by norm, relative; the loss in nats; gradients by 1 - the
 * cosine of the angle between all of them together.
 */
export const roundedTolerances = { logits: 2e-2, loss: 2e-2, gradients: 1e-3 } as const;

/**
 * How far rows that travel in fp8 may be off with the routing of f32, the same quantities. An element loses up to a
 * sixteenth of itself, of what goes into the experts alone; the fixtures are off by at most half of these.
 */
export const fp8Tolerances: RoundedTolerances = { logits: 3e-2, loss: 3e-3, gradients: 1e-3 };

export type RoundedTolerances = Readonly<Record<keyof typeof roundedTolerances, number>>;

/** Sums over pairs of elements. */
class Products {
  squaresA = 0;
  squaresB = 0;
  both = 0;
  difference = 0;

  add(a: number, b: number): void {
    this.squaresA += a * a;
    this.squaresB += b * b;
    this.both += a * b;
    this.difference += (a - b) ** 2;
  }

  take(other: Products): void {
    this.squaresA += other.squaresA;
    this.squaresB += other.squaresB;
    this.both += other.both;
    this.difference += other.difference;
  }

  /** 1 - cosine. */
  get angle(): number {
    return 1 - this.both / Math.sqrt(this.squaresA * this.squaresB);
  }
}

/** One line of the comparison; NaN never passes. */
function line(
  quantity: keyof RoundedTolerances,
  error: number,
  where: string,
  limits: RoundedTolerances,
): QuantityError {
  const tolerance = limits[quantity];
  const size = Number.isNaN(error) ? Infinity : error;
  return { quantity, error: size, tolerance, passed: size <= tolerance, where };
}

function logitsLine(
  expected: Expected,
  computed: readonly RankComputation[],
  limits: RoundedTolerances,
): QuantityError {
  const { batch, sequence, model } = expected;
  const sums = new Products();
  for (const { logits } of computed)
    logits.values.forEach((value, i) => {
      const row = (logits.row + Math.floor(i / logits.columns)) % (batch * sequence);
      sums.add(value, expected.logits[row * model.vocabSize + logits.column + (i % logits.columns)]);
    });
  return line('logits', Math.sqrt(sums.difference / sums.squaresB), 'all logits', limits);
}

function gradientsLine(
  gradients: ReadonlyMap<string, Float32Array>,
  computed: RankComputation,
  limits: RoundedTolerances,
): QuantityError {
  const all = new Products();
  let worst = { name: '', angle: -1 };
  for (const [name, wanted] of gradients) {
    const got = computed.gradients.get(name);
    const sums = new Products();
    wanted.forEach((value, i) => sums.add(got?.[i] ?? NaN, value));
    if (!(sums.angle <= worst.angle) && sums.squaresB > 0) worst = { name, angle: sums.angle };
    all.take(sums);
  }
  const where = `most in ${worst.name}, by itself ${worst.angle.toExponential(1)}`;
  return line('gradients', all.angle, where, limits);
}

/** Logits, loss and gradients beside what fp32 gives. */
export function compareRounded(
  expected: Expected,
  computed: readonly RankComputation[],
  limits: RoundedTolerances,
): QuantityError[] {
  const losses = computed.map(({ loss }) => Math.abs(loss - expected.loss));
  return [
    logitsLine(expected, computed, limits),
    line(
      'loss',
      losses.reduce((a, b) => (b <= a ? a : b), 0),
      'mean over the batch',
      limits,
    ),
    ...(expected.gradients === undefined
      ? []
      : computed.slice(0, 1).map((one) => gradientsLine(expected.gradients ?? new Map(), one, limits))),
  ];
}
