/** What a predicted step is worth, in words: it knows links and kernels, no software stack. */
import type { Cluster } from '@monta/core';
import { formatInteger, formatSeconds } from '@monta/core/units';
import { deviceCount } from '@monta/core/cluster';
import { publishedStepRatios } from '@monta/core/plan';

export interface StepFigures {
  readonly seconds: number;
  readonly tokensPerSecond: number;
}

/** Tokens a second of one GPU, to three figures: the model is no better. */
const perGpu = ({ tokensPerSecond }: StepFigures, cluster: Cluster, ratio: number): string =>
  formatInteger(Number((tokensPerSecond / deviceCount(cluster) / ratio).toPrecision(3)));

/**
 * Published steps beside their predictions, as a range of this one; nothing for CPU ranks, whose steps Monta runs
 * itself.
 */
export function stackText(step: StepFigures, cluster: Cluster): string | undefined {
  if (cluster.device.multiprocessors === undefined) return undefined;
  const { least, median, most } = publishedStepRatios;
  const times = [least, median, most].map((ratio) => ratio.toFixed(ratio < 2 ? 2 : 1));
  return (
    `links and kernels alone; published steps took ${times[0]} to ${times[2]} times what is predicted of ` +
    `them, median ${times[1]}: ${formatSeconds(step.seconds * least)} to ${formatSeconds(step.seconds * most)}, ` +
    `${perGpu(step, cluster, most)} to ${perGpu(step, cluster, least)} tokens/s a GPU by the software stack`
  );
}
