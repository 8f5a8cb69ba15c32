/** A whole layer of experts, router to combined output, forward and backward, beside the CPU's kernels in a row. */
import { loadOpenblas, referenceGemm } from '../../cpu/index.js';
import {
  buildPermutation,
  chunkSegments,
  combineRowGrad,
  combineRows,
  combineWeightGrad,
  expertActivation,
  expertActivationGrad,
  expertDown,
  expertDownInputGrad,
  expertGateUp,
  expertGateUpInputGrad,
  expertWeightGrad,
  packTokens,
  routerBackward,
  routerSoftmax,
  routerTopK,
} from '../../../moe/index.js';
import { linearForward, linearInputGrad, linearWeightGrad } from '../../../transformer/index.js';
import type { ExpertWay } from '../layer/expert-products.js';
import { CudaMoeLayer, weightElements, type MoeLayerShape } from '../layer/moe-layer.js';
import type { CheckBench } from './bench.js';

interface LayerArrays {
  readonly router: Float32Array;
  readonly gateUp: Float32Array;
  readonly down: Float32Array;
}

/** y, dx and the gradients of the weights by the CPU's kernels. */
function onCpu(shape: MoeLayerShape, x: Float32Array, weights: LayerArrays, dy: Float32Array) {
  const { tokens, hidden, ffn, experts, picks } = shape;
  const gemm = loadOpenblas() ?? referenceGemm;
  const array = (length: number): Float32Array => new Float32Array(length);
  const linear = { rows: tokens, inputs: hidden, outputs: experts };
  const probabilities = array(tokens * experts);
  const [ids, picked] = [new Int32Array(tokens * picks), array(tokens * picks)];
  linearForward({ gemm, shape: linear, x, weight: weights.router, y: probabilities });
  routerSoftmax(shape, probabilities, probabilities);
  routerTopK(shape, probabilities, ids, picked);
  const permutation = buildPermutation({ ids, kept: undefined, tokens, picks, experts });
  const { rows, counts } = permutation;
  const all = Int32Array.of(0, 0, rows);
  const segments = chunkSegments({ counts, localExperts: experts, sources: 1, chunk: 0, of: 1 });
  const size = { hidden, ffn };
  const [xRows, gateUpRows, activated, outputs] = [hidden, 2 * ffn, ffn, hidden].map((width) => array(rows * width));
  packTokens({ permutation, moves: all, width: hidden, tokens: x, packed: xRows });
  expertGateUp({ gemm, expertShape: size, segments, x: xRows, gateUp: weights.gateUp, gateUpRows });
  expertActivation(size, segments, gateUpRows, activated);
  expertDown({ gemm, expertShape: size, segments, activated, down: weights.down, y: outputs });
  const y = array(tokens * hidden);
  combineRows({ permutation, tokens, picks, width: hidden, rows: outputs, weights: picked, y });

  const [dRows, dActivated, dGateUpRows, dxRows] = [hidden, ffn, 2 * ffn, hidden].map((width) => array(rows * width));
  const [dpicked, dlogits, dx] = [array(tokens * picks), array(tokens * experts), array(tokens * hidden)];
  const gradients = {
    router: array(weights.router.length),
    gateUp: array(weights.gateUp.length),
    down: array(weights.down.length),
  };
  combineRowGrad({ permutation, moves: all, width: hidden, weights: picked, dy, packed: dRows });
  combineWeightGrad({ permutation, tokens, picks, width: hidden, rows: outputs, dy, dweights: dpicked });
  expertDownInputGrad({ gemm, expertShape: size, segments, dy: dRows, down: weights.down, dactivated: dActivated });
  expertActivationGrad({ expertShape: size, segments, gateUpRows, dactivated: dActivated, dgateUpRows: dGateUpRows });
  expertGateUpInputGrad({
    gemm,
    expertShape: size,
    segments,
    dgateUpRows: dGateUpRows,
    gateUp: weights.gateUp,
    dx: dxRows,
  });
  expertWeightGrad({
    gemm,
    expertShape: size,
    segments,
    x: xRows,
    dgateUpRows: dGateUpRows,
    activated,
    dy: dRows,
    dgateUp: gradients.gateUp,
    ddown: gradients.down,
  });
  routerBackward({ shape, probabilities, ids, dweights: dpicked, auxiliary: undefined, dlogits });
  linearInputGrad({ gemm, shape: linear, dy: dlogits, weight: weights.router, dx });
  linearWeightGrad({ gemm, shape: linear, dy: dlogits, x, dweight: gradients.router });
  combineRows({ permutation, tokens, picks, width: hidden, rows: dxRows, weights: undefined, y: dx, add: true });
  return { y, dx, ...gradients };
}

/** Sums in another order; and in bf16 every intermediate is rounded. */
const layerBounds = { f32: 1e-4, bf16: 1.5e-2 };

export function checkLayer(bench: CheckBench): void {
  const cases: readonly (readonly [tokens: number, experts: number, picks: number, renormalise: boolean])[] = [
    [300, 8, 2, true],
    // Few tokens, so that some experts stay idle; two experts, so that rows of logits are shorter than 16 bytes.
    [40, 64, 4, false],
    [100, 2, 2, true],
  ];
  const [hidden, ffn] = [bench.of(128, 32), bench.of(192, 32)];
  for (const [count, most, picks, renormalise] of cases) {
    const [tokens, experts] = [bench.of(count), Math.min(most, bench.of(most, 8))];
    for (const way of ['loop', 'batched', 'measured'] as const)
      checkOne(bench, { tokens, experts, picks, renormalise, hidden, ffn }, way);
  }
}

function checkOne(bench: CheckBench, shape: MoeLayerShape, way: ExpertWay): void {
  const { tokens, hidden, experts } = shape;
  const elements = weightElements(shape);
  const scale = Math.sqrt(3 / hidden);
  const [x, dy] = [bench.sample(tokens * hidden), bench.sample(tokens * hidden)];
  const weights = {
    router: bench.sample(elements.router, 4 * scale),
    gateUp: bench.sample(elements.gateUp, 2 * scale),
    down: bench.sample(elements.down, scale),
  };
  const addresses = {
    router: weights.router.address,
    gateUp: weights.gateUp.address,
    down: weights.down.address,
  };
  const gradients = {
    router: bench.room(elements.router),
    gateUp: bench.room(elements.gateUp),
    down: bench.room(elements.down),
  };
  const options = { storage: bench.storage, way, candidates: 4 };
  const layer = new CudaMoeLayer(bench.context, {
    shape,
    weights: addresses,
    gradients,
    stream: bench.on.stream,
    ...options,
  });
  const [y, dx] = [bench.room(tokens * hidden), bench.room(tokens * hidden)];
  layer.forward(x.address, y);
  layer.backward(x.address, dy.address, dx);
  const arrays = { router: weights.router.values, gateUp: weights.gateUp.values, down: weights.down.values };
  const expected = onCpu(shape, x.values, arrays, dy.values);
  const of = `layer of ${experts} experts, ${layer.way}`;
  const compare = (what: keyof typeof expected, at: number): void =>
    bench.expect(`${of}: ${what}`, bench.stored(at, expected[what].length), expected[what], layerBounds[bench.storage]);
  compare('y', y);
  compare('dx', dx);
  compare('router', gradients.router);
  compare('gateUp', gradients.gateUp);
  compare('down', gradients.down);
  // The same again leaves the same bits: no sum depends on the order in which blocks run.
  const results = (): Float32Array[] => [
    bench.stored(y, tokens * hidden),
    bench.stored(dx, tokens * hidden),
    bench.stored(gradients.router, elements.router),
    bench.stored(gradients.gateUp, elements.gateUp),
    bench.stored(gradients.down, elements.down),
  ];
  const first = results();
  layer.forward(x.address, y);
  layer.backward(x.address, dy.address, dx);
  const differing = results().filter((again, place) => again.some((value, i) => value !== first[place][i])).length;
  bench.expect(`${of}: the same bits again`, [differing], [0], 0);
}
