/**
 * The kernels put together to a whole model over TP ranks that take turns in one thread: every sum over `ranks` below
 * is a collective of the real runtime. Its test checks that they fit together at each point where a collective stands.
 */
import type { MoeModel } from '@monta/core';
import type { Gemm } from '#runtime/device/gemm.js';
import * as moe from '#runtime/moe/index.js';
import { attentionBackward, attentionForward, attentionScratch } from '#runtime/transformer/attention.js';
import * as entropy from '#runtime/transformer/cross-entropy.js';
import { embeddingBackward, embeddingForward } from '#runtime/transformer/embedding.js';
import { headShare } from '#runtime/transformer/head-share.js';
import { linearForward, linearInputGrad, linearWeightGrad } from '#runtime/transformer/linear.js';
import { rmsNormBackward, rmsNormForward } from '#runtime/transformer/rms-norm.js';
import { ropeBackward, ropeForward, ropeTable } from '#runtime/transformer/rope.js';
import { splitNormApply, splitNormBackward, splitNormDot, splitNormSquares } from '#runtime/transformer/split-norm.js';
import { maxOf } from '@monta/core';
import { lockstepExperts, type LockstepExperts } from './lockstep-experts.js';
import { addTo, floats, give, take, total, value, type Value } from './lockstep-values.js';

export class Lockstep {
  readonly gradients = new Map<string, Float32Array>();
  readonly #backwards: (() => void)[] = [];
  readonly #routings: { probabilities: Float32Array; ids: Int32Array }[] = [];
  readonly #auxiliaryGradient: Float32Array;

  constructor(
    readonly model: MoeModel,
    readonly weights: ReadonlyMap<string, Float32Array>,
    readonly tp: number,
    readonly ids: Int32Array,
    readonly sequence: number,
    readonly gemm: Gemm,
  ) {
    for (const [name, values] of weights) this.gradients.set(name, new Float32Array(values.length));
    this.#auxiliaryGradient = new Float32Array(model.experts);
  }

  get #ranks(): number[] {
    return Array.from({ length: this.tp }, (_, rank) => rank);
  }

  #pair(name: string): { w: Float32Array; dw: Float32Array } {
    const [w, dw] = [this.weights.get(name), this.gradients.get(name)];
    if (w === undefined || dw === undefined) throw new RangeError(name);
    return { w, dw };
  }

  /** A norm of whole rows, on every rank alike. `x.d` collects gradients. */
  #norm(x: Value, name: string): Value {
    const { w, dw } = this.#pair(name);
    const shape = { rows: this.ids.length, width: w.length, epsilon: this.model.rmsNormEps };
    const y = value(x.v.length);
    const inverse = floats(shape.rows);
    rmsNormForward({ shape, x: x.v, weight: w, y: y.v, inverseRms: inverse });
    this.#backwards.push(() => {
      rmsNormBackward({ shape, x: x.v, weight: w, inverseRms: inverse, dy: y.d, dx: x.d, dweight: dw, addDx: true });
    });
    return y;
  }

  /** x += part, the residual stream. */
  #residual(x: Value, part: Value): Value {
    const y = value(x.v.length);
    y.v.set(x.v);
    addTo(y.v, part.v);
    this.#backwards.push(() => {
      addTo(part.d, y.d);
      addTo(x.d, y.d);
    });
    return y;
  }

  /**
   * Query or key norm in place over the ranks' columns; keeps what the backward needs. Returns the backward, in place
   * on the gradient.
   */
  #queryKeyNorm(name: string, xs: Float32Array[], firsts: number[], replicas: number): (ds: Float32Array[]) => void {
    const { model } = this;
    const { w, dw } = this.#pair(name);
    const rows = this.ids.length;
    const inputs = xs.map((x) => x.slice());
    const inverses = xs.map((x) => floats(x.length));
    if (model.qkNorm === 'perHead') {
      const shape = { rows: xs[0].length / model.headDim, width: model.headDim, epsilon: model.rmsNormEps };
      xs.forEach((x, rank) => {
        rmsNormForward({ shape, x: inputs[rank], weight: w, y: x, inverseRms: inverses[rank] });
      });
      return (ds) => {
        ds.forEach((d, rank) => {
          rmsNormBackward({ shape, x: inputs[rank], weight: w, inverseRms: inverses[rank], dy: d, dx: d, dweight: dw });
        });
      };
    }
    const width = xs[0].length / rows;
    const shape = { rows, width, fullWidth: w.length, epsilon: model.rmsNormEps, share: 1 / replicas };
    const part = (values: Float32Array, rank: number): Float32Array =>
      values.subarray(firsts[rank] * model.headDim, firsts[rank] * model.headDim + width);
    const reduce = (act: (rank: number, out: Float32Array) => void): Float32Array =>
      total(
        xs.map((_, rank) => {
          const out = floats(rows);
          act(rank, out);
          return out;
        }),
      );
    const squares = reduce((rank, out) => {
      splitNormSquares(shape, inputs[rank], out);
    });
    xs.forEach((x, rank) => {
      splitNormApply({ shape, x: inputs[rank], weight: part(w, rank), squares, y: x, inverseRms: inverses[rank] });
    });
    return (ds) => {
      const dots = reduce((rank, out) => {
        splitNormDot({ shape, x: inputs[rank], weight: part(w, rank), dy: ds[rank], dots: out });
      });
      ds.forEach((d, rank) => {
        splitNormBackward({
          shape,
          x: inputs[rank],
          weight: part(w, rank),
          inverseRms: inverses[rank],
          dots,
          dy: d,
          dx: d,
          dweight: part(dw, rank),
        });
      });
    };
  }

  #attention(x: Value, prefix: string): Value {
    const { model, tp, sequence } = this;
    const rows = this.ids.length;
    const { hiddenSize: hidden, headDim } = model;
    const y = value(rows * hidden);
    const shares = this.#ranks.map((rank) => headShare(model.attentionHeads, model.keyValueHeads, tp, rank));
    const { heads, kvHeads, kvReplicas } = shares[0];
    const table = ropeTable(sequence, headDim, model.ropeTheta);
    const shape = { batch: rows / sequence, sequence, heads, kvHeads, headDim };
    const projections = (
      [
        ['q', heads, shares.map((share) => share.firstHead), 1],
        ['k', kvHeads, shares.map((share) => share.firstKvHead), kvReplicas],
        ['v', kvHeads, shares.map((share) => share.firstKvHead), kvReplicas],
      ] as const
    ).map(([name, count, firsts, replicas]) => {
      const { w, dw } = this.#pair(`${prefix}.${name}_proj.weight`);
      const linear = { rows, inputs: hidden, outputs: count * headDim };
      const range = (values: Float32Array, rank: number): Float32Array =>
        values.subarray(firsts[rank] * headDim * hidden, (firsts[rank] + count) * headDim * hidden);
      const out = this.#ranks.map((rank) => {
        const local = floats(rows * linear.outputs);
        linearForward({ gemm: this.gemm, shape: linear, x: x.v, weight: range(w, rank), y: local });
        return local;
      });
      const normBackward =
        model.qkNorm === 'none' || name === 'v'
          ? undefined
          : this.#queryKeyNorm(`${prefix}.${name}_norm.weight`, out, firsts, replicas);
      if (name !== 'v') for (const local of out) ropeForward(table, local, { rows, heads: count, sequence });
      const d = out.map((local) => floats(local.length));
      const backward = (): void => {
        if (name !== 'v') for (const local of d) ropeBackward(table, local, { rows, heads: count, sequence });
        normBackward?.(d);
        for (const rank of this.#ranks) {
          linearInputGrad({ gemm: this.gemm, shape: linear, dy: d[rank], weight: range(w, rank), dx: x.d, add: true });
          linearWeightGrad({ gemm: this.gemm, shape: linear, dy: d[rank], x: x.v, dweight: range(dw, rank) });
        }
      };
      return { out, d, backward };
    });
    const [q, k, v] = projections;
    const { w, dw } = this.#pair(`${prefix}.o_proj.weight`);
    const width = heads * headDim;
    const output = { rows, inputs: width, outputs: hidden };
    const scratch = floats(attentionScratch(shape));
    const saved = this.#ranks.map((rank) => {
      const out = floats(rows * width);
      const logSum = floats(rows * heads);
      attentionForward({
        gemm: this.gemm,
        shape,
        q: q.out[rank],
        k: k.out[rank],
        v: v.out[rank],
        out,
        logSum,
        scratch,
      });
      const local = take(w, tp * width, rank * width, width);
      linearForward({ gemm: this.gemm, shape: output, x: out, weight: local, y: y.v, add: rank > 0 });
      return { out, logSum, local };
    });
    this.#backwards.push(() => {
      saved.forEach(({ out, logSum, local }, rank) => {
        const dlocal = new Float32Array(local.length);
        linearWeightGrad({ gemm: this.gemm, shape: output, dy: y.d, x: out, dweight: dlocal });
        give(dlocal, dw, tp * width, rank * width, width);
        const dout = floats(out.length);
        linearInputGrad({ gemm: this.gemm, shape: output, dy: y.d, weight: local, dx: dout });
        const [qr, kr, vr] = [q.out[rank], k.out[rank], v.out[rank]];
        attentionBackward({
          gemm: this.gemm,
          shape,
          q: qr,
          k: kr,
          v: vr,
          out,
          logSum,
          dout,
          dq: q.d[rank],
          dk: k.d[rank],
          dv: v.d[rank],
          scratch,
        });
      });
      for (const { backward } of projections) backward();
    });
    return y;
  }

  #experts(given: Omit<LockstepExperts, 'gemm' | 'tp' | 'hidden'>): Value {
    const { gemm, tp, model } = this;
    const { y, backward } = lockstepExperts({ gemm, tp, hidden: model.hiddenSize, ...given });
    this.#backwards.push(backward);
    return y;
  }

  #moe(x: Value, prefix: string): Value {
    const { model } = this;
    const { hiddenSize: hidden, experts, topK: picks } = model;
    const tokens = this.ids.length;
    const gate = this.#pair(`${prefix}.gate.weight`);
    const shape = { tokens, experts, picks, renormalise: model.normTopK };
    const linear = { rows: tokens, inputs: hidden, outputs: experts };
    const [logits, probabilities] = [floats(tokens * experts), floats(tokens * experts)];
    const [ids, weights] = [new Int32Array(tokens * picks), floats(tokens * picks)];
    linearForward({ gemm: this.gemm, shape: linear, x: x.v, weight: gate.w, y: logits });
    moe.routerSoftmax(shape, logits, probabilities);
    moe.routerTopK(shape, probabilities, ids, weights);
    this.#routings.push({ probabilities, ids });
    const order = moe.buildPermutation({ ids, kept: undefined, tokens, picks, experts });
    const moves = moe.chunkMoves(order.counts, moe.sendOrder(experts, 1), 0, 1);
    const [rows, drows] = [floats(order.rows * hidden), new Float32Array(order.rows * hidden)];
    moe.packTokens({ permutation: order, moves, width: hidden, tokens: x.v, packed: rows });
    const y = value(x.v.length);
    this.#backwards.push(() => {
      moe.combineRows({
        permutation: order,
        tokens,
        picks,
        width: hidden,
        rows: drows,
        weights: undefined,
        y: x.d,
        add: true,
      });
    });
    const [gateUp, down] = [this.#pair(`${prefix}.experts.gate_up_proj`), this.#pair(`${prefix}.experts.down_proj`)];
    const ffn = model.expertFfn;
    const out = this.#experts({ x: rows, dx: drows, counts: order.counts, gateUp, down, ffn });
    moe.combineRows({ permutation: order, tokens, picks, width: hidden, rows: out.v, weights, y: y.v });
    this.#backwards.push(() => {
      const [dweights, dlogits] = [floats(tokens * picks), floats(tokens * experts)];
      moe.combineRowGrad({ permutation: order, moves, width: hidden, weights, dy: y.d, packed: out.d });
      moe.combineWeightGrad({ permutation: order, tokens, picks, width: hidden, rows: out.v, dy: y.d, dweights });
      moe.routerBackward({ shape, probabilities, ids, dweights, auxiliary: this.#auxiliaryGradient, dlogits });
      linearInputGrad({ gemm: this.gemm, shape: linear, dy: dlogits, weight: gate.w, dx: x.d, add: true });
      linearWeightGrad({ gemm: this.gemm, shape: linear, dy: dlogits, x: x.v, dweight: gate.dw });
    });
    return y;
  }

  #dense(x: Value, prefix: string): Value {
    const { denseFfn: ffn, hiddenSize: hidden } = this.model;
    const [gate, up] = [this.#pair(`${prefix}.gate_proj.weight`), this.#pair(`${prefix}.up_proj.weight`)];
    const fused = { w: Float32Array.from([...gate.w, ...up.w]), dw: new Float32Array(2 * ffn * hidden) };
    this.#backwards.push(() => {
      addTo(gate.dw, fused.dw.subarray(0, ffn * hidden));
      addTo(up.dw, fused.dw.subarray(ffn * hidden));
    });
    const counts = Int32Array.of(this.ids.length);
    const down = this.#pair(`${prefix}.down_proj.weight`);
    return this.#experts({ x: x.v, dx: x.d, counts, gateUp: fused, down, ffn });
  }

  /** Logits (gathered) and loss; fills `gradients`. */
  run(): { logits: Float32Array; loss: number; auxiliaryLoss: number } {
    const { model, ids, sequence, tp } = this;
    const { hiddenSize: hidden, vocabSize } = model;
    const rows = ids.length;
    const table = this.#pair('model.embed_tokens.weight');
    const shares = this.#ranks.map((rank) => {
      const first = Math.floor((vocabSize * rank) / tp);
      return { first, count: Math.floor((vocabSize * (rank + 1)) / tp) - first };
    });
    const range = (values: Float32Array, rank: number): Float32Array =>
      values.subarray(shares[rank].first * hidden, (shares[rank].first + shares[rank].count) * hidden);
    let x = value(rows * hidden);
    shares.forEach((share, rank) => {
      const part = floats(rows * hidden);
      embeddingForward({ share, hidden, ids, weight: range(table.w, rank), out: part });
      addTo(x.v, part);
    });
    const embedded = x;
    for (let layer = 0; layer < model.layers; layer++) {
      const prefix = `model.layers.${layer}`;
      x = this.#residual(x, this.#attention(this.#norm(x, `${prefix}.input_layernorm.weight`), `${prefix}.self_attn`));
      const normed = this.#norm(x, `${prefix}.post_attention_layernorm.weight`);
      x = this.#residual(
        x,
        model.moeLayers[layer] ? this.#moe(normed, `${prefix}.mlp`) : this.#dense(normed, `${prefix}.mlp`),
      );
    }
    const final = this.#norm(x, 'model.norm.weight');
    const head = model.tieEmbeddings ? table : this.#pair('lm_head.weight');
    const linears = shares.map(({ count }) => ({ rows, inputs: hidden, outputs: count }));
    const targets = new Int32Array(rows);
    const counted = entropy.shiftLabels(ids, rows / sequence, sequence, targets);
    const parts = shares.map((share, rank) => {
      const [logits, largest] = [floats(rows * share.count), floats(rows)];
      linearForward({ gemm: this.gemm, shape: linears[rank], x: final.v, weight: range(head.w, rank), y: logits });
      entropy.crossEntropyMax(share, rows, logits, largest);
      return { logits, largest };
    });
    const largest = parts[0].largest.map((_, row) => maxOf(parts.map((part) => part.largest[row])));
    const sums = total(
      parts.map(({ logits }, rank) => {
        const local = floats(2 * rows);
        entropy.crossEntropySums({ share: shares[rank], rows, logits, targets, largest, sums: local });
        return local;
      }),
    );
    const gathered = new Float32Array(rows * vocabSize);
    parts.forEach(({ logits }, rank) => {
      give(logits, gathered, vocabSize, shares[rank].first, shares[rank].count);
    });

    const [counts, probabilitySums] = [new Float32Array(model.experts), new Float32Array(model.experts)];
    const pooled = this.#routings.length * rows;
    for (const { probabilities, ids: picked } of this.#routings) {
      const shape = { tokens: rows, experts: model.experts, picks: model.topK, renormalise: model.normTopK };
      moe.addAuxiliaryStatistics({ shape, probabilities, ids: picked, counts, probabilitySums });
    }
    const auxiliary = moe.auxiliaryLoss(counts, probabilitySums, pooled);
    if (pooled > 0) moe.auxiliaryGradient(counts, pooled, model.auxLossCoefficient, this.#auxiliaryGradient);

    parts.forEach(({ logits }, rank) => {
      entropy.crossEntropyGrad({
        share: shares[rank],
        rows,
        logits,
        targets,
        largest,
        sums,
        scale: 1 / counted,
        dlogits: logits,
      });
      linearInputGrad({
        gemm: this.gemm,
        shape: linears[rank],
        dy: logits,
        weight: range(head.w, rank),
        dx: final.d,
        add: true,
      });
      linearWeightGrad({
        gemm: this.gemm,
        shape: linears[rank],
        dy: logits,
        x: final.v,
        dweight: range(head.dw, rank),
      });
    });
    for (const backward of this.#backwards.reverse()) backward();
    shares.forEach((share, rank) => {
      embeddingBackward({
        share,
        hidden,
        ids,
        dout: embedded.d,
        dweight: range(table.dw, rank),
        paddingId: model.padTokenId,
      });
    });
    const loss = entropy.crossEntropyLoss(rows, targets, sums) / counted + model.auxLossCoefficient * auxiliary;
    return { logits: gathered, loss, auxiliaryLoss: auxiliary };
  }
}
