/**
 * Powers, roots and logarithms by operations whose rounding IEEE 754 fixes. `Math.pow`, `cbrt` and `log2` are each
 * engine's own in the last digit; what a plan says is the same in Node and in every browser.
 */

/** `base` to a whole power of at least 0, by squaring. */
export function wholePower(base: number, exponent: number): number {
  let [power, square] = [1, base];
  for (let left = exponent; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) power *= square;
    square *= square;
  }
  return power;
}

/** The cube root of `a`³ + `b`³, neither of them negative: two steps of Halley's from within 1.5 %. */
export function cubicSum(a: number, b: number): number {
  const most = Math.max(a, b);
  if (most === 0) return 0;
  const ratio = Math.min(a, b) / most;
  const cube = ratio * ratio * ratio;
  let root = 1 + 0.26 * cube;
  for (let step = 0; step < 2; step++) {
    const own = root * root * root;
    root *= (own + 2 * (1 + cube)) / (2 * own + (1 + cube));
  }
  return most * root;
}

/** Odd terms of the logarithm's series; the first that is left out is below the last digit. */
const logarithmTerms = 12;

/** Binary logarithm of at least 1; exact for powers of two. Throws `RangeError` below. */
export function binaryLogarithm(value: number): number {
  if (!(value >= 1 && value < Infinity)) throw new RangeError(`the binary logarithm of ${value}`);
  let [whole, rest] = [0, value];
  while (rest > Math.SQRT2) {
    rest /= 2;
    whole += 1;
  }
  // ln(x) = 2 artanh((x - 1) / (x + 1)), at most 0.172 here.
  const part = (rest - 1) / (rest + 1);
  let sum = 0;
  for (let term = logarithmTerms; term >= 0; term--) sum = sum * part * part + 1 / (2 * term + 1);
  return whole + (2 / Math.LN2) * part * sum;
}
