/** Seeded initial weights, the same for every layout: each tensor has its own stream, named by seed and parameter. */
import { Random } from '@monta/core/units';
import type { Parameter } from '@monta/core';
import type { ParameterStore } from './parameter-store.js';

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/** A whole tensor of a large vocabulary would not fit beside the weights of several ranks. */
const pieceElements = 1 << 18;

/**
 * A parameter's first values, a run of whole rows after another: ones for norms, zeros for biases, normal with
 * `deviation` elsewhere (Hugging Face's `initializer_range`).
 */
function* initialRows({ name, shape }: Parameter, seed: number, deviation: number): Generator<Float32Array> {
  const [rows, columns = 1] = shape;
  const step = Math.max(1, Math.floor(pieceElements / Math.max(1, columns)));
  const random = new Random(seed, hash(name));
  const constant = name.endsWith('bias') ? 0 : 1;
  const drawn = shape.length > 1 || name.endsWith('.sinks');
  for (let row = 0; row < rows; row += step) {
    const values = new Float32Array(Math.min(step, rows - row) * columns).fill(constant);
    if (drawn) for (let i = 0; i < values.length; i++) values[i] = deviation * random.normal();
    yield values;
  }
}

/** The full tensor of a parameter, as `initialiseParameters` fills it. */
export function initialTensor(parameter: Parameter, seed: number, deviation: number): Float32Array {
  const tensor = new Float32Array(parameter.shape.reduce((product, length) => product * length, 1));
  let at = 0;
  for (const values of initialRows(parameter, seed, deviation)) {
    tensor.set(values, at);
    at += values.length;
  }
  return tensor;
}

/** Initialises all weights of a rank. */
export function initialiseParameters(store: ParameterStore, seed: number): void {
  for (const { parameter } of store.held()) {
    const columns = parameter.shape[1] ?? 1;
    let row = 0;
    for (const values of initialRows(parameter, seed, store.step.model.initializerRange)) {
      store.writeRows(parameter.name, row, values);
      row += values.length / columns;
    }
  }
}

/**
 * Weights for timing: normal numbers drawn once and handed out from changing places, since a billion of their own would
 * take minutes; ones for norms, zeros for biases.
 */
export function initialiseFromPool(store: ParameterStore, seed: number): void {
  const random = new Random(seed);
  const { initializerRange } = store.step.model;
  const pool = Float32Array.from({ length: 2 * pieceElements }, () => initializerRange * random.normal());
  let place = 0;
  for (const { parameter } of store.held()) {
    const { name, shape } = parameter;
    const [rows, columns = 1] = shape;
    const step = Math.max(1, Math.floor(pieceElements / columns));
    const constant = new Float32Array(step * columns).fill(name.endsWith('bias') ? 0 : 1);
    for (let row = 0; row < rows; row += step) {
      const elements = Math.min(step, rows - row) * columns;
      place = (place + 7919) % pieceElements;
      const values = shape.length > 1 ? pool.subarray(place, place + elements) : constant.subarray(0, elements);
      store.writeRows(name, row, values);
    }
  }
}
