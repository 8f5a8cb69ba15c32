/** Layouts and strategies that tests go through. */
import type { Layout } from '#core/layout/layout.js';
import { allHalves, unsupportedStrategy, type Strategy } from '#core/schedule/dispatchers/strategies.js';

export const layoutOf = (part: Partial<Layout> = {}): Layout => {
  const tp = part.tp ?? 4;
  const dp = part.dp ?? 2;
  const etp = part.etp ?? tp;
  const ep = part.ep ?? 2;
  return {
    tp,
    cp: 1,
    dp,
    pp: 1,
    etp,
    ep,
    edp: (tp * dp) / (etp * ep),
    sequenceParallel: part.sequenceParallel ?? false,
  };
};

const layouts: readonly Layout[] = [
  layoutOf(),
  layoutOf({ sequenceParallel: true }),
  layoutOf({ etp: 1, ep: 8 }),
  layoutOf({ etp: 2, ep: 4, sequenceParallel: true }),
  layoutOf({ tp: 1, dp: 4, ep: 2 }),
  layoutOf({ tp: 4, dp: 2, ep: 1 }),
];

/** Every layout with every pair of halves that serves it, and every pair of chunk counts. */
export function allStrategies(
  forward: readonly number[],
  backward: readonly number[],
): { layout: Layout; strategy: Strategy }[] {
  return layouts.flatMap((layout) =>
    allHalves()
      .filter((halves) => unsupportedStrategy(halves, { layout }) === undefined)
      .flatMap((halves) =>
        forward.flatMap((f) =>
          backward.map((b) => ({ layout, strategy: { ...halves, chunks: { forward: f, backward: b } } })),
        ),
      ),
  );
}
