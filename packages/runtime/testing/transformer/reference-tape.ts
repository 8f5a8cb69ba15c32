/**
 * The operations of the one-rank reference as plain float64 loops, each with its backward beside it. A tape remembers
 * the backwards and runs them in reverse. Nothing here is shared with the kernels that it checks.
 */
import { maxOf } from '@monta/core';

/** A matrix with its gradient. */
export interface Matrix {
  readonly rows: number;
  readonly width: number;
  readonly value: Float64Array;
  readonly gradient: Float64Array;
}

export function matrix(rows: number, width: number, value: Float64Array = new Float64Array(rows * width)): Matrix {
  return { rows, width, value, gradient: new Float64Array(rows * width) };
}

export class Tape {
  readonly #backwards: (() => void)[] = [];

  push(backward: () => void): void {
    this.#backwards.push(backward);
  }

  run(): void {
    for (const backward of this.#backwards.reverse()) backward();
  }
}

/** x W^T + bias; weight: outputs x inputs, bias: 1 x outputs. */
export function linear(tape: Tape, x: Matrix, weight: Matrix, bias?: Matrix): Matrix {
  const y = matrix(x.rows, weight.rows);
  const inputs = x.width;
  for (let r = 0; r < x.rows; r++)
    for (let o = 0; o < weight.rows; o++) {
      let sum = bias === undefined ? 0 : bias.value[o];
      for (let i = 0; i < inputs; i++) sum += x.value[r * inputs + i] * weight.value[o * inputs + i];
      y.value[r * y.width + o] = sum;
    }
  tape.push(() => {
    for (let r = 0; r < x.rows; r++)
      for (let o = 0; o < weight.rows; o++) {
        const dy = y.gradient[r * y.width + o];
        if (bias !== undefined) bias.gradient[o] += dy;
        for (let i = 0; i < inputs; i++) {
          x.gradient[r * inputs + i] += dy * weight.value[o * inputs + i];
          weight.gradient[o * inputs + i] += dy * x.value[r * inputs + i];
        }
      }
  });
  return y;
}

export function add(tape: Tape, a: Matrix, b: Matrix): Matrix {
  const y = matrix(
    a.rows,
    a.width,
    a.value.map((value, i) => value + b.value[i]),
  );
  tape.push(() => {
    y.gradient.forEach((dy, i) => {
      a.gradient[i] += dy;
      b.gradient[i] += dy;
    });
  });
  return y;
}

/** RMSNorm of every group of weight.width elements (a whole row, or one head). */
export function rmsNorm(tape: Tape, x: Matrix, weight: Matrix, epsilon: number): Matrix {
  const y = matrix(x.rows, x.width);
  const n = weight.width;
  const roots = new Float64Array(x.value.length / n);
  for (let group = 0; group < roots.length; group++) {
    let squares = 0;
    for (let i = 0; i < n; i++) squares += x.value[group * n + i] ** 2;
    roots[group] = Math.sqrt(squares / n + epsilon);
    for (let i = 0; i < n; i++) y.value[group * n + i] = (weight.value[i] * x.value[group * n + i]) / roots[group];
  }
  tape.push(() => {
    for (let group = 0; group < roots.length; group++) {
      const root = roots[group];
      for (let i = 0; i < n; i++) {
        const dy = y.gradient[group * n + i];
        weight.gradient[i] += (dy * x.value[group * n + i]) / root;
        // y_i = w_i x_i / root, d root / d x_j = x_j / (n root)
        x.gradient[group * n + i] += (dy * weight.value[i]) / root;
        for (let j = 0; j < n; j++)
          x.gradient[group * n + j] -=
            (dy * weight.value[i] * x.value[group * n + i] * x.value[group * n + j]) / (n * root ** 3);
      }
    }
  });
  return y;
}

/** Limits every element to [-limit, limit] (OLMoE's `clip_qkv`). */
export function clamp(tape: Tape, x: Matrix, limit: number): Matrix {
  const y = matrix(
    x.rows,
    x.width,
    x.value.map((value) => Math.max(-limit, Math.min(limit, value))),
  );
  tape.push(() => {
    y.gradient.forEach((dy, i) => {
      if (Math.abs(x.value[i]) <= limit) x.gradient[i] += dy;
    });
  });
  return y;
}

/** How positions turn: frequencies of the pairs, and a factor on cosines and sines. */
export interface Rotation {
  readonly frequencies: readonly number[];
  readonly factor: number;
  /** Pairs (2i, 2i + 1) instead of (i, i + frequencies.length). */
  readonly interleaved?: boolean;
}

/** Rotary embedding of the first elements of every head, two for each frequency; rows are [batch, sequence]. */
export function rope(tape: Tape, x: Matrix, headDim: number, sequence: number, rotation: Rotation): Matrix {
  const y = matrix(x.rows, x.width, x.value.slice());
  const half = rotation.frequencies.length;
  const [step, apart] = rotation.interleaved === true ? [2, 1] : [1, half];
  const visit = (act: (low: number, high: number, cosine: number, sine: number) => void): void => {
    for (let r = 0; r < x.rows; r++)
      for (let head = 0; head < x.width / headDim; head++)
        for (let i = 0; i < half; i++) {
          // float32 frequencies and angles are part of what Hugging Face computes
          const angle = Math.fround((r % sequence) * rotation.frequencies[i]);
          const low = r * x.width + head * headDim + step * i;
          act(low, low + apart, rotation.factor * Math.cos(angle), rotation.factor * Math.sin(angle));
        }
  };
  visit((low, high, cosine, sine) => {
    y.value[low] = x.value[low] * cosine - x.value[high] * sine;
    y.value[high] = x.value[high] * cosine + x.value[low] * sine;
  });
  tape.push(() => {
    const turned = y.gradient.slice();
    visit((low, high, cosine, sine) => {
      turned[low] = y.gradient[low] * cosine + y.gradient[high] * sine;
      turned[high] = y.gradient[high] * cosine - y.gradient[low] * sine;
    });
    turned.forEach((value, i) => {
      x.gradient[i] += value;
    });
  });
  return y;
}

/** What attention depends on besides queries, keys and values. */
export interface AttentionOptions {
  /** Width of a query and of a key. */
  readonly headDim: number;
  /** Width of a value; `headDim` when left out. */
  readonly valueDim?: number;
  /** Factor on scores beside 1 / sqrt(headDim). */
  readonly scoreScaling?: number;
  readonly sequence: number;
  /** As Hugging Face's sliding window; Infinity for none. */
  readonly window: number;
  /** 1 x heads: logits that take part in every softmax and have no value. */
  readonly sinks?: Matrix | undefined;
}

/** Causal attention; query head j reads key/value head floor(j / (heads / kvHeads)). */
export function attention(
  tape: Tape,
  q: Matrix,
  k: Matrix,
  v: Matrix,
  { headDim, valueDim = headDim, scoreScaling = 1, sequence, window, sinks }: AttentionOptions,
): Matrix {
  const heads = q.width / headDim;
  const out = matrix(q.rows, heads * valueDim);
  const group = heads / (k.width / headDim);
  const scale = scoreScaling / Math.sqrt(headDim);
  for (let row = 0; row < q.rows; row++) {
    const start = row - (row % sequence);
    const first = Math.max(start, row - window + 1);
    for (let head = 0; head < heads; head++) {
      const qAt = row * q.width + head * headDim;
      const kAt = (key: number): number => key * k.width + Math.floor(head / group) * headDim;
      const outAt = row * out.width + head * valueDim;
      const vAt = (key: number): number => key * v.width + Math.floor(head / group) * valueDim;
      const weights: number[] = [];
      for (let key = first; key <= row; key++) {
        let score = 0;
        for (let i = 0; i < headDim; i++) score += q.value[qAt + i] * k.value[kAt(key) + i];
        weights.push(score * scale);
      }
      const sink = sinks?.value[head] ?? -Infinity;
      const largest = Math.max(sink, maxOf(weights));
      const exponentials = weights.map((score) => Math.exp(score - largest));
      const sum = exponentials.reduce((total, value) => total + value, Math.exp(sink - largest));
      const p = exponentials.map((value) => value / sum);
      for (let key = first; key <= row; key++)
        for (let i = 0; i < valueDim; i++) out.value[outAt + i] += p[key - first] * v.value[vAt(key) + i];
      tape.push(() => {
        const dp = p.map((_, j) => {
          let dot = 0;
          for (let i = 0; i < valueDim; i++) {
            dot += out.gradient[outAt + i] * v.value[vAt(first + j) + i];
            v.gradient[vAt(first + j) + i] += p[j] * out.gradient[outAt + i];
          }
          return dot;
        });
        const mean = dp.reduce((total, value, j) => total + value * p[j], 0);
        if (sinks !== undefined) sinks.gradient[head] -= (Math.exp(sink - largest) / sum) * mean;
        dp.forEach((value, j) => {
          const ds = p[j] * (value - mean) * scale;
          for (let i = 0; i < headDim; i++) {
            q.gradient[qAt + i] += ds * k.value[kAt(first + j) + i];
            k.gradient[kAt(first + j) + i] += ds * q.value[qAt + i];
          }
        });
      });
    }
  }
  return out;
}

/**
 * gpt-oss: g = min(gate, limit), u = up within [-limit, limit]; (u + 1) * g * sigmoid(alpha * g), element by element.
 */
export function clampedSwiglu(
  tape: Tape,
  gate: Matrix,
  up: Matrix,
  { alpha, limit }: { readonly alpha: number; readonly limit: number },
): Matrix {
  const y = matrix(gate.rows, gate.width);
  const parts = (i: number) => {
    const g = Math.min(gate.value[i], limit);
    return { g, u: Math.max(-limit, Math.min(limit, up.value[i])), s: 1 / (1 + Math.exp(-alpha * g)) };
  };
  for (let i = 0; i < y.value.length; i++) {
    const { g, u, s } = parts(i);
    y.value[i] = (u + 1) * g * s;
  }
  tape.push(() => {
    y.gradient.forEach((dy, i) => {
      const { g, u, s } = parts(i);
      if (gate.value[i] <= limit) gate.gradient[i] += dy * (u + 1) * (s + alpha * g * s * (1 - s));
      if (Math.abs(up.value[i]) <= limit) up.gradient[i] += dy * g * s;
    });
  });
  return y;
}

/** silu(gate) * up, element by element. */
export function swiglu(tape: Tape, gate: Matrix, up: Matrix): Matrix {
  const y = matrix(gate.rows, gate.width);
  gate.value.forEach((g, i) => {
    y.value[i] = (g / (1 + Math.exp(-g))) * up.value[i];
  });
  tape.push(() => {
    gate.value.forEach((g, i) => {
      const sigmoid = 1 / (1 + Math.exp(-g));
      gate.gradient[i] += y.gradient[i] * up.value[i] * (sigmoid + g * sigmoid * (1 - sigmoid));
      up.gradient[i] += y.gradient[i] * g * sigmoid;
    });
  });
  return y;
}

/** Some columns of every group of `width` columns, which lie beside each other in the result. */
export function columns(
  tape: Tape,
  x: Matrix,
  { width, first, count }: { readonly width: number; readonly first: number; readonly count: number },
): Matrix {
  const y = matrix(x.rows, (x.width / width) * count);
  const from = (i: number): number => Math.floor(i / count) * width + first + (i % count);
  y.value.forEach((_, i) => (y.value[i] = x.value[from(i)]));
  tape.push(() => {
    y.gradient.forEach((dy, i) => {
      x.gradient[from(i)] += dy;
    });
  });
  return y;
}

/** Heads of a and b, `widths` wide each, one behind the other: [a0 b0 a1 b1 ...]; b may have one head for all. */
export function joinHeads(tape: Tape, a: Matrix, b: Matrix, [ofA, ofB]: readonly [number, number]): Matrix {
  const heads = a.width / ofA;
  const y = matrix(a.rows, heads * (ofA + ofB));
  const visit = (act: (to: number, source: Matrix, from: number) => void): void => {
    for (let row = 0; row < a.rows; row++)
      for (let head = 0; head < heads; head++) {
        const to = row * y.width + head * (ofA + ofB);
        for (let i = 0; i < ofA; i++) act(to + i, a, row * a.width + head * ofA + i);
        for (let i = 0; i < ofB; i++) act(to + ofA + i, b, row * b.width + (b.width === ofB ? 0 : head * ofB) + i);
      }
  };
  visit((to, source, from) => (y.value[to] = source.value[from]));
  tape.push(() => {
    visit((to, source, from) => (source.gradient[from] += y.gradient[to]));
  });
  return y;
}

/** 1 / (1 + e^-x), element by element. */
export function sigmoid(tape: Tape, x: Matrix): Matrix {
  const y = matrix(
    x.rows,
    x.width,
    x.value.map((value) => 1 / (1 + Math.exp(-value))),
  );
  tape.push(() => {
    y.value.forEach((s, i) => {
      x.gradient[i] += y.gradient[i] * s * (1 - s);
    });
  });
  return y;
}

/** Every row of x times its factor; factors: rows x 1. */
export function scaleRows(tape: Tape, x: Matrix, factors: Matrix): Matrix {
  const y = matrix(
    x.rows,
    x.width,
    x.value.map((value, i) => value * factors.value[Math.floor(i / x.width)]),
  );
  tape.push(() => {
    y.gradient.forEach((dy, i) => {
      const row = Math.floor(i / x.width);
      x.gradient[i] += dy * factors.value[row];
      factors.gradient[row] += dy * x.value[i];
    });
  });
  return y;
}

export function softmax(tape: Tape, x: Matrix): Matrix {
  const y = matrix(x.rows, x.width);
  for (let r = 0; r < x.rows; r++) {
    const row = x.value.subarray(r * x.width, (r + 1) * x.width);
    const largest = maxOf(row);
    const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0);
    row.forEach((value, i) => {
      y.value[r * x.width + i] = Math.exp(value - largest) / sum;
    });
  }
  tape.push(() => {
    for (let r = 0; r < x.rows; r++)
      for (let i = 0; i < x.width; i++)
        for (let j = 0; j < x.width; j++) {
          const jacobian = y.value[r * x.width + i] * ((i === j ? 1 : 0) - y.value[r * x.width + j]);
          x.gradient[r * x.width + j] += jacobian * y.gradient[r * x.width + i];
        }
  });
  return y;
}

/** Rows of `weight` by id; the row of `paddingId` gets no gradient (PyTorch's `padding_idx`). */
export function embedding(tape: Tape, ids: ArrayLike<number>, weight: Matrix, paddingId: number | undefined): Matrix {
  const y = matrix(ids.length, weight.width);
  for (let r = 0; r < ids.length; r++)
    for (let i = 0; i < weight.width; i++) y.value[r * weight.width + i] = weight.value[ids[r] * weight.width + i];
  tape.push(() => {
    for (let r = 0; r < ids.length; r++)
      if (ids[r] !== paddingId)
        for (let i = 0; i < weight.width; i++)
          weight.gradient[ids[r] * weight.width + i] += y.gradient[r * weight.width + i];
  });
  return y;
}
