/** Experts over TP ranks that take turns in one thread. */
import type { Gemm } from '#runtime/device/gemm.js';
import * as moe from '#runtime/moe/index.js';
import { addTo, floats, give, take, value, type Shared, type Value } from './lockstep-values.js';

/** What experts compute with, and the rows that they get. */
export interface LockstepExperts {
  readonly gemm: Gemm;
  readonly tp: number;
  readonly hidden: number;
  /** Inner width, over all ranks. */
  readonly ffn: number;
  readonly x: Float32Array;
  readonly dx: Float32Array;
  /** Rows of each expert. */
  readonly counts: Int32Array;
  readonly gateUp: Shared;
  readonly down: Shared;
}

/**
 * SwiGLU experts (or one dense MLP) of which every rank holds a share of the inner width: what comes out, and the
 * backward.
 */
export function lockstepExperts({ gemm, tp, hidden, ffn, x, dx, counts, gateUp, down }: LockstepExperts): {
  readonly y: Value;
  readonly backward: () => void;
} {
  const n = counts.length;
  const shape = { hidden, ffn: ffn / tp };
  const rows = x.length / hidden;
  const y = value(x.length);
  const half = shape.ffn * hidden;
  const forwardChunks = [0, 1, 2].map((chunk) =>
    moe.chunkSegments({ counts, localExperts: n, sources: 1, chunk, of: 3 }),
  );
  const all = moe.chunkSegments({ counts, localExperts: n, sources: 1, chunk: 0, of: 1 });
  const saved = Array.from({ length: tp }, (_, rank) => rank).map((rank) => {
    const weights = {
      gateUp: take(gateUp.w, ffn * hidden, rank * half, half),
      down: take(down.w, ffn, rank * shape.ffn, shape.ffn),
    };
    const [gateUpRows, activated, out] = [floats(rows * 2 * shape.ffn), floats(rows * shape.ffn), floats(x.length)];
    for (const segments of forwardChunks) {
      moe.expertGateUp({ gemm, expertShape: shape, segments, x, gateUp: weights.gateUp, gateUpRows });
      moe.expertActivation(shape, segments, gateUpRows, activated);
      moe.expertDown({ gemm, expertShape: shape, segments, activated, down: weights.down, y: out });
    }
    addTo(y.v, out);
    return { ...weights, gateUpRows, activated };
  });
  const backward = (): void => {
    saved.forEach((local, rank) => {
      const [dactivated, part] = [floats(rows * shape.ffn), floats(x.length)];
      moe.expertDownInputGrad({
        gemm,
        expertShape: shape,
        segments: all,
        dy: y.d,
        down: local.down,
        dactivated,
      });
      moe.expertActivationGrad({
        expertShape: shape,
        segments: all,
        gateUpRows: local.gateUpRows,
        dactivated,
        dgateUpRows: local.gateUpRows,
      });
      moe.expertGateUpInputGrad({
        gemm,
        expertShape: shape,
        segments: all,
        dgateUpRows: local.gateUpRows,
        gateUp: local.gateUp,
        dx: part,
      });
      addTo(dx, part);
      const [dgateUp, ddown] = [new Float32Array(local.gateUp.length), new Float32Array(local.down.length)];
      moe.expertWeightGrad({
        gemm,
        expertShape: shape,
        segments: all,
        x,
        dgateUpRows: local.gateUpRows,
        activated: local.activated,
        dy: y.d,
        dgateUp,
        ddown,
      });
      give(dgateUp, gateUp.dw, ffn * hidden, rank * half, half);
      give(ddown, down.dw, ffn, rank * shape.ffn, shape.ffn);
    });
  };
  return { y, backward };
}
