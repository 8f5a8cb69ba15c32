/** Experts: products of all of a rank's experts at once, and what lies between them. */
import type { KernelName } from '@monta/core';
import type { ExpertMatrix } from '../layer/expert-products.js';
import type { ExpertRun, ExpertRuns } from '../layer/expert-rows.js';
import { addBias } from '../operations/matrix.js';
import type { MovesPlan } from '../operations/rows.js';
import { clampedBackward, clampedForward, swigluBackward, swigluForward } from '../operations/swiglu.js';
import type { Address } from '../bindings/index.js';
import type { CudaCallOf, CudaCatalogue } from './call.js';
import type { LaunchProducts } from './lane-experts.js';
import { sumOfRows } from './linear.js';

type ExpertKernel = Extract<KernelName, `moe.experts${string}`>;
type Forward = CudaCallOf<'moe.experts'>;
type Backward = CudaCallOf<'moe.experts.inputGradient'>;

/** Rows that follow one another, or moves that name them. */
interface RowPlaces {
  readonly first: number;
  readonly moved?: Pick<MovesPlan, 'moves' | 'starts' | 'count'>;
}

/** Where rows lie, each at its own place: they follow one another unless they are a chunk of several. */
function ownPlaces(upload: (values: Int32Array) => Address, { runs }: ExpertRuns): RowPlaces {
  const first = runs[0]?.row ?? 0;
  const starts = new Int32Array(runs.length + 1);
  for (const [place, { rows }] of runs.entries()) starts[place + 1] = starts[place] + rows;
  if (runs.every(({ row }, place) => row === first + starts[place])) return { first };
  const moves = Int32Array.from(runs.flatMap(({ row, rows }) => [row, row, rows]));
  return { first: 0, moved: { moves: upload(moves), starts: upload(starts), count: runs.length } };
}

/** Places of rows that a product has left: in a padded buffer, or each at its own. */
const placesOf = (call: Forward | Backward, products: LaunchProducts, left: ExpertMatrix): RowPlaces =>
  left.padded === true ? { first: 0, moved: products.plan } : ownPlaces((values) => call.upload(values), products.runs);

/** Gate and up of a launch's rows, as a product left them, activated; and brought to their place from elsewhere. */
function activate(call: Forward, products: LaunchProducts, left: ExpertMatrix): void {
  const ffn = call.columns('activated');
  const { first, moved } = placesOf(call, products, left);
  const shape = { rows: products.runs.total, ffn, ...(moved === undefined ? {} : { moved }) };
  const [gateUp, activated] = [call.real('gateUpRows', first * 2 * ffn), call.real('activated', first * ffn)];
  const arrays = left.padded === true ? { gateUp: left.base, activated, kept: gateUp } : { gateUp, activated };
  swigluForward(call.on, shape, arrays);
}

/** gpt-oss' experts: biases before the activation, which has bounds. Run by run. */
function activateBiased(call: Forward, { expert, row, rows }: ExpertRun): void {
  const ffn = call.columns('activated');
  const [gateUp, activated] = [call.real('gateUpRows', row * 2 * ffn), call.real('activated', row * ffn)];
  if (call.has('gateUpBias')) {
    const bias = call.real('gateUpBias', expert * 2 * ffn);
    addBias(call.on, { rows, width: 2 * ffn }, { y: gateUp, bias });
  }
  const { clamp } = call.arguments;
  if (clamp === undefined) swigluForward(call.on, { rows, ffn }, { gateUp, activated });
  else clampedForward(call.on, { rows, ffn }, clamp, { gateUp, activated });
}

/** Gradients of gate and up from that of the activated rows, and these once more. */
function activateBackward(call: Backward, products: LaunchProducts, left: ExpertMatrix): void {
  const ffn = call.columns('activated');
  const { clamp } = call.arguments;
  if (clamp === undefined) {
    const { first, moved } = placesOf(call, products, left);
    const activated = call.real('activated', first * ffn);
    const shape = { rows: products.runs.total, ffn, ...(moved === undefined ? {} : { moved }) };
    swigluBackward(call.on, shape, {
      gateUp: call.real('gateUpRows', first * 2 * ffn),
      dactivated: left.padded === true ? left.base : activated,
      dgateUp: call.real('gateUpGradient', first * 2 * ffn),
      activated,
    });
    return;
  }
  for (const { row, rows } of products.runs.runs) {
    const [gateUp, activated] = [call.real('gateUpRows', row * 2 * ffn), call.real('activated', row * ffn)];
    const dgateUp = call.real('gateUpGradient', row * 2 * ffn);
    clampedBackward(call.on, { rows, ffn }, clamp, { gateUp, dactivated: activated, dgateUp });
    clampedForward(call.on, { rows, ffn }, clamp, { gateUp, activated });
  }
}

/** Weights of a rank's experts, of `outputs` rows of `inputs` each. */
const weights = (base: Address, inputs: number, outputs: number): ExpertMatrix => ({
  base,
  columns: inputs,
  weightRows: outputs,
});

export const expertKernels: CudaCatalogue<ExpertKernel> = {
  'moe.experts': (call) => {
    const [hidden, ffn] = [call.columns('input'), call.columns('activated')];
    const input = { base: call.real('input'), columns: hidden };
    const gateUp = { base: call.real('gateUpRows'), columns: 2 * ffn };
    const activated = { base: call.real('activated'), columns: ffn };
    const output = { base: call.real('output'), columns: hidden };
    const gateUpWeights = weights(call.real('gateUp'), hidden, 2 * ffn);
    const down = weights(call.real('down'), ffn, hidden);
    const matrices = [input, gateUp, activated, output, gateUpWeights, down];
    const products = call.expertProducts(2 * ffn * hidden, 'gateUp', matrices);
    const plain = call.arguments.clamp === undefined && !call.has('gateUpBias');
    const wide = { kind: 'forward', a: input, b: gateUpWeights, d: gateUp } as const;
    const left = products.multiply(plain ? { ...wide, anywhere: true } : wide);
    if (plain) activate(call, products, left);
    else for (const run of products.runs.runs) activateBiased(call, run);
    products.multiply({ kind: 'forward', a: activated, b: down, d: output });
    // Outputs are summed over ETP: one of its ranks adds the bias.
    if (!call.has('downBias') || call.arguments.etp.index !== 0) return;
    for (const { expert, row, rows } of products.runs.runs) {
      const bias = call.real('downBias', expert * hidden);
      addBias(call.on, { rows, width: hidden }, { y: call.real('output', row * hidden), bias });
    }
  },
  'moe.experts.inputGradient': (call) => {
    const [hidden, ffn] = [call.columns('outputGradient'), call.columns('activated')];
    const dy = { base: call.real('outputGradient'), columns: hidden };
    const activated = { base: call.real('activated'), columns: ffn };
    const gateUp = { base: call.real('gateUpGradient'), columns: 2 * ffn };
    const dx = { base: call.real('inputGradient'), columns: hidden };
    const gateUpWeights = weights(call.real('gateUp'), hidden, 2 * ffn);
    const down = weights(call.real('down'), ffn, hidden);
    const matrices = [dy, activated, gateUp, dx, gateUpWeights, down];
    const products = call.expertProducts(2 * ffn * hidden, 'gateUp', matrices);
    const narrow = { kind: 'input', a: dy, b: down, d: activated } as const;
    const plain = call.arguments.clamp === undefined;
    activateBackward(call, products, products.multiply(plain ? { ...narrow, anywhere: true } : narrow));
    products.multiply({ kind: 'input', a: gateUp, b: gateUpWeights, d: dx });
  },
  'moe.experts.weightGradient': (call) => {
    const [hidden, ffn] = [call.columns('input'), call.columns('activated')];
    const input = { base: call.real('input'), columns: hidden };
    const activated = { base: call.real('activated'), columns: ffn };
    const gateUp = { base: call.real('gateUpGradient'), columns: 2 * ffn };
    const dy = { base: call.real('outputGradient'), columns: hidden };
    const wide = { ...weights(call.f32('gateUpWeightGradient'), hidden, 2 * ffn), storage: 'f32' } as const;
    const narrow = { ...weights(call.f32('downWeightGradient'), ffn, hidden), storage: 'f32' } as const;
    const matrices = [input, activated, gateUp, dy, wide, narrow];
    const products = call.expertProducts(2 * ffn * hidden, 'gateUpWeightGradient', matrices);
    products.multiply({ kind: 'weight', a: gateUp, b: input, d: wide, add: true });
    products.multiply({ kind: 'weight', a: dy, b: activated, d: narrow, add: true });
    const biases = [
      ['gateUpBiasGradient', 'gateUpGradient', 2 * ffn],
      ['downBiasGradient', 'outputGradient', hidden],
    ] as const;
    for (const [bias, gradient, width] of biases)
      if (call.has(bias))
        for (const { expert, row, rows } of products.runs.runs) {
          const arrays = { x: call.real(gradient, row * width), out: call.f32(bias, expert * width) };
          sumOfRows(call, { rows, width }, arrays);
        }
  },
};
