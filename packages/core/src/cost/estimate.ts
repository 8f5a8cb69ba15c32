/**
 * What a number rests on. Every price says it, and a price that cannot be given is a value of its own, so that it
 * reaches the person instead of being invented.
 */

/**
 * From strongest to weakest.
 *   measured: this very point was measured
 *   interpolated: between measured points
 *   fitted: from coefficients fitted to measurements
 *   scaled: a measured efficiency carried to another shape or device
 *   datasheet: a datasheet figure times an efficiency that is an input, or the alpha and beta of the cluster file
 */
export type Basis = 'measured' | 'interpolated' | 'fitted' | 'scaled' | 'datasheet';

const order: readonly Basis[] = ['measured', 'interpolated', 'fitted', 'scaled', 'datasheet'];

export interface KnownEstimate {
  readonly known: true;
  readonly seconds: number;
  readonly basis: Basis;
  /** What exactly it rests on, for people. */
  readonly detail: string;
  /** Relative error to expect, a share, where what it rests on tells. */
  readonly expectedError?: number;
}

export interface UnknownEstimate {
  readonly known: false;
  /** What would have to be measured or written down, one entry each. */
  readonly missing: readonly string[];
}

export type Estimate = KnownEstimate | UnknownEstimate;

export function knownEstimate(seconds: number, basis: Basis, detail: string): KnownEstimate {
  return { known: true, seconds, basis, detail };
}

export function unknownEstimate(...missing: readonly string[]): UnknownEstimate {
  return { known: false, missing };
}

/** The weakest of several bases: what a number made of all of them rests on. Without any, `measured`. */
export function weakestBasis(bases: Iterable<Basis>): Basis {
  let weakest = 0;
  for (const basis of bases) weakest = Math.max(weakest, order.indexOf(basis));
  return order[weakest] ?? 'datasheet';
}

/**
 * How far an estimate may be off, by what it rests on, where nothing tells it better: assumptions that `monta bench` on
 * the machine, or a calibration's own error, replace.
 */
export const assumedError: Readonly<Record<Basis, number>> = {
  measured: 0.05,
  interpolated: 0.08,
  fitted: 0.1,
  scaled: 0.15,
  datasheet: 0.2,
};

/** The error that an estimate tells, or else what is assumed of its basis. */
export const errorOf = ({ basis, expectedError }: Pick<KnownEstimate, 'basis' | 'expectedError'>): number =>
  expectedError ?? assumedError[basis];
