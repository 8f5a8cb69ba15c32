/** What the executor's tests share: full tensors from the reference's. */
import type { MoeModel } from '@monta/core';
import type { ParameterValues } from '../transformer/reference-parameters.js';

/**
 * Elements of a checkpoint parameter in the reference's values, where experts are fused and every router is
 * `mlp.gate.weight`.
 */
export function fromReference(model: MoeModel, values: ParameterValues, name: string): Float64Array {
  const expert = /^(.*)\.(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name);
  const find = (fused: string): Float64Array => {
    const found = values.get(fused);
    if (found === undefined) throw new Error(`the reference has no ${fused}`);
    return found;
  };
  if (expert === null) return find(name.replace('.block_sparse_moe.', '.mlp.').replace('.mlp.router.', '.mlp.gate.'));
  const [, prefix, number, matrix, kind] = expert;
  const bias = kind === 'bias';
  const suffix = bias ? '_bias' : '';
  const columns = bias ? 1 : model.hiddenSize;
  if (matrix === 'down_proj' || matrix === 'w2') {
    const elements = model.hiddenSize * (bias ? 1 : model.expertFfn);
    const at = Number(number) * elements;
    return find(`${prefix}.mlp.experts.down_proj${suffix}`).subarray(at, at + elements);
  }
  const elements = model.expertFfn * columns;
  const at = (2 * Number(number) + (matrix === 'gate_proj' || matrix === 'w1' ? 0 : 1)) * elements;
  return find(`${prefix}.mlp.experts.gate_up_proj${suffix}`).subarray(at, at + elements);
}
