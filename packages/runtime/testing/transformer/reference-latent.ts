/**
 * Latent attention of the reference, as DeepSeek-V2's paper (arXiv 2405.04434, 2.1) and transformers'
 * DeepseekV3Attention have it.
 */
import type { MoeModel } from '@monta/core';
import * as ops from './reference-tape.js';
import type { Matrix, Tape } from './reference-tape.js';
import { rotationOf } from './reference-rope.js';

export interface LatentInput {
  readonly tape: Tape;
  readonly model: MoeModel;
  readonly x: Matrix;
  readonly sequence: number;
  readonly weight: (name: string) => Matrix;
}

export function latentAttention({ tape, model, x, sequence, weight }: LatentInput): Matrix {
  const { latentAttention: latent, attentionBias, scoreScaling } = model;
  if (latent === undefined) throw new Error('no latent attention');
  const { queryRank, keyValueRank, nopeHeadDim: nope, ropeHeadDim: turning, valueHeadDim: valueDim } = latent;
  const biased = (name: string): Matrix | undefined =>
    attentionBias === 'none' ? undefined : weight(`self_attn.${name}.bias`);
  const linear = (input: Matrix, name: string, bias?: Matrix): Matrix =>
    ops.linear(tape, input, weight(`self_attn.${name}.weight`), bias);
  const norm = (input: Matrix, name: string): Matrix =>
    ops.rmsNorm(tape, input, weight(`self_attn.${name}.weight`), 1e-6);
  const q =
    queryRank === undefined
      ? linear(x, 'q_proj')
      : linear(norm(linear(x, 'q_a_proj', biased('q_a_proj')), 'q_a_layernorm'), 'q_b_proj');
  const low = linear(x, 'kv_a_proj_with_mqa', biased('kv_a_proj_with_mqa'));
  const part = (of: Matrix, width: number, first: number, count: number): Matrix =>
    ops.columns(tape, of, { width, first, count });
  const up = linear(norm(part(low, low.width, 0, keyValueRank), 'kv_a_layernorm'), 'kv_b_proj');
  const rotation = rotationOf(model, turning);
  const turn = (of: Matrix): Matrix => ops.rope(tape, of, turning, sequence, rotation);
  const width = nope + turning;
  const query = ops.joinHeads(tape, part(q, width, 0, nope), turn(part(q, width, nope, turning)), [nope, turning]);
  const shared = turn(part(low, low.width, keyValueRank, turning));
  const key = ops.joinHeads(tape, part(up, nope + valueDim, 0, nope), shared, [nope, turning]);
  const value = part(up, nope + valueDim, nope, valueDim);
  const options = { headDim: width, valueDim, scoreScaling, sequence, window: Infinity };
  return linear(ops.attention(tape, query, key, value, options), 'o_proj', biased('o_proj'));
}
