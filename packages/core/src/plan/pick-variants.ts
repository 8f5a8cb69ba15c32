/** Of measured dispatches: the planner's choice, and what it is compared to. */
import { fixedStrategies, type Strategy } from '../schedule/dispatchers/strategies.js';
import { halvesName } from '../schedule/dispatchers/strategy-names.js';
import { InputError } from '../units/index.js';
import { chooseDispatch } from './choose.js';
import type { DispatchVariant } from './dispatch-variants.js';
import type { LayerPass, Workload } from './workload.js';

/** A pass of a variant that was measured; `name` is that of its halves. */
export interface MeasuredCase {
  readonly name: string;
  readonly pass: LayerPass;
  readonly chunks: number;
  readonly medianSeconds: number;
}

/** A variant that is pointed out: its case forward, and its case backward. */
export interface PickedVariant<Case extends MeasuredCase = MeasuredCase> {
  readonly name: string;
  readonly forward: Case;
  readonly backward: Case;
}

export interface PickedVariants<Case extends MeasuredCase = MeasuredCase> {
  /** The planner's, from predictions alone. */
  readonly choice: PickedVariant<Case>;
  readonly duplicated?: PickedVariant<Case>;
  /** The fastest measured of the fixed strategies. */
  readonly bestFixed?: PickedVariant<Case>;
}

const total = ({ forward, backward }: PickedVariant): number => forward.medianSeconds + backward.medianSeconds;

/**
 * The planner's choice among the variants, and what it is compared to. Throws `InputError` where the planner has no
 * answer among what was measured.
 */
export function pickVariants<Case extends MeasuredCase>(
  cases: readonly Case[],
  workload: Workload,
  variants: readonly DispatchVariant[],
  chunkCounts: readonly number[],
): PickedVariants<Case> {
  const find = (name: string, pass: LayerPass, chunks: number): Case | undefined =>
    cases.find((one) => one.name === name && one.pass === pass && one.chunks === chunks);
  const pick = (name: string, chunks: Strategy['chunks']): PickedVariant<Case> | undefined => {
    const forward = find(name, 'forward', chunks.forward);
    const backward = find(name, 'backward', chunks.backward);
    return forward && backward ? { name, forward, backward } : undefined;
  };
  const halves = [...new Map(variants.map(({ name, strategy }) => [name, strategy])).values()];
  const planned = chooseDispatch(workload, { chunkCounts, halves });
  const best = planned.known
    ? planned.candidates.find(({ strategy }) => pick(halvesName(strategy), strategy.chunks))
    : undefined;
  const choice = best && pick(halvesName(best.strategy), best.strategy.chunks);
  if (!choice) throw new InputError('the planner could not choose among the measured cases');
  const fixed = fixedStrategies.flatMap((strategy) => pick(halvesName(strategy), strategy.chunks) ?? []);
  const [bestFixed] = fixed.sort((a, b) => total(a) - total(b));
  const duplicated = pick('duplicated', { forward: 1, backward: 1 });
  return { choice, ...(duplicated ? { duplicated } : {}), ...(bestFixed ? { bestFixed } : {}) };
}
