/**
 * A model of more than a billion parameters trained in bf16 on one card, and the same model in transformers on the same
 * tokens.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Span, StepShape } from '@monta/core';
import { Random } from '@monta/core/units';
import { readHfConfig, trainingFlopsPerToken } from '@monta/core/model';
import { inChunks, namedStrategies, parameters } from '@monta/core/schedule';
import { LoneEndpoint } from '../../comm/lone-endpoint.js';
import { CudaContext } from '../../device/cuda/context.js';
import { CudaDevice } from '../../device/cuda/cuda-device.js';
import { initialiseFromPool } from '../../execute/initialise.js';
import { ParameterStore } from '../../execute/parameter-store.js';
import { sharedSeconds } from '../../probe/card-time.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { shiftLabels } from '../../transformer/index.js';

export interface ModelRun {
  readonly losses: readonly number[];
  /** Median of the steps after the first ten. */
  readonly secondsPerStep: number;
  readonly tokensPerSecond: number;
  /** Forward and backward FLOPs, over the time, TFLOP/s. */
  readonly teraflops: number;
  readonly peakBytes: number;
}

export interface ModelMeasurement {
  readonly parameters: number;
  readonly tokensPerStep: number;
  readonly flopsPerToken: number;
  readonly monta: ModelRun & {
    /** What the program's regions took at most, beside parameters. */
    readonly regionBytes: number;
    readonly parameterBytes: number;
    /** Seconds by kernel of one traced step. */
    readonly kernels: Readonly<Record<string, number>>;
  };
  readonly peers: Readonly<Record<string, ModelRun | { readonly error: string }>>;
}

const config = {
  architectures: ['MixtralForCausalLM'],
  model_type: 'mixtral',
  vocab_size: 32_000,
  hidden_size: 2048,
  intermediate_size: 2816,
  num_hidden_layers: 8,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  head_dim: 128,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  router_aux_loss_coef: 0.02,
  max_position_embeddings: 4096,
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  initializer_range: 0.02,
  tie_word_embeddings: false,
};
const [sequence, sequences, montaSteps, peerSteps] = [2048, 8, 200, 40];
const optimizer = { learningRate: 3e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };
const layout = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, etp: 1, edp: 1, sequenceParallel: false };
/** Steps that warm caches and clocks up. */
const warmUps = 10;

/**
 * Tokens of all steps: each follows from the one before by a fixed rule, but for one in four, so that there is
 * something to learn.
 */
export function tokensOf(steps: number): Int32Array {
  const random = new Random(7);
  const count = steps * sequence * sequences;
  const ids = new Int32Array(count);
  const vocabulary = 4096;
  for (let i = 0, last = 0; i < count; i++)
    ids[i] = last =
      random.uniform() < 0.25 ? Math.floor(vocabulary * random.uniform() ** 3) : (last * 31 + 17) % vocabulary;
  return ids;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function summary(losses: readonly number[], seconds: readonly number[], flops: number, peakBytes: number): ModelRun {
  const secondsPerStep = median(seconds.slice(warmUps));
  const tokens = sequence * sequences;
  const [tokensPerSecond, teraflops] = [tokens / secondsPerStep, (flops * tokens) / secondsPerStep / 1e12];
  return { losses, secondsPerStep, tokensPerSecond, teraflops, peakBytes };
}

/** By template and task: seconds of the card that kernels took, each moment counted once. Collectives are left out. */
export function kernelSeconds(spans: readonly Span[]): Record<string, number> {
  const kernels = spans.filter(({ collective }) => collective === undefined);
  const sums: Record<string, number> = {};
  for (const [place, seconds] of sharedSeconds(kernels).entries()) {
    const { template, task } = kernels[place];
    const name = `${template} ${task}`;
    sums[name] = (sums[name] ?? 0) + seconds;
  }
  return sums;
}

/** Trains on the tokens, a step's worth after another; the last step is traced. `flops`: of a token, for the rate. */
export function runMonta(step: StepShape, ids: Int32Array, flops: number): ModelMeasurement['monta'] {
  const context = new CudaContext();
  const device = new CudaDevice(context, { trace: true });
  const store = new ParameterStore(step, 0, device);
  initialiseFromPool(store, 1);
  const parameterBytes = device.allocatedBytes;
  const executor = new TrainingExecutor({ step, endpoint: new LoneEndpoint(), device, parameters: store, trace: true });
  const tokens = sequence * sequences;
  const steps = ids.length / tokens;
  const [losses, seconds]: [number[], number[]] = [[], []];
  let kernels: Record<string, number> = {};
  for (let number = 1; number <= steps; number++) {
    const own = ids.subarray((number - 1) * tokens, number * tokens);
    const targets = new Int32Array(tokens);
    const counted = shiftLabels(own, sequences, sequence, targets);
    const start = performance.now();
    const { crossEntropy } = executor.trainStep([{ ids: own, targets }], { targets: counted, number, optimizer });
    seconds.push((performance.now() - start) / 1000);
    losses.push(crossEntropy);
    const spans = executor.takeSpans();
    if (number === steps) kernels = kernelSeconds(spans);
  }
  const peakBytes = device.peakBytes;
  const regionBytes = executor.peakBytes;
  device.close();
  return { ...summary(losses, seconds, flops, peakBytes), regionBytes, parameterBytes, kernels };
}

/** The same distance from `src/bench/cuda` and from `dist/bench/cuda`. */
const script = fileURLToPath(new URL('../../../peers/model.py', import.meta.url));

function runPeer(folder: string, compiled: boolean, flops: number): ModelRun | { readonly error: string } {
  const request = {
    config,
    sequence,
    sequences,
    steps: peerSteps,
    optimizer,
    compiled,
    tokens: join(folder, 'tokens'),
  };
  try {
    const text = execFileSync('python3', [script, JSON.stringify(request)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 150_000,
    });
    const answer = JSON.parse(text.trim().split('\n').at(-1) ?? '') as {
      losses: number[];
      seconds: number[];
      peakBytes: number;
    };
    return summary(answer.losses, answer.seconds, flops, answer.peakBytes);
  } catch (error) {
    return { error: error instanceof Error ? error.message.slice(-2000) : String(error) };
  }
}

/** A step of the model, or of some of its layers. */
export function modelStep(layers = config.num_hidden_layers): StepShape {
  const text = JSON.stringify({ ...config, num_hidden_layers: layers });
  return {
    model: readHfConfig(text, 'a Mixtral of 1.3 billion parameters'),
    layout,
    sequence,
    sequences,
    microBatches: 1,
    dtype: 'bf16',
    strategy: inChunks(namedStrategies.scattered, 1),
  };
}

export function measureModel(peers: boolean): ModelMeasurement {
  const step = modelStep();
  const { model } = step;
  const flopsPerToken = trainingFlopsPerToken(model, sequence);
  const ids = tokensOf(montaSteps);
  const monta = runMonta(step, ids, flopsPerToken);
  const line = (name: string, run: ModelRun): void => {
    const { secondsPerStep, tokensPerSecond, teraflops, losses, peakBytes } = run;
    process.stdout.write(
      `${name}: ${(1000 * secondsPerStep).toFixed(1)} ms a step, ${tokensPerSecond.toFixed(0)} tokens/s, ` +
        `${teraflops.toFixed(0)} TFLOP/s, ` +
        `${(peakBytes / 2 ** 30).toFixed(1)} GiB, loss ${losses[0].toFixed(3)} to ` +
        `${(losses.at(-1) ?? NaN).toFixed(3)} in ${losses.length} steps\n`,
    );
  };
  line('Monta', monta);
  const answers: Record<string, ModelRun | { readonly error: string }> = {};
  if (peers) {
    const folder = mkdtempSync(join(tmpdir(), 'monta-model-'));
    writeFileSync(join(folder, 'tokens'), new Uint8Array(ids.buffer));
    for (const compiled of [false, true]) {
      const name = `transformers grouped_mm${compiled ? ', compiled' : ''}`;
      const run = runPeer(folder, compiled, flopsPerToken);
      answers[name] = run;
      if ('error' in run) process.stdout.write(`${name}: ${run.error}\n`);
      else line(name, run);
    }
    rmSync(folder, { recursive: true });
  }
  const parameterCount = parameters(model, layout).reduce(
    (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  );
  return { parameters: parameterCount, tokensPerStep: sequence * sequences, flopsPerToken, monta, peers: answers };
}
