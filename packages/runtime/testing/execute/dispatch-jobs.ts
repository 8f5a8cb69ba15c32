/** Dispatch alone as tests measure it: odd sizes, skewed routing. */
import type { Layout, MoeShape, Strategy } from '@monta/core';
import type { DispatchJob } from '#runtime/execute/measure-dispatch.js';

export const dispatchShape = (layout: Layout, more: Partial<MoeShape> = {}): MoeShape => ({
  tokens: 37,
  hiddenSize: 12,
  expertFfn: 8,
  experts: 8,
  topK: 3,
  layout,
  dtype: 'f32',
  ...more,
});

/** Both passes once, without a trace. */
export const dispatchJob = (shape: MoeShape, strategy: Strategy): DispatchJob => ({
  shape,
  strategy,
  passes: ['forward', 'backward'],
  routing: { kind: 'zipf', exponent: 1, seed: 3 },
  seed: 11,
  warmUps: 0,
  repetitions: 1,
  trace: false,
});
