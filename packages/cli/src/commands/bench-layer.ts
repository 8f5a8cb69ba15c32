/** `monta bench layer`: one layer of experts on a GPU of this host, forward and backward, and peers beside it. */
import type { MoeModel } from '@monta/core';
import { InputError } from '@monta/core/units';
import {
  cudaAvailable,
  layerShapes,
  layerTable,
  measureLayer,
  type LayerMeasurement,
  type MoeLayerShape,
} from '@monta/runtime/bench/cuda';
import type { MontaContext } from '../context.js';
import { loadModel } from '../inputs.js';
import type { BenchLayerFlags } from './bench.flags.js';

/** The layers that flags name. Throws `InputError`. */
export function benchedLayers({ only, model, tokens }: BenchLayerFlags): ReadonlyMap<string, MoeLayerShape> {
  if (tokens < 1) throw new InputError('--tokens is 0', { expected: 'at least 1' });
  if (model !== undefined) {
    if (only !== undefined)
      throw new InputError('--model and --only', { expected: 'a model, or some of the four shapes' });
    const named = loadModel(model);
    return new Map([[named.name, layerOf(named, tokens)]]);
  }
  const names = only ?? Object.keys(layerShapes);
  return new Map(
    names.map((name) => {
      if (!Object.hasOwn(layerShapes, name))
        throw new InputError(`"${name}" is no shape`, {
          path: '--only',
          expected: Object.keys(layerShapes).join(', '),
        });
      return [name, { ...layerShapes[name], tokens }];
    }),
  );
}

/**
 * A model's layer with all its experts on one GPU. Throws `InputError` where the layer computes what the GPU's does
 * not.
 */
function layerOf(model: MoeModel, tokens: number): MoeLayerShape {
  const { name, hiddenSize: hidden, expertFfn: ffn, experts, topK: picks, normTopK: renormalise } = model;
  const refuse = (what: string): never => {
    throw new InputError(`${name} ${what}`, { path: '--model', expected: 'softmax routing and SwiGLU experts' });
  };
  if (experts === 0) refuse('has no experts');
  if (!model.gated || model.activation !== 'silu') refuse(`has ${model.activation} experts`);
  if (model.scoring !== 'softmax') refuse(`routes by ${model.scoring}`);
  return { tokens, hidden, ffn, experts, picks, renormalise };
}

/** Measures and prints. Without a GPU that is bad input: the flag asks for one. */
export async function runBenchLayer({ console }: MontaContext, flags: BenchLayerFlags): Promise<void> {
  const layers = benchedLayers(flags);
  const { devices, reason } = cudaAvailable();
  if (devices === 0) throw new InputError(reason ?? 'no CUDA device is installed', { path: '--device cuda' });
  const measured: Record<string, LayerMeasurement> = {};
  for (const [name, shape] of layers) {
    measured[name] = await measureLayer(shape, flags.peers);
    if (!flags.json) console.print(layerTable(name, measured[name]));
  }
  if (flags.json) console.json(measured);
}
