/** What a verification compares, and how far it may be off. */

/**
 * How far results may be off: absolute, but gradients (of the largest of the tensor, or see `absoluteGradient`) and
 * gradient norms relative.
 */
export const tolerances = {
  logits: 1e-4,
  'router logits': 1e-4,
  loss: 1e-4,
  'auxiliary loss': 1e-4,
  gradients: 1e-4,
  'gradient norm': 1e-4,
  trajectory: 2e-3,
} as const;

export type Quantity = keyof typeof tolerances;

export interface QuantityError {
  /** What was compared. */
  readonly quantity: Quantity;
  /** The largest, absolute for some and relative for others, as docs/verify.md says. */
  readonly error: number;
  /** What `error` may be. */
  readonly tolerance: number;
  /** Whether the error is within the tolerance. */
  readonly passed: boolean;
  /** Where the largest error is. */
  readonly where: string;
}
