/**
 * Kernels of feed-forwards that every token visits: one SwiGLU block, gate and up sharded by columns, down by rows over
 * TP.
 */
import { expertActivation, expertActivationGrad } from '../../../moe/index.js';
import {
  linearForward,
  linearInputGrad,
  linearWeightGrad,
  scaleRows,
  tokenGate,
  tokenGateGradient,
  tokenGateInputGradient,
} from '../../../transformer/index.js';
import type { CatalogueKernels, CpuCallOf } from '../kernel-call.js';

/** Row-major matrices gate and up side by side, [T, 2 ffn], and one of them alone, [T, ffn]. */
interface Halves {
  readonly rows: Float32Array;
  readonly half: Float32Array;
  readonly tokens: number;
  readonly ffn: number;
}

/** Copies gate (part 0) or up (part 1) out of the joined rows, or into them. */
function move({ rows, half, tokens, ffn }: Halves, part: 0 | 1, direction: 'split' | 'join'): void {
  for (let row = 0; row < tokens; row++) {
    const at = (2 * row + part) * ffn;
    if (direction === 'join') rows.set(half.subarray(row * ffn, (row + 1) * ffn), at);
    else half.set(rows.subarray(at, at + ffn), row * ffn);
  }
}

const parts = [
  [0, 'gate'],
  [1, 'up'],
] as const;

function sizes(call: CpuCallOf<'mlp'> | CpuCallOf<'mlp.backward'>) {
  const [tokens, hidden, ffn] = [call.rows('normed'), call.columns('normed'), call.columns('activated')];
  return {
    tokens,
    ffn,
    shape: { hidden, ffn },
    all: Int32Array.of(0, 0, tokens),
    wide: { rows: tokens, inputs: hidden, outputs: ffn },
    narrow: { rows: tokens, inputs: ffn, outputs: hidden },
  };
}

export const mlpKernels: CatalogueKernels<'mlp' | 'mlp.backward'> = {
  mlp: (call) => {
    const { gemm } = call;
    const { tokens, ffn, shape, all, wide, narrow } = sizes(call);
    const [gateUp, activated] = [call.f32('gateUp'), call.f32('activated')];
    for (const [part, name] of parts) {
      linearForward({ gemm, shape: wide, x: call.f32('normed'), weight: call.f32(name), y: activated });
      move({ rows: gateUp, half: activated, tokens, ffn }, part, 'join');
    }
    expertActivation(shape, all, gateUp, activated);
    linearForward({ gemm, shape: narrow, x: activated, weight: call.f32('down'), y: call.f32('output') });
    if (!call.has('tokenGate')) return;
    tokenGate(call.f32('normed'), call.f32('tokenGate'), call.f32('scale'));
    scaleRows(call.f32('scale'), call.f32('output'));
  },
  'mlp.backward': (call) => {
    const { gemm } = call;
    const { tokens, ffn, shape, all, wide, narrow } = sizes(call);
    const dy = call.f32('outputGradient');
    const [gateUp, activated] = [call.f32('gateUp'), call.f32('activated')];
    const [gateUpGradient, normedGradient] = [call.f32('gateUpGradient'), call.f32('normedGradient')];
    linearInputGrad({ gemm, shape: narrow, dy, weight: call.f32('down'), dx: activated });
    const gated = call.has('tokenGate');
    const dsum = new Float32Array(gated ? tokens : 0);
    if (gated) {
      call.scratch(activated.length, (unscaled) => {
        expertActivation(shape, all, gateUp, unscaled);
        tokenGateGradient(call.f32('scale'), activated, unscaled, dsum);
      });
      scaleRows(call.f32('scale'), activated);
    }
    expertActivationGrad({
      expertShape: shape,
      segments: all,
      gateUpRows: gateUp,
      dactivated: activated,
      dgateUpRows: gateUpGradient,
    });
    expertActivation(shape, all, gateUp, activated);
    if (gated) scaleRows(call.f32('scale'), activated);
    linearWeightGrad({ gemm, shape: narrow, dy, x: activated, dweight: call.f32('downGradient') });
    for (const [part, name] of parts) {
      move({ rows: gateUpGradient, half: activated, tokens, ffn }, part, 'split');
      linearInputGrad({
        gemm,
        shape: wide,
        dy: activated,
        weight: call.f32(name),
        dx: normedGradient,
        add: part === 1,
      });
      linearWeightGrad({
        gemm,
        shape: wide,
        dy: activated,
        x: call.f32('normed'),
        dweight: call.f32(`${name}Gradient`),
      });
    }
    if (!gated) return;
    const [x, weight, dweight] = [call.f32('normed'), call.f32('tokenGate'), call.f32('tokenGateGradient')];
    tokenGateInputGradient({ x, weight, dsum, dx: normedGradient, dweight });
  },
};
