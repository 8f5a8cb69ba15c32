/**
 * The same program on the CPU and on the card: small models from one seed, one rank, fp32, the same tokens; their
 * curves must agree.
 */
import { Random, readHfConfig, type Layout, type MoeModel, type StepShape, maxOf } from '@monta/core';
import { LoneEndpoint } from '../../comm/lone-endpoint.js';
import { CpuDevice } from '../../device/cpu/index.js';
import { CudaContext } from '../../device/cuda/context.js';
import { CudaDevice } from '../../device/cuda/cuda-device.js';
import type { Device } from '../../device/device.js';
import { initialiseParameters } from '../../execute/initialise.js';
import { ParameterStore } from '../../execute/parameter-store.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { shiftLabels } from '../../transformer/index.js';

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

const sizes = {
  vocab_size: 1024,
  hidden_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  max_position_embeddings: 256,
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  initializer_range: 0.05,
  tie_word_embeddings: false,
};

/** Layers of experts alone: without a norm of queries and keys, with one over each head, with one over all heads. */
export const smallModels: readonly MoeModel[] = [
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['MixtralForCausalLM'],
      model_type: 'mixtral',
      intermediate_size: 256,
      num_local_experts: 8,
      num_experts_per_tok: 2,
      router_aux_loss_coef: 0.02,
    }),
    'a small Mixtral',
  ),
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['Qwen3MoeForCausalLM'],
      model_type: 'qwen3_moe',
      head_dim: 32,
      moe_intermediate_size: 64,
      intermediate_size: 256,
      num_experts: 16,
      num_experts_per_tok: 4,
      norm_topk_prob: true,
      router_aux_loss_coef: 0.01,
      decoder_sparse_step: 1,
      mlp_only_layers: [],
    }),
    'a small Qwen3-MoE',
  ),
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['OlmoeForCausalLM'],
      model_type: 'olmoe',
      intermediate_size: 64,
      num_experts: 16,
      num_experts_per_tok: 4,
      norm_topk_prob: false,
      router_aux_loss_coef: 0.01,
      attention_bias: false,
      clip_qkv: null,
    }),
    'a small OLMoE',
  ),
];

const layout: Layout = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, etp: 1, edp: 1, sequenceParallel: false };
const sequence = 128;
const sequences = 2;
const steps = 20;
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };

/** Trains from the seed; the same inputs whatever the device. */
export function trainSteps(model: MoeModel, device: Device, count = steps): Curve {
  const step: StepShape = {
    model,
    layout,
    sequence,
    sequences,
    microBatches: 1,
    dtype: 'f32',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 1 } },
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
