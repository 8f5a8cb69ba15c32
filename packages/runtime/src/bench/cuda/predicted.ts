/**
 * A training step on one card as it is predicted, after kernels were timed in steps of one layer, and as it is
 * measured: as a whole, a MoE layer of it, and kernel by kernel.
 */
import { costModel } from '@monta/core/cost';
import { predictStep } from '@monta/core/plan';
import { cardsCluster } from '../../launch/cards.js';
import { probeStepKernels } from '../../probe/index.js';
import { kernelSeconds, modelStep, runMonta, tokensOf } from './model.js';

export interface Compared {
  readonly predictedSeconds: number;
  readonly measuredSeconds: number;
}

export interface PredictedReport {
  readonly layers: number;
  readonly tokens: number;
  readonly probeSeconds: number;
  readonly step: Compared;
  /** Kernels of a MoE layer, forward and backward, one after another. */
  readonly layer: Compared;
  /** By template and task, of the whole step; the longest first. */
  readonly kernels: readonly (Compared & { readonly kernel: string })[];
}

/** Few enough that the whole step is simulated, so that every kernel of it has a predicted time. */
const layers = 6;
const steps = 30;

/** Probes, predicts, measures. Throws where the step cannot be priced. */
export async function measurePredicted(): Promise<PredictedReport> {
  const step = modelStep(layers);
  const begun = performance.now();
  const kernels = await probeStepKernels(step, { device: 'cuda' });
  const probeSeconds = (performance.now() - begun) / 1e3;
  const cluster = cardsCluster(1);
  const routing = { kind: 'uniform' } as const;
  const model = costModel(cluster.device, { kernels, inputs: {}, inputSource: 'measured on this card' });
  const predicted = predictStep({ cluster, step, routing, seed: 1, model });
  if (!predicted.known) throw new Error(`the step cannot be priced: ${predicted.missing.join('; ')}`);
  const { secondsPerStep, kernels: measured } = runMonta(step, tokensOf(steps), 0);
  const expected = kernelSeconds(predicted.trace.spans);
  const names = [...new Set([...Object.keys(expected), ...Object.keys(measured)])];
  const compared = names
    .map((kernel) => ({
      kernel,
      predictedSeconds: expected[kernel] ?? 0,
      measuredSeconds: measured[kernel] ?? 0,
    }))
    .sort((a, b) => b.measuredSeconds - a.measuredSeconds);
  const ofLayer = compared.filter(({ kernel }) => kernel.startsWith('moe.'));
  const of = (figure: keyof Compared): number => ofLayer.reduce((sum, one) => sum + one[figure], 0) / layers;
  return {
    layers,
    tokens: step.sequence * step.sequences,
    probeSeconds,
    step: { predictedSeconds: predicted.seconds, measuredSeconds: secondsPerStep },
    layer: { predictedSeconds: of('predictedSeconds'), measuredSeconds: of('measuredSeconds') },
    kernels: compared,
  };
}
