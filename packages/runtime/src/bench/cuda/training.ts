/**
 * The same program on the CPU and on the card: small models from one seed, one rank, fp32, the same tokens; their
 * curves must agree.
 */
import type { Layout, MoeModel, StepShape, Strategy } from '@monta/core';
import { maxOf, Random } from '@monta/core/units';
import { LoneEndpoint } from '../../comm/lone-endpoint.js';
import { CpuDevice } from '../../device/cpu/index.js';
import { CudaContext } from '../../device/cuda/context.js';
import { CudaDevice } from '../../device/cuda/cuda-device.js';
import type { Device } from '../../device/device.js';
import { initialiseParameters } from '../../execute/initialise.js';
import { ParameterStore } from '../../execute/parameter-store.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { shiftLabels } from '../../transformer/index.js';
import { smallModels, type StepChanges } from './small-models.js';

export interface TrainingComparison {
  readonly model: string;
  readonly steps: number;
  /** Loss and norm of the gradients of each step. */
  readonly cpu: Curve;
  readonly cuda: Curve;
  /** Largest differences: of losses in nats, of norms relative to the CPU's. */
  readonly lossDifference: number;
  readonly normDifference: number;
  /** Whether a second run on the card gave the same numbers. */
  readonly sameBits: boolean;
}

interface Curve {
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  /** Of the whole run, first step included. */
  readonly seconds: number;
}

const layout: Layout = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, etp: 1, edp: 1, sequenceParallel: false };
const sequence = 128;
const sequences = 2;
const steps = 20;
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };

/** How tokens travel unless said. */
const usual: Strategy = { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 1 } };

/** Trains from the seed; the same inputs whatever the device. */
export function trainSteps(model: MoeModel, device: Device, count = steps, changes: StepChanges = {}): Curve {
  const step: StepShape = {
    model,
    layout,
    sequence,
    sequences,
    microBatches: 1,
    dtype: 'f32',
    strategy: usual,
    ...changes,
  };
  const parameters = new ParameterStore(step, 0, device);
  initialiseParameters(parameters, 1);
  const executor = new TrainingExecutor({ step, endpoint: new LoneEndpoint(), device, parameters });
  const random = new Random(2);
  const [losses, norms]: [number[], number[]] = [[], []];
  const begun = performance.now();
  for (let number = 1; number <= count; number++) {
    // Few different tokens, so that there is something to learn.
    const ids = Int32Array.from({ length: sequence * sequences }, () => Math.floor(64 * random.uniform() ** 2));
    const targets = new Int32Array(ids.length);
    const counted = shiftLabels(ids, sequences, sequence, targets);
    const { loss, gradientNorm } = executor.trainStep([{ ids, targets }], { targets: counted, number, optimizer });
    losses.push(loss);
    norms.push(gradientNorm);
  }
  return { losses, norms, seconds: (performance.now() - begun) / 1000 };
}

function onCard(model: MoeModel): Curve {
  const device = new CudaDevice(new CudaContext());
  try {
    return trainSteps(model, device);
  } finally {
    device.close();
  }
}

export function compareTraining(): TrainingComparison[] {
  return smallModels.map((model) => {
    const cpuDevice = CpuDevice.create({ bytes: 2 ** 28 });
    const cpu = trainSteps(model, cpuDevice);
    cpuDevice.close();
    const cuda = onCard(model);
    const again = onCard(model);
    const apart = (a: readonly number[], b: readonly number[], scale: (value: number) => number): number =>
      maxOf(a.map((value, place) => Math.abs(value - b[place]) / scale(value)));
    return {
      model: model.name,
      steps,
      cpu,
      cuda,
      lossDifference: apart(cpu.losses, cuda.losses, () => 1),
      normDifference: apart(cpu.norms, cuda.norms, (norm) => norm),
      sameBits: cuda.losses.every((loss, place) => loss === again.losses[place]),
    };
  });
}
