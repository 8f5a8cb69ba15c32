/**
 * gpt-oss' activation (transformers' GptOssExperts): with g = min(gate, limit) and u = up bounded to [-limit, limit], y
 * = (u + 1) * g * sigmoid(alpha * g). Rows hold gates, then ups, as those of `experts.ts`. Where a bound holds, no
 * gradient passes.
 */
import type { ClampedSwiglu } from '@monta/core';
import { exponential } from '../transformer/exponential.js';

interface ClampedRow {
  readonly clamp: ClampedSwiglu;
  readonly ffn: number;
  readonly row: number;
  readonly gateUpRows: Float32Array;
}

export interface ClampedOutput extends ClampedRow {
  readonly activated: Float32Array;
}

/** One row of gates and ups, [2 * ffn], into one of activated, [ffn]. */
export function clampedSwiglu({ clamp, ffn, row, gateUpRows, activated }: ClampedOutput): void {
  const { alpha, limit } = clamp;
  for (let i = 0; i < ffn; i++) {
    const gate = Math.min(gateUpRows[2 * row * ffn + i], limit);
    const up = Math.max(-limit, Math.min(limit, gateUpRows[(2 * row + 1) * ffn + i]));
    activated[row * ffn + i] = ((up + 1) * gate) / (1 + exponential(-alpha * gate));
  }
}

export interface ClampedGradient extends ClampedRow {
  readonly dactivated: Float32Array;
  /** Overwritten; may be gateUpRows. */
  readonly dgateUpRows: Float32Array;
}

/** The gradient of one row's gates and ups. */
export function clampedSwigluGrad({ clamp, ffn, row, gateUpRows, dactivated, dgateUpRows }: ClampedGradient): void {
  const { alpha, limit } = clamp;
  for (let i = 0; i < ffn; i++) {
    const [gateAt, upAt] = [2 * row * ffn + i, (2 * row + 1) * ffn + i];
    const [rawGate, rawUp] = [gateUpRows[gateAt], gateUpRows[upAt]];
    const gate = Math.min(rawGate, limit);
    const up = Math.max(-limit, Math.min(limit, rawUp));
    const sigmoid = 1 / (1 + exponential(-alpha * gate));
    const dy = dactivated[row * ffn + i];
    dgateUpRows[gateAt] = rawGate > limit ? 0 : dy * (up + 1) * sigmoid * (1 + alpha * gate * (1 - sigmoid));
    dgateUpRows[upAt] = Math.abs(rawUp) > limit ? 0 : dy * gate * sigmoid;
  }
}
