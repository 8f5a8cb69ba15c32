/**
 * Rotary frequencies of the reference: the formulas of transformers' `modeling_rope_utils.py` in float64, rounded to
 * float32 once, at the end (there every step is).
 */
import type { MoeModel } from '@monta/core';
import type { Rotation } from './reference-tape.js';

export function rotationOf(
  {
    ropeTheta: theta,
    ropeScaling,
    ropeInterleaved: interleaved = false,
  }: Pick<MoeModel, 'ropeTheta' | 'ropeScaling'> & Partial<Pick<MoeModel, 'ropeInterleaved'>>,
  width: number,
): Rotation {
  const plain = Array.from({ length: width / 2 }, (_, i) => theta ** ((-2 * i) / width));
  const scaled = (change: (frequency: number, i: number) => number, factor = 1): Rotation => ({
    frequencies: plain.map((frequency, i) => Math.fround(change(frequency, i))),
    factor,
    interleaved,
  });
  if (ropeScaling === undefined)
    // What Hugging Face rounds on the way is above what a comparison tolerates at large positions only.
    return {
      frequencies: plain.map((_, i) => Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / width)))),
      factor: 1,
      interleaved,
    };
  const { factor } = ropeScaling;
  if (ropeScaling.kind === 'linear') return scaled((frequency) => frequency / factor);
  const { originalPositions: positions } = ropeScaling;
  if (ropeScaling.kind === 'llama3') {
    const { lowFactor, highFactor } = ropeScaling;
    return scaled((frequency) => {
      const turns = (positions * frequency) / (2 * Math.PI);
      const share = Math.min(1, Math.max(0, (turns - lowFactor) / (highFactor - lowFactor)));
      return share * frequency + ((1 - share) * frequency) / factor;
    });
  }
  // The (real) index of the pair that turns `turns` times within the original positions.
  const pairOf = (turns: number): number =>
    ((width / 2) * Math.log(positions / (2 * Math.PI * turns))) / Math.log(theta);
  const [fast, slow] = [2 * pairOf(ropeScaling.betaFast), 2 * pairOf(ropeScaling.betaSlow)].map(
    (dimension) => dimension / 2,
  );
  const low = Math.max(0, ropeScaling.truncate ? Math.floor(fast) : fast);
  const high = Math.min(width - 1, ropeScaling.truncate ? Math.ceil(slow) : slow);
  return scaled((frequency, i) => {
    const divided = Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
    return (frequency / factor) * divided + frequency * (1 - divided);
  }, ropeScaling.attentionFactor);
}
