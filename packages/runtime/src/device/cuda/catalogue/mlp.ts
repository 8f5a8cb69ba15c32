/** Feed-forwards that every token visits: gate and up are weights of their own, their rows lie side by side. */
import { addOuter, scaleRows } from '../operations/matrix.js';
import { swigluBackward, swigluForward } from '../operations/swiglu.js';
import { elementSize } from '../operations/launcher.js';
import type { CudaCallOf, CudaCatalogue } from './call.js';
import { copyColumns, linear, linearInputGradient, linearWeightGradient, sumOfRows } from './linear.js';

const parts = [
  [0, 'gate'],
  [1, 'up'],
] as const;

const gateThreads = 256;

function sizes(call: CudaCallOf<'mlp'> | CudaCallOf<'mlp.backward'>) {
  const [tokens, hidden, ffn] = [call.rows('normed'), call.columns('normed'), call.columns('activated')];
  return {
    tokens,
    ffn,
    rows: { rows: tokens, ffn },
    wide: { rows: tokens, inputs: hidden, outputs: ffn },
    narrow: { rows: tokens, inputs: ffn, outputs: hidden },
    half: { rows: tokens, columns: ffn },
  };
}

export const mlpKernels: CudaCatalogue<'mlp' | 'mlp.backward'> = {
  mlp: (call) => {
    const { tokens, ffn, rows, wide, narrow, half } = sizes(call);
    const activated = { address: call.real('activated'), width: ffn };
    for (const [part, name] of parts) {
      linear(call, wide, { x: call.real('normed'), weight: call.real(name), y: activated.address });
      const to = { address: call.real('gateUp', part * ffn), width: 2 * ffn };
      copyColumns(call, { from: activated, to }, half);
    }
    swigluForward(call.on, rows, { gateUp: call.real('gateUp'), activated: activated.address });
    linear(call, narrow, { x: activated.address, weight: call.real('down'), y: call.real('output') });
    if (!call.has('tokenGate')) return;
    const scale = call.f32('scale');
    const gate = { x: call.real('normed'), weight: call.real('tokenGate'), scale, width: wide.inputs };
    call.on.launch('rows', 'token_gate', { blocks: tokens, threads: gateThreads }, gate);
    scaleRows(call.on, { rows: tokens, width: wide.inputs }, call.real('output'), scale);
  },
  'mlp.backward': (call) => {
    const { tokens, ffn, rows, wide, narrow, half } = sizes(call);
    const [dy, gateUp, activated] = [call.real('outputGradient'), call.real('gateUp'), call.real('activated')];
    const [dgateUp, dx] = [call.real('gateUpGradient'), call.real('normedGradient')];
    const ofActivated = { rows: tokens, width: ffn };
    linearInputGradient(call, narrow, { dy, weight: call.real('down'), dx: activated });
    const gated = call.has('tokenGate');
    const dsum = gated ? call.scratch(tokens) : 0;
    if (gated) {
      const unscaled = call.scratch((tokens * ffn * elementSize(call.storage)) / 4);
      swigluForward(call.on, rows, { gateUp, activated: unscaled });
      const scale = call.f32('scale');
      const dots = { a: activated, b: unscaled, scale, dsum, width: ffn };
      call.on.launch('rows', 'token_gate_gradient', { blocks: tokens, threads: gateThreads }, dots);
      scaleRows(call.on, ofActivated, activated, scale);
    }
    swigluBackward(call.on, rows, { gateUp, dactivated: activated, dgateUp });
    swigluForward(call.on, rows, { gateUp, activated });
    if (gated) scaleRows(call.on, ofActivated, activated, call.f32('scale'));
    linearWeightGradient(call, narrow, { dy, x: activated, dweight: call.f32('downGradient') });
    for (const [part, name] of parts) {
      const from = { address: call.real('gateUpGradient', part * ffn), width: 2 * ffn };
      copyColumns(call, { from, to: { address: activated, width: ffn } }, half);
      linearInputGradient(call, wide, { dy: activated, weight: call.real(name), dx, add: part === 1 });
      const dweight = call.f32(`${name}Gradient`);
      linearWeightGradient(call, wide, { dy: activated, x: call.real('normed'), dweight });
    }
    if (!gated) return;
    const hidden = { rows: tokens, width: wide.inputs };
    addOuter(call.on, hidden, { y: dx, factors: dsum, x: call.real('tokenGate') });
    sumOfRows(call, hidden, { x: call.real('normed'), factors: dsum, out: call.f32('tokenGateGradient') });
  },
};
