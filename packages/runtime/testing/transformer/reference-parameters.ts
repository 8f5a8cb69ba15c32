/** The reference's parameters: which there are, and how they are read from a Hugging Face folder. */
import type { MoeModel } from '@monta/core';
import { SafetensorsFolder } from '#runtime/checkpoint/safetensors-folder.js';

/** Values or gradients by name, flattened. */
export type ParameterValues = ReadonlyMap<string, Float64Array>;

export interface ParameterShape {
  readonly name: string;
  readonly shape: readonly number[];
}

export function layerName(layer: number, name: string): string {
  return `model.layers.${layer}.${name}`;
}

/** Latent attention: down to low ranks, up to heads, output; biases in front of the ranks and of the output. */
function addLatent(model: MoeModel, add: (name: string, ...shape: number[]) => void): void {
  const { latentAttention: latent, attentionHeads: heads, hiddenSize: hidden, attentionBias } = model;
  if (latent === undefined) return;
  const { queryRank, keyValueRank, nopeHeadDim: nope, ropeHeadDim: turning, valueHeadDim: value } = latent;
  const biased = attentionBias !== 'none';
  if (queryRank === undefined) add('self_attn.q_proj.weight', heads * (nope + turning), hidden);
  else {
    add('self_attn.q_a_proj.weight', queryRank, hidden);
    if (biased) add('self_attn.q_a_proj.bias', queryRank);
    add('self_attn.q_a_layernorm.weight', queryRank);
    add('self_attn.q_b_proj.weight', heads * (nope + turning), queryRank);
  }
  add('self_attn.kv_a_proj_with_mqa.weight', keyValueRank + turning, hidden);
  if (biased) add('self_attn.kv_a_proj_with_mqa.bias', keyValueRank + turning);
  add('self_attn.kv_a_layernorm.weight', keyValueRank);
  add('self_attn.kv_b_proj.weight', heads * (nope + value), keyValueRank);
  add('self_attn.o_proj.weight', hidden, heads * value);
}

/** Names and shapes as the model has them in memory: experts fused, the router `mlp.gate.weight` in every family. */
export function parameterShapes(model: MoeModel): ParameterShape[] {
  const { hiddenSize: hidden, headDim, experts, expertFfn } = model;
  const q = model.attentionHeads * headDim;
  const kv = model.keyValueHeads * headDim;
  const shapes: ParameterShape[] = [{ name: 'model.embed_tokens.weight', shape: [model.vocabSize, hidden] }];
  const add = (layer: number, name: string, ...shape: number[]): void => {
    shapes.push({ name: layerName(layer, name), shape });
  };
  for (let layer = 0; layer < model.layers; layer++) {
    add(layer, 'input_layernorm.weight', hidden);
    if (model.latentAttention !== undefined) addLatent(model, (name, ...shape) => add(layer, name, ...shape));
    else {
      add(layer, 'self_attn.q_proj.weight', q, hidden);
      add(layer, 'self_attn.k_proj.weight', kv, hidden);
      add(layer, 'self_attn.v_proj.weight', kv, hidden);
      add(layer, 'self_attn.o_proj.weight', hidden, q);
    }
    if (model.attentionBias !== 'none' && model.latentAttention === undefined) {
      add(layer, 'self_attn.q_proj.bias', q);
      add(layer, 'self_attn.k_proj.bias', kv);
      add(layer, 'self_attn.v_proj.bias', kv);
    }
    if (model.attentionSinks) add(layer, 'self_attn.sinks', model.attentionHeads);
    if (model.attentionBias === 'all') add(layer, 'self_attn.o_proj.bias', hidden);
    if (model.qkNorm !== 'none') {
      const whole = model.qkNorm === 'allHeads';
      add(layer, 'self_attn.q_norm.weight', whole ? q : headDim);
      add(layer, 'self_attn.k_norm.weight', whole ? kv : headDim);
    }
    add(layer, 'post_attention_layernorm.weight', hidden);
    if (model.moeLayers[layer]) {
      add(layer, 'mlp.gate.weight', experts, hidden);
      if (model.selectionBias) add(layer, 'mlp.gate.e_score_correction_bias', experts);
      add(layer, 'mlp.experts.gate_up_proj', experts, 2 * expertFfn, hidden);
      add(layer, 'mlp.experts.down_proj', experts, hidden, expertFfn);
      if (model.expertBias) {
        add(layer, 'mlp.gate.bias', experts);
        add(layer, 'mlp.experts.gate_up_proj_bias', experts, 2 * expertFfn);
        add(layer, 'mlp.experts.down_proj_bias', experts, hidden);
      }
      if (model.sharedExpertFfn > 0) {
        const shared = model.sharedExpertGate ? 'mlp.shared_expert' : 'mlp.shared_experts';
        add(layer, `${shared}.gate_proj.weight`, model.sharedExpertFfn, hidden);
        add(layer, `${shared}.up_proj.weight`, model.sharedExpertFfn, hidden);
        add(layer, `${shared}.down_proj.weight`, hidden, model.sharedExpertFfn);
        if (model.sharedExpertGate) add(layer, `${shared}_gate.weight`, 1, hidden);
      }
    } else {
      add(layer, 'mlp.gate_proj.weight', model.denseFfn, hidden);
      add(layer, 'mlp.up_proj.weight', model.denseFfn, hidden);
      add(layer, 'mlp.down_proj.weight', hidden, model.denseFfn);
    }
  }
  shapes.push({ name: 'model.norm.weight', shape: [hidden] });
  if (!model.tieEmbeddings) shapes.push({ name: 'lm_head.weight', shape: [model.vocabSize, hidden] });
  return shapes;
}

/** The name that Hugging Face gives a parameter of the reference in memory: gpt-oss calls its routers so. */
export const nameInMemory = ({ family }: MoeModel, name: string): string =>
  family === 'gpt_oss' ? name.replace('.mlp.gate.', '.mlp.router.') : name;

/**
 * gpt-oss' values or gradients in the reference's order: its experts are transposed, [E, inputs, outputs], gates and
 * ups in turn. `read` is given names and shapes of its tensors.
 */
export function readGptOss(
  model: MoeModel,
  read: (name: string, shape: readonly number[]) => ArrayLike<number>,
): Map<string, Float64Array> {
  const { expertFfn: ffn } = model;
  /** Row of the reference's gate_up of an output: gates first. */
  const rowOf = (output: number): number => (output % 2) * ffn + Math.floor(output / 2);
  return new Map(
    parameterShapes(model).map(({ name, shape }) => {
      const [experts, outputs, inputs = 1] = shape;
      const fused = name.endsWith('.gate_up_proj') || name.endsWith('.gate_up_proj_bias');
      if (!fused && !name.endsWith('.experts.down_proj'))
        return [name, Float64Array.from(read(nameInMemory(model, name), shape))];
      const stored = read(name, shape.length === 3 ? [experts, inputs, outputs] : shape);
      const values = new Float64Array(stored.length);
      for (let expert = 0; expert < experts; expert++)
        for (let output = 0; output < outputs; output++)
          for (let input = 0; input < inputs; input++) {
            const row = fused ? rowOf(output) : output;
            values[(expert * outputs + row) * inputs + input] = stored[(expert * inputs + input) * outputs + output];
          }
      return [name, values];
    }),
  );
}

/** Reads a folder's weights; throws InputError when a tensor is missing or has another shape than the config says. */
export function readParameters(model: MoeModel, folder: string): Map<string, Float64Array> {
  const source = SafetensorsFolder.open(folder);
  const read = (name: string, shape: readonly number[]): Float32Array => {
    const out = new Float32Array(source.info(name, shape).elements);
    source.readFloat32(name, out);
    return out;
  };
  if (model.family === 'gpt_oss') {
    try {
      return readGptOss(model, read);
    } finally {
      source.close();
    }
  }
  const mixtral = model.family === 'mixtral';
  /** The tensors whose data, one after another, make up a fused parameter. */
  const partsOf = (name: string, shape: readonly number[]): ParameterShape[] => {
    const prefix = name.slice(0, name.lastIndexOf('.mlp.'));
    const block = `${prefix}.${mixtral ? 'block_sparse_moe' : 'mlp'}`;
    const single = shape.slice(1);
    if (name.endsWith('.mlp.gate.weight')) return [{ name: `${block}.gate.weight`, shape }];
    const of = (expert: number, plain: string, short: string): string =>
      `${block}.experts.${expert}.${mixtral ? short : plain}.weight`;
    const half = [single[0] / 2, single[1]];
    if (name.endsWith('.experts.gate_up_proj'))
      return Array.from({ length: shape[0] }, (_, expert) => [
        { name: of(expert, 'gate_proj', 'w1'), shape: half },
        { name: of(expert, 'up_proj', 'w3'), shape: half },
      ]).flat();
    if (name.endsWith('.experts.down_proj'))
      return Array.from({ length: shape[0] }, (_, expert) => ({ name: of(expert, 'down_proj', 'w2'), shape: single }));
    return [{ name, shape }];
  };
  try {
    return new Map(
      parameterShapes(model).map(({ name, shape }) => {
        const values = new Float64Array(shape.reduce((product, size) => product * size, 1));
        let at = 0;
        for (const part of partsOf(name, shape)) {
          const data = read(part.name, part.shape);
          values.set(data, at);
          at += data.length;
        }
        return [name, values];
      }),
    );
  } finally {
    source.close();
  }
}
