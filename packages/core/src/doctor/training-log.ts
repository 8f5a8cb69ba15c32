/** The speed that a training log prints: of Megatron-LM, NeMo, torchtitan. */
import { median } from '../units/index.js';
import type { ToldSpeed } from './explain-speed.js';

const number = String.raw`([\d.,]+(?:[eE][+-]?\d+)?)`;

/** Patterns of a line of progress, and what their number is. */
const patterns: readonly (readonly [RegExp, (value: number) => ToldSpeed])[] = [
  [new RegExp(`elapsed time per iteration \\(ms\\):\\s*${number}`, 'u'), (ms) => ({ stepSeconds: ms / 1e3 })],
  [new RegExp(`train_step_timing in s[^\\d]{1,6}${number}`, 'u'), (seconds) => ({ stepSeconds: seconds })],
  [new RegExp(`Step Time\\s*:\\s*${number}\\s*s`, 'u'), (seconds) => ({ stepSeconds: seconds })],
  [new RegExp(`\\btps:\\s*${number}`, 'u'), (tokens) => ({ tokensPerSecond: tokens })],
  [new RegExp(`throughput per GPU \\(TFLOP/s/GPU\\):\\s*${number}`, 'u'), (tera) => ({ flopsPerSecond: tera * 1e12 })],
];

/** Steps at the start, of which compilation and warm-up are a part. */
const warmUp = 2;

/** The median of the steps that a log tells, without the first; undefined for a log that tells none. */
export function speedOfLog(text: string): ToldSpeed | undefined {
  const lines = text.split('\n');
  for (const [pattern, told] of patterns) {
    const values = lines.flatMap((line) => {
      const value = Number(pattern.exec(line)?.[1]?.replaceAll(',', ''));
      return value > 0 ? [value] : [];
    });
    if (values.length > 0) return told(median(values.length > 2 * warmUp ? values.slice(warmUp) : values));
  }
  return undefined;
}
