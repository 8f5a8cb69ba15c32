/** What the executor's tests share: an endpoint of a job of one, full tensors from the reference's, and back. */
import type { MoeModel } from '@monta/core';
import type { Endpoint } from '#runtime/comm/communicator.js';
import type { ParameterValues } from '../transformer/reference-parameters.js';

/** A job of one rank without threads: no collectives. */
export class LoneEndpoint implements Endpoint {
  readonly backend = 'local';
  readonly rank = 0;
  readonly size = 1;

  communicator(): never {
    throw new Error('a job of one rank has nobody to communicate with');
  }
  progress(): void {}
  now(): number {
    return performance.now() / 1000;
  }
  takeRecords(): never[] {
    return [];
  }
  close(): void {}
}

/** Elements of a checkpoint parameter in the reference's values, where experts are fused and every router is `mlp.gate.weight`. */
export function fromReference(model: MoeModel, values: ParameterValues, name: string): Float64Array {
  const expert = /^(.*)\.(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(\w+)\.weight$/.exec(name);
  const find = (fused: string): Float64Array => {
    const found = values.get(fused);
    if (found === undefined) throw new Error(`the reference has no ${fused}`);
    return found;
  };
  if (expert === null) return find(name.replace('.block_sparse_moe.', '.mlp.'));
  const [, prefix, number, matrix] = expert;
  const elements = model.expertFfn * model.hiddenSize;
  const at = Number(number) * elements;
  if (matrix === 'down_proj' || matrix === 'w2')
    return find(`${prefix}.mlp.experts.down_proj`).subarray(at, at + elements);
  const half = matrix === 'gate_proj' || matrix === 'w1' ? 0 : elements;
  return find(`${prefix}.mlp.experts.gate_up_proj`).subarray(2 * at + half, 2 * at + half + elements);
}
