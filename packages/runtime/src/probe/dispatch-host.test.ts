import {
  dispatchProgram,
  priceKey,
  spanLabel,
  type MoeShape,
  type Program,
  type Span,
  type Strategy,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { hostOverheads, probeMover } from './dispatch-host.js';
import { measureDispatch } from '../execute/measure-dispatch.js';
import { drawnCounts, probeDispatchKernels } from './dispatch-kernels.js';

const shape: MoeShape = {
  tokens: 64,
  hiddenSize: 16,
  expertFfn: 8,
  experts: 4,
  topK: 2,
  layout: { tp: 2, cp: 1, dp: 2, pp: 1, etp: 2, ep: 2, edp: 1, sequenceParallel: false },
  dtype: 'f32',
};
const strategy: Strategy = { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 1 } };

/**
 * Spans of one rank, one operation after another: collectives take `latency` and `late`, kernels begin `wake` after
 * what they wait for.
 */
function spansOf(program: Program, latency: number, late: number, wake: number): Span[] {
  const spans: Span[] = [];
  program.nodes.forEach(({ template }, node) => {
    let now = 0;
    const operations = program.templates[template].operations;
    for (const operation of operations) {
      const { body } = operation;
      const kernel = body.kind === 'kernel';
      const start = kernel ? now + wake : now;
      const end = start + (kernel ? 0.25 : latency + late);
      const label = spanLabel(program.templates[template], operation);
      spans.push({ step: 0, rank: 0, node, ...label, issued: start, ready: start, end, bytes: 0 });
      now = end;
    }
  });
  return spans;
}

describe('probes of the host', () => {
  it('tell what the mover and a sleeping rank add to spans that are known', () => {
    const program = dispatchProgram(shape, strategy, ['backward']);
    const spans = spansOf(program, 2, 0.5, 0.125);
    const overheads = hostOverheads(program, spans, () => 2);
    expect(overheads.delaySeconds).toBe(0.5);
    // packing begins at once, so the first exchange is ready after it
    expect(overheads.startSeconds).toBeGreaterThan(0);
    // other operations ran between some kernels and what they come after
    expect(overheads.wakeSeconds).toBeGreaterThanOrEqual(0.125);
    // a mover can't be early: what the network takes by itself is no overhead
    expect(hostOverheads(program, spans, () => 3).delaySeconds).toBe(0);
  });

  it('draw the counts that real ranks exchange', async () => {
    const routing = { kind: 'zipf', exponent: 1 } as const;
    const [measured] = await measureDispatch({
      jobs: [{ shape, strategy, passes: ['forward'], routing, seed: 5, warmUps: 0, repetitions: 1, trace: false }],
    });
    expect(drawnCounts({ shape, routing, seed: 5 })).toEqual(measured.counts[0]);
  });

  it('give a rate for every kernel of the program, and one for the mover', async () => {
    const rates = await probeDispatchKernels({
      shape,
      strategies: [strategy],
      routing: { kind: 'uniform' },
      seed: 1,
      warmUps: 1,
      repetitions: 2,
    });
    const program = dispatchProgram(shape, strategy, ['forward', 'backward']);
    const names = Object.values(program.templates).flatMap(({ operations }) =>
      operations.flatMap(({ body, uses }) => (body.kind === 'kernel' ? [priceKey(body.name, uses)] : [])),
    );
    expect([...rates.keys()].sort()).toEqual([...new Set(names)].sort());
    for (const { bytesPerSecond, overheadSeconds } of rates.values()) {
      expect(bytesPerSecond).toBeGreaterThan(0);
      expect(overheadSeconds).toBeGreaterThanOrEqual(0);
    }
    expect(await probeMover({ packetBytes: 4096 })).toBeGreaterThan(1e6);
    expect(await probeMover()).toBeGreaterThan(1e6);
  });
});
