/** A rank of the executor's tests: runs every case on its layout, rank 0 returns losses and gathered gradients. */
import type { StepShape } from '@monta/core';
import { createGemm } from '../device/cpu/index.js';
import { runRank } from '../launch/index.js';
import { initialTensor } from './initialise.js';
import { ParameterStore } from './parameter-store.js';
import { TrainingExecutor, type OptimizerSettings, type StepResult } from './training-executor.js';

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
}

/** Weights of a case, full tensors. */
export function caseTensor(given: RankCase, store: ParameterStore, name: string): Float32Array {
  const parameter = store.list.find((p) => p.name === name);
  if (parameter === undefined) throw new Error(`no parameter ${name}`);
  const tensor = initialTensor(parameter, given.seed, given.deviation);
  return given.starved === true && name.endsWith('.gate.weight') ? tensor.fill(0) : tensor;
}

runRank<{ readonly cases: readonly RankCase[] }>(({ rank, endpoint, memory, data }) => {
  const gemm = createGemm(memory, { prefer: 'wasm' });
  return data.cases.map((given): CaseResult => {
    const mark = memory.mark();
    const { step } = given;
    const parameters = new ParameterStore(step, rank, memory);
    parameters.load((name) => caseTensor(given, parameters, name));
    const executor = new TrainingExecutor({ step, endpoint, memory, gemm, parameters });
    const { tp, dp } = step.layout;
    const own = given.batches[Math.floor(rank / tp) % dp];
    const evaluation = executor.evaluate(own[0]).loss;
    const results = Array.from({ length: given.steps ?? 1 }, (_, i) =>
      executor.trainStep(own, {
        targets: given.targets,
        number: i + 1,
        ...(given.optimizer === undefined ? {} : { optimizer: given.optimizer }),
      }),
    );
    const gather = (kind: 'gradient' | 'weight') =>
      new Map(parameters.list.map(({ name }) => [name, parameters.gather(name, kind, endpoint)]));
    const result = { name: given.name, results, evaluation, gradients: gather('gradient'), weights: gather('weight') };
    memory.release(mark);
    return rank === 0 ? result : { ...result, gradients: new Map(), weights: new Map() };
  });
});
