/** Seeded initial weights, the same for every layout: each tensor has its own stream, named by seed and parameter. */
import { Random, type Parameter } from '@monta/core';
import type { ParameterStore } from './parameter-store.js';

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/**
 * Full tensor of a parameter: ones for norms, zeros for biases, normal with `deviation` elsewhere (Hugging Face's
 * `initializer_range`).
 */
export function initialTensor({ name, shape }: Parameter, seed: number, deviation: number): Float32Array {
  const tensor = new Float32Array(shape.reduce((product, length) => product * length, 1));
  if (shape.length === 1 && !name.endsWith('.sinks')) return tensor.fill(name.endsWith('bias') ? 0 : 1);
  const random = new Random(seed, hash(name));
  return tensor.map(() => deviation * random.normal());
}

/** Initialises all weights of a rank. */
export function initialiseParameters(store: ParameterStore, seed: number): void {
  const byName = new Map(store.list.map((parameter) => [parameter.name, parameter]));
  store.load((name) => {
    const parameter = byName.get(name);
    if (parameter === undefined) throw new Error(`the model has no parameter ${name}`);
    return initialTensor(parameter, seed, store.step.model.initializerRange);
  });
}
