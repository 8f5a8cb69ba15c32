/** Seeded data for the example plots: invented, made only to show how the plots look. */
import { Random } from '@monta/core';

/** A loss that falls from `start` towards `end` with noise, one value per step. */
export function fallingLoss(
  steps: number,
  start: number,
  end: number,
  noise: number,
  seed: number,
): [number, number][] {
  const random = new Random(seed);
  return Array.from({ length: steps }, (_, step) => {
    const settled = end + (start - end) * Math.exp(-step / (steps / 6));
    return [step + 1, settled + noise * random.normal()];
  });
}

/** Shares of `experts` experts (1 is balanced) that start skewed and even out over `columns` columns. */
export function settlingLoads(experts: number, columns: number, seed: number): number[][] {
  const random = new Random(seed);
  const bias = Array.from({ length: experts }, () => random.normal());
  const loads = Array.from({ length: experts }, () => [] as number[]);
  for (let column = 0; column < columns; column++) {
    const skew = 0.9 * Math.exp(-column / (columns / 4)) + 0.08;
    const weights = bias.map((value) => Math.exp(skew * value + 0.05 * random.normal()));
    const total = weights.reduce((a, b) => a + b, 0);
    for (const [expert, weight] of weights.entries()) loads[expert]?.push((weight / total) * experts);
  }
  return loads;
}
