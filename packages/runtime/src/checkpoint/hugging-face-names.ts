/**
 * Under which names a Hugging Face folder may hold a parameter: those of `save_pretrained` (transformers 4 and 5), one tensor an expert,
 * and those that transformers 5 has in memory, experts fused and Mixtral's block called `mlp`.
 */
import type { MoeModel, Parameter } from '@monta/core';

/** A parameter's place in a file: a tensor, the shape that it must have, and at which of its elements the parameter begins. */
export interface TensorPlace {
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly first: number;
}

const expertName = /^(.*\.)(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(\w+)\.weight$/;

/** Gate rows lie first in `gate_up_proj`, then up rows. */
const fusedPart: Readonly<Record<string, 'gate' | 'up' | 'down'>> = {
  gate_proj: 'gate',
  w1: 'gate',
  up_proj: 'up',
  w3: 'up',
  down_proj: 'down',
  w2: 'down',
};

/** Possible places, the name of `save_pretrained` first. */
export function tensorPlaces({ name, shape }: Parameter, model: MoeModel): TensorPlace[] {
  const saved: TensorPlace = { tensor: name, shape, first: 0 };
  const expert = expertName.exec(name);
  if (expert === null) {
    const inMemory = name.replace('.block_sparse_moe.', '.mlp.');
    return inMemory === name ? [saved] : [saved, { ...saved, tensor: inMemory }];
  }
  const [, prefix, number, matrix] = expert;
  const { experts, expertFfn, hiddenSize } = model;
  const elements = expertFfn * hiddenSize;
  const part = fusedPart[matrix];
  const fused: TensorPlace =
    part === 'down'
      ? {
          tensor: `${prefix}mlp.experts.down_proj`,
          shape: [experts, hiddenSize, expertFfn],
          first: Number(number) * elements,
        }
      : {
          tensor: `${prefix}mlp.experts.gate_up_proj`,
          shape: [experts, 2 * expertFfn, hiddenSize],
          first: (2 * Number(number) + (part === 'up' ? 1 : 0)) * elements,
        };
  return [saved, fused];
}
