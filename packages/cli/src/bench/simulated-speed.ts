/** What choosing a dispatch and simulating a step take for DeepSeek-V3, one rank standing for all of its kind. */
import { formatInteger, formatSeconds } from '@monta/core/units';
import { deviceCount, getCluster } from '@monta/core/cluster';
import { getModel } from '@monta/core/model';
import { resolveLayout } from '@monta/core/layout';
import { moeShape } from '@monta/core/schedule';
import { costModel } from '@monta/core/cost';
import { chooseDispatch, simulateRun } from '@monta/core/plan';

const model = getModel('deepseek-v3');
const sequence = 4096;
const uniform = { kind: 'uniform' } as const;

const stepOf = (degrees: Parameters<typeof resolveLayout>[0], microBatches: number) => ({
  model,
  layout: resolveLayout(degrees),
  sequence,
  sequences: 1,
  microBatches,
  dtype: 'bf16' as const,
  strategy: { dispatch: 'deduplicated', combine: 'deduplicated', chunks: { forward: 1, backward: 1 } } as const,
});

function choice(name: string): string {
  const cluster = getCluster(name);
  const step = stepOf({ dp: deviceCount(cluster), ep: 64 }, 1);
  const shape = moeShape(step);
  const priced = {
    cluster,
    shape,
    routing: uniform,
    seed: 1,
    model: costModel(cluster.device),
    scope: 'layer' as const,
  };
  const found = chooseDispatch(priced);
  return found.known ? found.best.name : found.missing.join();
}

/** 61 layers on 16 stages, 120 micro-batches: in one, or pass by pass. */
function wholeStep(name: string, depth: 'whole' | 'passes'): string {
  const cluster = getCluster(name);
  const step = {
    ...stepOf({ pp: 16, dp: deviceCount(cluster) / 16, ep: 64 }, 120),
    layersOfStages: [...Array.from({ length: 15 }, () => 4), 1],
  };
  const run = simulateRun({ cluster, step, routing: uniform, seed: 1, model: costModel(cluster.device), depth });
  return run.known ? `${formatSeconds(run.seconds)}, ${run.depth}` : run.missing.join();
}

/** Rows of what is done, the processor's seconds, and what came out; the second of each kind runs warm. */
export function simulatedRows(processorSeconds: (action: () => void) => number): string[][] {
  const row = (what: string, run: () => string): string[] => {
    let result = '';
    const seconds = processorSeconds(() => {
      result = run();
    });
    return [what, formatSeconds(seconds), result];
  };
  return [
    ...[64, 1024, 64, 1024].map((gpus) =>
      row(`choose a dispatch, EP 64 on ${formatInteger(gpus)} GPUs`, () => choice(`h100-${gpus / 8}x8`)),
    ),
    ...(['whole', 'passes'] as const).map((depth) =>
      row('a step, PP 16, 120 micro-batches, 2,048 GPUs', () => wholeStep('h100-256x8', depth)),
    ),
  ];
}
