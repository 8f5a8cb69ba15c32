/**
 * How far predicted training steps are from steps that others timed, and what to make of a prediction that knows no
 * software stack.
 */
import { deviceCount } from '../cluster/ports.js';
import { getCluster } from '../cluster/presets.js';
import type { Cluster } from '../cluster/cluster.js';
import { costModel } from '../cost/index.js';
import { parseLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { inChunks, namedStrategies } from '../schedule/dispatchers/strategies.js';
import type { StepShape } from '../schedule/step-shape.js';
import { InputError } from '../units/errors.js';
import { tableRows } from './measured-table.js';
import { predictStep } from './predict-step.js';

export interface MeasuredStep {
  readonly label: string;
  readonly source: string;
  readonly cluster: Cluster;
  readonly step: StepShape;
  /** Whether ranks sent what the simulated dispatcher sends. */
  readonly sameBytes: boolean;
  readonly seconds: number;
}

/** Reads `fixtures/training-steps.csv`. Throws `InputError`. */
export function readMeasuredSteps(text: string, fileName: string): MeasuredStep[] {
  return tableRows(text, fileName).map((row) => {
    const cluster = getCluster(row.text('cluster'));
    const sameBytes = row.text('same_bytes');
    if (sameBytes !== 'yes' && sameBytes !== 'no')
      throw new InputError(`"${sameBytes}" is neither yes nor no`, { file: fileName, path: 'same_bytes' });
    const capacity = row.text('capacity_factor') === '' ? {} : { capacityFactor: row.number('capacity_factor') };
    return {
      label: row.text('label'),
      source: row.text('source'),
      cluster,
      sameBytes: sameBytes === 'yes',
      seconds: row.number('seconds'),
      step: {
        model: getModel(row.text('model')),
        layout: parseLayout(row.text('layout'), deviceCount(cluster)),
        sequence: row.number('sequence'),
        sequences: row.number('sequences'),
        microBatches: row.number('micro_batches'),
        dtype: 'bf16',
        strategy: inChunks(namedStrategies.scattered, 1),
        ...capacity,
      },
    };
  });
}

export interface StepRatio {
  readonly measured: MeasuredStep;
  readonly predictedSeconds: number;
  /** Measured over predicted. */
  readonly ratio: number;
}

/** Predicts every step with even routing, dispatched in one chunk and without recomputation. */
export const stepRatios = (steps: readonly MeasuredStep[]): StepRatio[] =>
  steps.map((measured) => {
    const { cluster, step, seconds } = measured;
    const model = costModel(cluster.device);
    const prediction = predictStep({ cluster, step, model, routing: { kind: 'uniform' }, seed: 1 });
    if (!prediction.known) throw new RangeError(`no price: ${prediction.missing.join(', ')}`);
    return { measured, predictedSeconds: prediction.seconds, ratio: seconds / prediction.seconds };
  });

/**
 * Measured over predicted of the steps in `fixtures/training-steps.csv` whose ranks sent what the simulated dispatcher
 * sends (a test compares). A prediction is what links and kernels take; a stack adds host time, unfused kernels,
 * recomputation and synchronisation. The least is NeMo's on large experts, the most TorchTitan's own all_to_all on
 * small ones.
 */
export const publishedStepRatios = { least: 1.11, median: 1.34, most: 3.03 } as const;
