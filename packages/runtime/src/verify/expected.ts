/**
 * A folder that says what a model must compute: a Hugging Face checkpoint with `expected.safetensors` (token ids of
 * several batches; of batch 0 the logits, losses, router logits and gradient norm), `grads.safetensors` (gradients of
 * batch 0) and `trajectory.json` (losses and gradient norms of AdamW steps, batch i at step i).
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { MoeModel, Parameter } from '@monta/core';
import { InputError } from '@monta/core/units';
import { isTrained } from '@monta/core/schedule';
import { HuggingFaceFolder, SafetensorsFile } from '../checkpoint/index.js';
import { tensorPlaces } from '../checkpoint/hugging-face-names.js';
import { readPlaced } from '../checkpoint/placed-tensor.js';
import { readJson } from '../files/read-text.js';
import { modelParameters } from '../checkpoint/tensor-source.js';
import type { OptimizerSettings } from '../execute/index.js';

export interface Trajectory {
  readonly optimizer: OptimizerSettings;
  /** Loss before the step and gradient norm before clipping, by step. */
  readonly steps: readonly (readonly [loss: number, norm: number])[];
}

export interface Expected {
  readonly folder: string;
  readonly model: MoeModel;
  readonly batches: number;
  /** Sequences of a batch. */
  readonly batch: number;
  readonly sequence: number;
  /** [batches][batch * sequence]. */
  readonly ids: readonly Int32Array[];
  /** [batch * sequence, vocabulary]. */
  readonly logits: Float32Array;
  /** By layer with experts, [batch * sequence, experts]. */
  readonly routerLogits: ReadonlyMap<number, Float32Array>;
  readonly loss: number;
  readonly auxiliaryLoss: number;
  readonly gradientNorm: number;
  /** Absent where the folder has none. */
  readonly gradients?: ReadonlyMap<string, Float32Array>;
  readonly trajectory?: Trajectory;
}

const elements = (shape: readonly number[]): number => shape.reduce((product, length) => product * length, 1);

function floats(file: SafetensorsFile, name: string, shape?: readonly number[]): Float32Array {
  const out = new Float32Array(elements(file.info(name, shape).shape));
  file.readFloat32(name, out);
  return out;
}

const scalar = (file: SafetensorsFile, name: string): number => floats(file, name)[0] ?? NaN;

/** Reads such a folder. Throws `InputError` naming what is missing or of the wrong shape. */
export function readExpected(folder: string): Expected {
  const weights = HuggingFaceFolder.open(folder);
  const { model } = weights;
  weights.close();
  const path = join(folder, 'expected.safetensors');
  if (!existsSync(path))
    throw new InputError('there is nothing to verify against', {
      file: path,
      expected: 'a folder with config.json, model.safetensors and expected.safetensors (see docs/verify.md)',
    });
  const file = SafetensorsFile.open(path);
  try {
    const { shape } = file.info('input_ids');
    const [batches = 0, batch = 0, sequence = 0] = shape;
    if (shape.length !== 3 || elements(shape) === 0)
      throw new InputError(`tensor input_ids has shape [${shape.join(', ')}]`, {
        file: path,
        expected: '[batches, sequences, tokens]',
      });
    const all = new Int32Array(elements(shape));
    file.readInt32('input_ids', all);
    const tokens = batch * sequence;
    const routerLogits = new Map<number, Float32Array>();
    model.moeLayers.forEach((moe, layer) => {
      if (moe) routerLogits.set(layer, floats(file, `router_logits.${layer}`, [tokens, model.experts]));
    });
    return {
      folder,
      model,
      batches,
      batch,
      sequence,
      ids: Array.from({ length: batches }, (_, i) => all.slice(i * tokens, (i + 1) * tokens)),
      logits: floats(file, 'logits', [batch, sequence, model.vocabSize]),
      routerLogits,
      loss: scalar(file, 'loss'),
      auxiliaryLoss: scalar(file, 'aux_loss'),
      gradientNorm: scalar(file, 'grad_norm'),
      ...optional('gradients', readGradients(join(folder, 'grads.safetensors'), model)),
      ...optional('trajectory', readTrajectory(join(folder, 'trajectory.json'), batches)),
    };
  } finally {
    file.close();
  }
}

const optional = <K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } =>
  (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };

/** Gradients of all parameters, under either naming. */
function readGradients(path: string, model: MoeModel): Map<string, Float32Array> | undefined {
  if (!existsSync(path)) return undefined;
  const file = SafetensorsFile.open(path);
  try {
    const names = new Set(file.header.tensors.keys());
    const read = (parameter: Parameter): Float32Array => {
      const place = tensorPlaces(parameter, model).find(({ tensor }) => names.has(tensor));
      if (!place)
        throw new InputError(`there is no gradient of ${parameter.name}`, {
          file: path,
          expected: 'a gradient of every parameter',
        });
      file.info(place.tensor, place.shape);
      return readPlaced((tensor, out, first) => file.readFloat32(tensor, out, first), place, parameter);
    };
    return new Map(
      modelParameters(model)
        .filter(isTrained)
        .map((parameter) => [parameter.name, read(parameter)]),
    );
  } finally {
    file.close();
  }
}

function readTrajectory(path: string, batches: number): Trajectory | undefined {
  if (!existsSync(path)) return undefined;
  const wrong = (message: string, expected: string): InputError => new InputError(message, { file: path, expected });
  const expected = 'an object with optimizer and loss_and_grad_norm';
  const parsed = readJson(path, expected);
  if (typeof parsed !== 'object' || parsed === null) throw wrong('is not an object', expected);
  const { optimizer, loss_and_grad_norm: steps } = parsed as { optimizer?: unknown; loss_and_grad_norm?: unknown };
  const isPair = (pair: unknown): pair is [number, number] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((value) => typeof value === 'number');
  if (!Array.isArray(steps) || !steps.every(isPair) || steps.length > batches)
    throw wrong('loss_and_grad_norm does not hold a pair of numbers a step', `at most ${batches} pairs [loss, norm]`);
  if (typeof optimizer !== 'string')
    throw wrong('optimizer is missing', 'a text like "AdamW lr=3e-3 betas=(0.9,0.95) eps=1e-8 …"');
  const number = String.raw`([0-9.]+(?:e[-+]?\d+)?)`;
  const setting = (pattern: string, name: string): number[] => {
    const match = new RegExp(pattern.replaceAll('#', number)).exec(optimizer);
    if (!match) throw wrong(`optimizer does not say ${name}`, `${name} in "${optimizer}"`);
    return match.slice(1).map(Number);
  };
  const [learningRate = NaN] = setting('lr=#', 'lr');
  const [beta1 = NaN, beta2 = NaN] = setting(String.raw`betas=\(#,\s*#\)`, 'betas');
  const [epsilon = NaN] = setting('eps=#', 'eps');
  const [weightDecay = NaN] = setting('weight_decay=#', 'weight_decay');
  const clip = new RegExp(`clip_grad_norm[ =]${number}`).exec(optimizer)?.[1];
  return {
    optimizer: {
      learningRate,
      beta1,
      beta2,
      epsilon,
      weightDecay,
      ...(clip === undefined ? {} : { maxNorm: Number(clip) }),
    },
    steps,
  };
}
