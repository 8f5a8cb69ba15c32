/**
 * The whole model on one rank, as slow and as obvious as possible: float64, plain loops, nothing shared with the
 * kernels or the executor, which are checked against it. It computes what Hugging Face's Mixtral, Qwen2-MoE, Qwen3-MoE
 * and OLMoE compute.
 */
import type { MoeModel } from '@monta/core';
import { ignoredLabel } from '#runtime/transformer/cross-entropy.js';
import * as ops from './reference-tape.js';
import type { Matrix, Tape } from './reference-tape.js';
import { layerName, parameterShapes } from './reference-parameters.js';
import { latentAttention } from './reference-latent.js';
import { rotationOf } from './reference-rope.js';
import { checkSupported } from '#runtime/transformer/supported.js';
import type { ParameterValues } from './reference-parameters.js';

export interface ReferenceOptions {
  /**
   * Bounds each expert's rows to ceil(factor * k * slice / E) from every `slice` consecutive tokens; smallest
   * probabilities are dropped first. Absent: nothing is dropped.
   */
  readonly capacity?: { readonly factor: number; readonly slice: number };
}

export interface ReferenceResult {
  /** tokens x vocabulary. */
  readonly logits: Float64Array;
  /** crossEntropy + auxiliaryCoefficient * auxiliaryLoss. */
  readonly loss: number;
  /** Mean over counted targets, nats. */
  readonly crossEntropy: number;
  readonly auxiliaryLoss: number;
  /** tokens x experts, by layer number; layers without experts have none. */
  readonly routerLogits: ReadonlyMap<number, Float64Array>;
  /** The experts picked, tokens x k, by layer number. */
  readonly routerPicks: ReadonlyMap<number, Int32Array>;
  /** Of `loss`, by the names of `parameterShapes`. */
  readonly gradients: ParameterValues;
  /** Over all parameters. */
  readonly gradientNorm: number;
}

interface Routing {
  readonly logits: Matrix;
  readonly probabilities: Matrix;
  readonly picks: Int32Array;
}

type Weight = (name: string) => Matrix;

/**
 * Experts by falling score (with the bias of selection, within the chosen groups), lowest number first among equals.
 */
function pickExperts(model: MoeModel, probabilities: Matrix, bias: Matrix | undefined): Int32Array {
  const { topK: k, expertGroups } = model;
  const { rows, width } = probabilities;
  const picks = new Int32Array(rows * k);
  const byValue = (values: ArrayLike<number>): number[] =>
    Array.from({ length: values.length }, (_, e) => e).sort((a, b) => values[b] - values[a] || a - b);
  for (let t = 0; t < rows; t++) {
    const p = Array.from({ length: width }, (_, e) => probabilities.value[t * width + e] + (bias?.value[e] ?? 0));
    let allowed = new Set(p.map((_, e) => e));
    if (expertGroups !== undefined) {
      const { groups, chosen, by } = expertGroups;
      const size = width / groups;
      const members = (group: number): number[] => p.slice(group * size, (group + 1) * size).sort((a, b) => b - a);
      const strength = Array.from({ length: groups }, (_, group) =>
        by === 'largest' ? members(group)[0] : members(group)[0] + members(group)[1],
      );
      const best = byValue(strength).slice(0, chosen);
      allowed = new Set([...allowed].filter((e) => best.includes(Math.floor(e / size))));
    }
    picks.set(
      byValue(p)
        .filter((e) => allowed.has(e))
        .slice(0, k),
      t * k,
    );
  }
  return picks;
}

/** Which picks keep a row, by ranking each expert's picks of each slice of tokens. */
function keptPicks(model: MoeModel, routing: Routing, options: ReferenceOptions): boolean[] {
  const { experts, topK: k } = model;
  const kept = Array.from(routing.picks, () => true);
  if (options.capacity === undefined) return kept;
  const { factor, slice } = options.capacity;
  const capacity = Math.ceil((factor * k * slice) / experts);
  const gate = (pick: number): number =>
    routing.probabilities.value[Math.floor(pick / k) * experts + routing.picks[pick]];
  kept.forEach((_, pick) => {
    const rivals = kept.filter(
      (__, other) =>
        routing.picks[other] === routing.picks[pick] &&
        Math.floor(other / k / slice) === Math.floor(pick / k / slice) &&
        (gate(other) > gate(pick) || (gate(other) === gate(pick) && other < pick)),
    );
    kept[pick] = rivals.length < capacity;
  });
  return kept;
}

/** weights of the picks, tokens x k. */
function pickWeights(tape: Tape, model: MoeModel, { probabilities, picks }: Routing): Matrix {
  const k = model.topK;
  const weights = ops.matrix(probabilities.rows, k);
  const sums = new Float64Array(probabilities.rows).fill(1);
  const at = (t: number, j: number): number => t * model.experts + picks[t * k + j];
  for (let t = 0; t < probabilities.rows; t++) {
    if (model.normTopK) {
      sums[t] = 0;
      for (let j = 0; j < k; j++) sums[t] += probabilities.value[at(t, j)];
    }
    for (let j = 0; j < k; j++)
      weights.value[t * k + j] = (model.routedScaling * probabilities.value[at(t, j)]) / sums[t];
  }
  tape.push(() => {
    for (let t = 0; t < probabilities.rows; t++)
      for (let j = 0; j < k; j++) {
        const dw = model.routedScaling * weights.gradient[t * k + j];
        probabilities.gradient[at(t, j)] += dw / sums[t];
        if (model.normTopK)
          for (let i = 0; i < k; i++)
            probabilities.gradient[at(t, i)] -= (dw * probabilities.value[at(t, j)]) / sums[t] ** 2;
      }
  });
  return weights;
}

/** Rows first to first + rows, sharing values and gradients. */
const part = (whole: Matrix, first: number, rows: number): Matrix => ({
  rows,
  width: whole.width,
  value: whole.value.subarray(first * whole.width, (first + rows) * whole.width),
  gradient: whole.gradient.subarray(first * whole.width, (first + rows) * whole.width),
});

/** y[t] = sum over kept picks of weight * expert(x[t]). */
function experts(
  tape: Tape,
  model: MoeModel,
  x: Matrix,
  routing: Routing,
  kept: readonly boolean[],
  weight: Weight,
): Matrix {
  const { hiddenSize: hidden, topK: k, expertFfn: ffn, clampedSwiglu, expertBias } = model;
  const [gateUp, down] = [weight('mlp.experts.gate_up_proj'), weight('mlp.experts.down_proj')];
  /** Elements of a bias, which is kept as a column. */
  const bias = (name: string, first: number, length: number): Matrix | undefined => {
    if (!expertBias) return undefined;
    const { value, gradient } = weight(`mlp.experts.${name}_bias`);
    const end = first + length;
    return { rows: 1, width: length, value: value.subarray(first, end), gradient: gradient.subarray(first, end) };
  };
  const y = ops.matrix(x.rows, hidden);
  const weights = pickWeights(tape, model, routing);
  routing.picks.forEach((expert, pick) => {
    if (!kept[pick]) return;
    const t = Math.floor(pick / k);
    const row = part(x, t, 1);
    const [gateAt, upAt] = [expert * 2 * ffn, expert * 2 * ffn + ffn];
    const gate = ops.linear(tape, row, part(gateUp, gateAt, ffn), bias('gate_up_proj', gateAt, ffn));
    const up = ops.linear(tape, row, part(gateUp, upAt, ffn), bias('gate_up_proj', upAt, ffn));
    const activated =
      clampedSwiglu === undefined ? ops.swiglu(tape, gate, up) : ops.clampedSwiglu(tape, gate, up, clampedSwiglu);
    const out = ops.linear(
      tape,
      activated,
      part(down, expert * hidden, hidden),
      bias('down_proj', expert * hidden, hidden),
    );
    for (let i = 0; i < hidden; i++) y.value[t * hidden + i] += weights.value[pick] * out.value[i];
    tape.push(() => {
      for (let i = 0; i < hidden; i++) {
        const dy = y.gradient[t * hidden + i];
        out.gradient[i] += weights.value[pick] * dy;
        weights.gradient[pick] += out.value[i] * dy;
      }
    });
  });
  return y;
}

/** SwiGLU of every token. */
function feedForward(tape: Tape, x: Matrix, prefix: string, weight: Weight): Matrix {
  const gate = ops.linear(tape, x, weight(`${prefix}.gate_proj.weight`));
  const up = ops.linear(tape, x, weight(`${prefix}.up_proj.weight`));
  return ops.linear(tape, ops.swiglu(tape, gate, up), weight(`${prefix}.down_proj.weight`));
}

/** The experts that every token visits; with a gate, sigmoid(gate . x) * f(x). */
function sharedExperts(tape: Tape, model: MoeModel, x: Matrix, weight: Weight): Matrix {
  if (!model.sharedExpertGate) return feedForward(tape, x, 'mlp.shared_experts', weight);
  const gate = ops.linear(tape, x, weight('mlp.shared_expert_gate.weight'));
  return ops.scaleRows(tape, feedForward(tape, x, 'mlp.shared_expert', weight), ops.sigmoid(tape, gate));
}

function attentionBlock(
  tape: Tape,
  model: MoeModel,
  layer: number,
  x: Matrix,
  sequence: number,
  weight: Weight,
): Matrix {
  if (model.latentAttention !== undefined) return latentAttention({ tape, model, x, sequence, weight });
  const project = (name: string): Matrix =>
    ops.linear(tape, x, weight(`${name}.weight`), model.attentionBias !== 'none' ? weight(`${name}.bias`) : undefined);
  let q = project('self_attn.q_proj');
  let k = project('self_attn.k_proj');
  let v = project('self_attn.v_proj');
  if (model.qkNorm !== 'none') {
    q = ops.rmsNorm(tape, q, weight('self_attn.q_norm.weight'), model.rmsNormEps);
    k = ops.rmsNorm(tape, k, weight('self_attn.k_norm.weight'), model.rmsNormEps);
  }
  if (model.clipQkv !== undefined) {
    q = ops.clamp(tape, q, model.clipQkv);
    k = ops.clamp(tape, k, model.clipQkv);
    v = ops.clamp(tape, v, model.clipQkv);
  }
  const rotation = rotationOf(model, model.rotaryDim ?? model.headDim);
  q = ops.rope(tape, q, model.headDim, sequence, rotation);
  k = ops.rope(tape, k, model.headDim, sequence, rotation);
  const window = model.window?.layers[layer] === true ? model.window.tokens : Infinity;
  const sinks = model.attentionSinks ? weight('self_attn.sinks') : undefined;
  const out = ops.attention(tape, q, k, v, { headDim: model.headDim, sequence, window, sinks });
  const bias = model.attentionBias === 'all' ? weight('self_attn.o_proj.bias') : undefined;
  return ops.linear(tape, out, weight('self_attn.o_proj.weight'), bias);
}

/** Mean cross entropy of each token's logits against the next token of its sequence. */
function crossEntropy(tape: Tape, logits: Matrix, labels: ArrayLike<number>, sequence: number): number {
  const probabilities = ops.softmax(tape, logits);
  let total = 0;
  const counted: number[] = [];
  for (let row = 0; row < logits.rows; row++)
    if ((row + 1) % sequence !== 0 && labels[row + 1] !== ignoredLabel) counted.push(row);
  for (const row of counted) total -= Math.log(probabilities.value[row * logits.width + labels[row + 1]]);
  tape.push(() => {
    for (const row of counted) {
      const at = row * logits.width + labels[row + 1];
      probabilities.gradient[at] -= 1 / probabilities.value[at] / counted.length;
    }
  });
  return total / counted.length;
}

/**
 * Hugging Face's `load_balancing_loss_func`: all layers' tokens pooled, share of picks times mean probability, times
 * the experts.
 */
function auxiliaryLoss(tape: Tape, model: MoeModel, routings: readonly Routing[]): number {
  const pooled = routings.reduce((sum, { probabilities }) => sum + probabilities.rows, 0);
  if (pooled === 0 || model.auxLoss === 'none') return 0;
  const share = new Float64Array(model.experts);
  const mean = new Float64Array(model.experts);
  for (const { picks, probabilities } of routings) {
    for (const expert of picks) share[expert] += 1 / pooled;
    probabilities.value.forEach((p, i) => {
      mean[i % model.experts] += p / pooled;
    });
  }
  tape.push(() => {
    for (const { probabilities } of routings)
      for (let i = 0; i < probabilities.gradient.length; i++)
        probabilities.gradient[i] += (model.auxLossCoefficient * model.experts * share[i % model.experts]) / pooled;
  });
  return model.experts * share.reduce((sum, value, e) => sum + value * mean[e], 0);
}

/**
 * One forward and backward. ids and labels: [batch, sequence] (labels are shifted here, as Hugging Face does; -100 is
 * ignored).
 */
export function referenceStep(
  model: MoeModel,
  parameters: ParameterValues,
  ids: ArrayLike<number>,
  labels: ArrayLike<number>,
  sequence: number,
  options: ReferenceOptions = {},
): ReferenceResult {
  checkSupported(model);
  const tape = new ops.Tape();
  const weights = new Map<string, Matrix>();
  for (const { name, shape } of parameterShapes(model)) {
    const value = parameters.get(name);
    if (value === undefined) throw new RangeError(`parameter ${name} is missing`);
    const width = shape[shape.length - 1];
    weights.set(name, ops.matrix(value.length / width, width, value));
  }
  const weight = (name: string): Matrix => {
    const found = weights.get(name);
    if (found === undefined) throw new RangeError(`the model has no parameter ${name}`);
    return found;
  };
  const embeddingWeight = weight('model.embed_tokens.weight');
  let x = ops.embedding(tape, ids, embeddingWeight, model.padTokenId);
  const routings = new Map<number, Routing>();
  for (let layer = 0; layer < model.layers; layer++) {
    const ofLayer: Weight = (name) => weight(layerName(layer, name));
    const normed = ops.rmsNorm(tape, x, ofLayer('input_layernorm.weight'), model.rmsNormEps);
    x = ops.add(tape, x, attentionBlock(tape, model, layer, normed, sequence, ofLayer));
    const input = ops.rmsNorm(tape, x, ofLayer('post_attention_layernorm.weight'), model.rmsNormEps);
    let output: Matrix;
    if (model.moeLayers[layer]) {
      const bias = model.expertBias ? ofLayer('mlp.gate.bias') : undefined;
      const logits = ops.linear(tape, input, ofLayer('mlp.gate.weight'), bias);
      const probabilities = model.scoring === 'sigmoid' ? ops.sigmoid(tape, logits) : ops.softmax(tape, logits);
      const selection = model.selectionBias ? ofLayer('mlp.gate.e_score_correction_bias') : undefined;
      const routing = { logits, probabilities, picks: pickExperts(model, probabilities, selection) };
      routings.set(layer, routing);
      const kept = keptPicks(model, routing, options);
      output = experts(tape, model, input, routing, kept, ofLayer);
      if (model.sharedExpertFfn > 0) output = ops.add(tape, output, sharedExperts(tape, model, input, ofLayer));
    } else output = feedForward(tape, input, 'mlp', ofLayer);
    x = ops.add(tape, x, output);
  }
  const final = ops.rmsNorm(tape, x, weight('model.norm.weight'), model.rmsNormEps);
  const logits = ops.linear(tape, final, model.tieEmbeddings ? embeddingWeight : weight('lm_head.weight'));
  const auxiliary = auxiliaryLoss(tape, model, [...routings.values()]);
  const entropy = crossEntropy(tape, logits, labels, sequence);
  tape.run();

  const gradients = new Map(
    [...weights]
      .filter(([name]) => !name.endsWith('.e_score_correction_bias'))
      .map(([name, { gradient }]) => [name, gradient]),
  );
  let squares = 0;
  for (const gradient of gradients.values()) for (const value of gradient) squares += value * value;
  return {
    logits: logits.value,
    loss: entropy + model.auxLossCoefficient * auxiliary,
    crossEntropy: entropy,
    auxiliaryLoss: auxiliary,
    routerLogits: new Map([...routings].map(([layer, routing]) => [layer, routing.logits.value])),
    routerPicks: new Map([...routings].map(([layer, routing]) => [layer, routing.picks])),
    gradients,
    gradientNorm: Math.sqrt(squares),
  };
}
