import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/presets.js';
import { parseLayout } from '../layout/index.js';
import { placedOn } from '../layout/mesh.js';
import { traffic } from '../traffic/index.js';
import { routedBinding } from './workload.js';
import { dispatchProgram } from '../schedule/dispatch-only.js';
import { allHalves, inChunks, unsupportedStrategy } from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { fp8RowBytes } from '../schedule/payload.js';

const cluster = getCluster('laptop-2x4');
const layout = placedOn(parseLayout('tp=4,dp=2,ep=2', 8), cluster);
const [tokens, topK, hiddenSize] = [64, 2, 192];
const base: MoeShape = { tokens, hiddenSize, expertFfn: 64, experts: 8, topK, layout, dtype: 'bf16' };

/** Bytes that a rank sends in a pass, mean over ranks. */
function sent(shape: MoeShape, halves: { dispatch: string; combine: string }, pass: 'forward' | 'backward'): number {
  const program = dispatchProgram(shape, inChunks(halves, 2), [pass]);
  const binding = routedBinding(shape, { kind: 'uniform' }, 1);
  const { sent: rows } = traffic({ program, layout, cluster, binding });
  return rows.reduce((sum, row) => row.reduce((all, one) => all + one, sum), 0) / rows.length;
}

describe('rows in fp8', () => {
  const pairs = allHalves().filter((halves) => unsupportedStrategy(halves, { layout }) === undefined);
  const row = fp8RowBytes(hiddenSize);

  it.each(pairs)('$dispatch + $combine: every byte of the way out, none of the way back', (halves) => {
    const plain = sent(base, halves, 'forward');
    const fp8 = sent({ ...base, payload: 'fp8' }, halves, 'forward');
    const wide = sent({ ...base, dtype: 'f32', payload: 'fp8' }, halves, 'forward');
    // What grows with the layer's type comes back; the rest goes out.
    const back = (wide - fp8) / (2 * hiddenSize);
    const out = plain / (2 * hiddenSize) - back;
    expect(out).toBeGreaterThan(0);
    expect(back).toBeGreaterThan(0);
    expect(fp8).toBeCloseTo(out * row + back * 2 * hiddenSize, 3);
    expect(sent({ ...base, payload: 'fp8' }, halves, 'backward')).toBe(sent(base, halves, 'backward'));
  });

  it('is so many rows as the formulas say', () => {
    const outgoing = (dispatch: string): number => {
      const halves = { dispatch, combine: 'scattered' };
      const saved = sent(base, halves, 'forward') - sent({ ...base, payload: 'fp8' }, halves, 'forward');
      return saved / (2 * hiddenSize - row);
    };
    const { tp, ep, etp } = layout;
    const slice = (topK * tokens) / tp;
    expect(outgoing('sliced')).toBeCloseTo((slice * (ep - 1)) / ep + slice * (etp - 1), 6);
    expect(outgoing('duplicated')).toBeCloseTo((topK * tokens * (ep - 1)) / ep, 6);
    expect(outgoing('gathered')).toBeCloseTo((tokens / tp) * (ep * etp - 1), 6);
  });
});
