/**
 * Under which names a Hugging Face folder may hold a parameter: those of `save_pretrained` (transformers 4 and 5), one
 * tensor an expert, and those that transformers 5 has in memory, experts fused and Mixtral's block called `mlp`.
 * gpt-oss has its experts fused and transposed, the columns of gates and ups in turn.
 */
import type { MoeModel, Parameter } from '@monta/core';

/**
 * A parameter's place in a file: a tensor, the shape that it must have, and at which of its elements the parameter
 * begins.
 */
export interface TensorPlace {
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly first: number;
  /**
   * Elements from one row of the parameter to the next, and from one column to the next, where it does not lie there
   * row after row.
   */
  readonly strides?: { readonly row: number; readonly column: number };
}

const expertName = /^(.*\.)(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(\w+)\.(weight|bias)$/;

/** Gate rows lie first in `gate_up_proj`, then up rows. */
const fusedPart: Readonly<Record<string, 'gate' | 'up' | 'down'>> = {
  gate_proj: 'gate',
  w1: 'gate',
  up_proj: 'up',
  w3: 'up',
  down_proj: 'down',
  w2: 'down',
};

interface ExpertTensor {
  /** Of the layer's tensors. */
  readonly prefix: string;
  readonly number: number;
  readonly part: 'gate' | 'up' | 'down';
  readonly kind: 'weight' | 'bias';
}

/** gpt-oss: gate_up_proj [E, h, 2 ffn] and down_proj [E, ffn, h], their biases beside them. */
function transposed({ prefix, number, part, kind }: ExpertTensor, model: MoeModel): TensorPlace {
  const { experts, expertFfn: ffn, hiddenSize: h } = model;
  const name = `${prefix}mlp.experts.${part === 'down' ? 'down_proj' : 'gate_up_proj'}`;
  const second = part === 'up' ? 1 : 0;
  if (part === 'down')
    return kind === 'weight'
      ? { tensor: name, shape: [experts, ffn, h], first: number * ffn * h, strides: { row: 1, column: h } }
      : { tensor: `${name}_bias`, shape: [experts, h], first: number * h };
  return kind === 'weight'
    ? {
        tensor: name,
        shape: [experts, h, 2 * ffn],
        first: number * h * 2 * ffn + second,
        strides: { row: 2, column: 2 * ffn },
      }
    : {
        tensor: `${name}_bias`,
        shape: [experts, 2 * ffn],
        first: number * 2 * ffn + second,
        strides: { row: 2, column: 1 },
      };
}

function fused({ prefix, number, part }: ExpertTensor, { experts, expertFfn, hiddenSize }: MoeModel): TensorPlace {
  const elements = expertFfn * hiddenSize;
  return part === 'down'
    ? {
        tensor: `${prefix}mlp.experts.down_proj`,
        shape: [experts, hiddenSize, expertFfn],
        first: number * elements,
      }
    : {
        tensor: `${prefix}mlp.experts.gate_up_proj`,
        shape: [experts, 2 * expertFfn, hiddenSize],
        first: (2 * number + (part === 'up' ? 1 : 0)) * elements,
      };
}

/** Possible places, the name of `save_pretrained` first. */
export function tensorPlaces({ name, shape }: Parameter, model: MoeModel): TensorPlace[] {
  const saved: TensorPlace = { tensor: name, shape, first: 0 };
  const expert = expertName.exec(name);
  if (expert === null) {
    const inMemory = name.replace('.block_sparse_moe.', '.mlp.');
    return inMemory === name ? [saved] : [saved, { ...saved, tensor: inMemory }];
  }
  const [, prefix, number, matrix, kind] = expert;
  const tensor: ExpertTensor = {
    prefix,
    number: Number(number),
    part: fusedPart[matrix],
    kind: kind === 'bias' ? 'bias' : 'weight',
  };
  return model.family === 'gpt_oss' ? [transposed(tensor, model)] : [saved, fused(tensor, model)];
}
