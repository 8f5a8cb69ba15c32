/** What the ranks of the multi-rank tests are told and return. */
import type { Parameter, StepShape } from '@monta/core';
import { initialTensor } from '#runtime/execute/initialise.js';
import type { OptimizerSettings, StepResult } from '#runtime/execute/training-executor.js';

export interface RankCase {
  readonly name: string;
  readonly step: StepShape;
  /** By data-parallel index, then micro-batch: ids and shifted targets. */
  readonly batches: readonly (readonly { readonly ids: Int32Array; readonly targets: Int32Array }[])[];
  readonly targets: number;
  readonly seed: number;
  /** Standard deviation of the weights: large enough that routing and gradients are lively. */
  readonly deviation: number;
  /** Routers of zeros: every token picks the first k experts, the others get none. */
  readonly starved?: boolean;
  readonly optimizer?: OptimizerSettings;
  readonly steps?: number;
}

export interface CaseResult {
  readonly name: string;
  readonly results: readonly StepResult[];
  readonly evaluation: number;
  /** Full gradients of the last step, by parameter. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** Of activations and buffers on this rank. */
  readonly peakBytes: number;
}

/** Weights of a case, full tensors. */
export function caseTensor(given: RankCase, list: readonly Parameter[], name: string): Float32Array {
  const parameter = list.find((p) => p.name === name);
  if (parameter === undefined) throw new Error(`no parameter ${name}`);
  const tensor = initialTensor(parameter, given.seed, given.deviation);
  // Biases and norms that tell their elements apart.
  if (parameter.shape.length === 1) tensor.forEach((value, i) => (tensor[i] = value + 0.1 * Math.sin(3 * i + 1)));
  return given.starved === true && name.endsWith('.gate.weight') ? tensor.fill(0) : tensor;
}
