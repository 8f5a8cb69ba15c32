/** What a rule about Megatron's flags is. */
import type { Severity } from '../finding.js';
import type { MegatronRun } from './run.js';

export interface Broken {
  readonly message: string;
  readonly consequence: string;
  readonly mend: string;
}

export interface Rule {
  readonly id: string;
  readonly severity: Severity;
  /** Fields that take part; the finding points at the first of them that was given. */
  readonly fields: readonly string[];
  /** What is broken; undefined: kept, or what it needs is not known. */
  readonly check: (run: MegatronRun) => Broken | undefined;
}

/** An error stops the run. */
export const broken = (message: string, mend: string, consequence = 'Megatron stops at start'): Broken => ({
  message,
  consequence,
  mend,
});

/** Calls `check` with numbers that are all known. */
export function whenKnown(
  values: readonly (number | undefined)[],
  check: (...known: number[]) => Broken | undefined,
): Broken | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length < values.length ? undefined : check(...known);
}

/** Divisors of `of` that are at most `most`, for saying what would be legal. */
export const divisors = (of: number, most = of): number[] =>
  Array.from({ length: Math.min(of, most) }, (_, index) => index + 1).filter((value) => of % value === 0);

/** The token dispatcher. */
export const dispatcherType = (run: MegatronRun): string | undefined => run.text('moe_token_dispatcher_type');
/** Whether flex runs one of these libraries. */
export const flexWith = (run: MegatronRun, ...backends: readonly string[]): boolean =>
  dispatcherType(run) === 'flex' && backends.includes(run.text('moe_flex_dispatcher_backend') ?? '');
