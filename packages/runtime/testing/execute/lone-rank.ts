/** What the executor's tests share: full tensors from the reference's. */
import type { MoeModel } from '@monta/core';
import type { ParameterValues } from '../transformer/reference-parameters.js';

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
