/**
 * Rotary frequencies as Hugging Face computes them, default and rescaled (transformers' `ROPE_INIT_FUNCTIONS`). Every
 * step is rounded to float32 as there: at large positions that rounding is far above the tolerance of a comparison.
 */
import type { RopeScaling } from '@monta/core';

const f = Math.fround;

export interface RopeFrequencies {
  /** width / 2 of them. */
  readonly frequencies: Float32Array;
  /** By which cosines and sines are multiplied. */
  readonly attentionFactor: number;
}

/** theta^(2i / width) for i from 0 to width / 2 - 1. */
const periods = (width: number, theta: number): Float32Array =>
  Float32Array.from({ length: width / 2 }, (_, i) => theta ** f((2 * i) / width));

type Yarn = Extract<RopeScaling, { kind: 'yarn' }>;
type Llama = Extract<RopeScaling, { kind: 'llama3' }>;

/** Dimensions between which yarn goes from keeping frequencies to dividing them (arXiv 2309.00071, 3.2). */
function yarnRange(width: number, theta: number, { betaFast, betaSlow, originalPositions, truncate }: Yarn) {
  const dimension = (rotations: number): number =>
    (width * Math.log(originalPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const [low, high] = [dimension(betaFast), dimension(betaSlow)];
  const from = Math.max(truncate ? Math.floor(low) : low, 0);
  const to = Math.min(truncate ? Math.ceil(high) : high, width - 1);
  return { from, to: from === to ? to + 0.001 : to };
}

function yarn(width: number, theta: number, scaling: Yarn): Float32Array {
  const { from, to } = yarnRange(width, theta, scaling);
  return periods(width, theta).map((period, i) => {
    const ramp = Math.min(1, Math.max(0, f(f(i - from) / f(to - from))));
    const kept = f(1 - ramp);
    return f(f(1 / f(scaling.factor * period)) * f(1 - kept)) + f(f(1 / period) * kept);
  });
}

function llama3(plain: Float32Array, { factor, lowFactor, highFactor, originalPositions }: Llama): Float32Array {
  return plain.map((frequency) => {
    const wavelength = f((2 * Math.PI) / frequency);
    if (wavelength < originalPositions / highFactor) return frequency;
    if (wavelength > originalPositions / lowFactor) return f(frequency / factor);
    const smooth = f((originalPositions / wavelength - lowFactor) / (highFactor - lowFactor));
    return f(f((1 - smooth) * frequency) / factor) + f(smooth * frequency);
  });
}

/** Frequencies of `width` rotated elements. Throws RangeError for an odd width. */
export function ropeFrequencies(width: number, theta: number, scaling?: RopeScaling): RopeFrequencies {
  if (width % 2 !== 0) throw new RangeError(`rope needs an even head dimension, got ${width}`);
  const plain = periods(width, theta).map((period) => 1 / period);
  switch (scaling?.kind) {
    case undefined:
      return { frequencies: plain, attentionFactor: 1 };
    case 'linear':
      return { frequencies: plain.map((frequency) => frequency / scaling.factor), attentionFactor: 1 };
    case 'yarn':
      return { frequencies: yarn(width, theta, scaling), attentionFactor: scaling.attentionFactor };
    case 'llama3':
      return { frequencies: llama3(plain, scaling), attentionFactor: 1 };
  }
}
