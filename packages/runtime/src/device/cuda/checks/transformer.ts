/** Checks of norms, rope, embedding, cross entropy, AdamW and the norm of gradients. */
import {
  adamWStep,
  clippingFactor,
  crossEntropyGrad,
  crossEntropyLoss,
  crossEntropyMax,
  crossEntropySums,
  embeddingBackward,
  embeddingForward,
  ignoredLabel,
  rmsNormBackward,
  rmsNormForward,
  ropeBackward,
  ropeForward,
  ropeTable,
  sumOfSquares,
} from '../../../transformer/index.js';
import { cudaNormBackward, cudaNormForward, normScratch } from '../operations/norm.js';
import {
  cudaCrossEntropyGradient,
  cudaCrossEntropyLoss,
  cudaCrossEntropyMax,
  cudaCrossEntropySums,
  cudaEmbeddingBackward,
  cudaEmbeddingForward,
  cudaRope,
} from '../operations/tokens.js';
import { cudaAdamW, cudaClippingFactor, cudaSumOfSquares, squaresScratch } from '../operations/update.js';
import type { CheckBench } from './bench.js';

const narrow = 1e-5;

export function checkNorm(bench: CheckBench): void {
  for (const [count, width] of [
    [700, 1096],
    [2100, 128],
    [5, 8192],
  ]) {
    const rows = bench.of(count);
    const shape = { rows, width, epsilon: 1e-5 };
    const of = `norm ${rows} x ${width}`;
    const [x, weight, dy] = [bench.sample(rows * width), bench.sample(width), bench.sample(rows * width)];
    const y = new Float32Array(rows * width);
    const inverse = new Float32Array(rows);
    rmsNormForward({ shape, x: x.values, weight: weight.values, y, inverseRms: inverse });
    const on = { x: x.address, weight: weight.address, inverseRms: bench.poisoned(4 * rows) };
    const toY = bench.room(y.length);
    cudaNormForward(bench.on, shape, { ...on, y: toY });
    bench.expect(`${of}: y`, bench.stored(toY, y.length), y);
    bench.expect(`${of}: inverse rms`, bench.floats(on.inverseRms, rows), inverse, narrow);
    for (const addDx of [false, true]) {
      const dx = bench.sample(rows * width);
      const dweight = Float32Array.from({ length: width }, () => bench.random.uniform());
      const toDweight = bench.upload(dweight);
      rmsNormBackward({
        shape,
        x: x.values,
        weight: weight.values,
        inverseRms: inverse,
        dy: dy.values,
        dx: dx.values,
        dweight,
        addDx,
      });
      const scratch = bench.poisoned(4 * normScratch(shape));
      const arrays = { ...on, dy: dy.address, dx: dx.address, dweight: toDweight, scratch, addDx };
      cudaNormBackward(bench.on, shape, arrays);
      const said = `${of}${addDx ? ', added' : ''}`;
      bench.expect(`${said}: dx`, bench.stored(dx.address, dx.values.length), dx.values);
      bench.expect(`${said}: dweight`, bench.floats(toDweight, width), dweight, narrow);
    }
  }
}

export function checkRope(bench: CheckBench): void {
  const [sequence, heads, turning] = [bench.of(300), 5, 128];
  const rows = 2 * sequence;
  const table = ropeTable(sequence, turning, 1_000_000);
  const angles = { cosine: bench.upload(table.cosine), sine: bench.upload(table.sine) };
  const layouts = [{}, { interleaved: true }, { stride: 208, offset: 72 }];
  for (const [place, layout] of layouts.entries())
    for (const direction of [1, -1] as const) {
      const { stride = turning } = layout;
      const x = bench.sample(rows * heads * stride);
      (direction === 1 ? ropeForward : ropeBackward)(table, x.values, { rows, heads, sequence, ...layout });
      const shape = { rows, heads, sequence, half: turning / 2, ...layout };
      cudaRope(bench.on, shape, { x: x.address, ...angles }, direction);
      const which = ['', ', interleaved', ' of a part of each head'][place];
      const said = `rope${which}${direction === 1 ? '' : ', backward'}`;
      bench.expect(said, bench.stored(x.address, x.values.length), x.values);
    }
}

export function checkEmbedding(bench: CheckBench): void {
  const [tokens, hidden, paddingId] = [bench.of(1500), 520, 13];
  const share = { first: 10, count: 90 };
  // Few ids, so that most come many times; some are held elsewhere.
  const ids = Int32Array.from({ length: tokens }, () => Math.floor(bench.random.uniform() * 120));
  const weight = bench.sample(share.count * hidden);
  const out = new Float32Array(tokens * hidden);
  embeddingForward({ share, hidden, ids, weight: weight.values, out });
  const onIds = bench.upload(ids);
  const toOut = bench.room(out.length);
  const shape = { ...share, tokens, hidden };
  cudaEmbeddingForward(bench.on, shape, { ids: onIds, weight: weight.address, out: toOut });
  bench.expect('embedding', bench.stored(toOut, out.length), out, 0);
  const dout = bench.sample(tokens * hidden);
  const dweight = Float32Array.from(weight.values, () => bench.random.uniform());
  const toDweight = bench.upload(dweight);
  embeddingBackward({ share, hidden, ids, dout: dout.values, dweight, paddingId });
  cudaEmbeddingBackward(bench.on, { ...shape, paddingId }, { ids: onIds, dout: dout.address, dweight: toDweight });
  // The same sums in the same order, so the same bits.
  bench.expect('embedding: dweight', bench.floats(toDweight, dweight.length), dweight, 0);
}

export function checkCrossEntropy(bench: CheckBench): void {
  const rows = bench.of(67);
  const shape = { rows, first: 1000, count: 4999 };
  const logits = bench.sample(rows * shape.count, 5);
  const targets = Int32Array.from({ length: rows }, (_, row) =>
    row % 5 === 0 ? ignoredLabel : Math.floor(bench.random.uniform() * 7000),
  );
  const [largest, sums, dlogits] = [rows, 2 * rows, rows * shape.count].map((length) => new Float32Array(length));
  crossEntropyMax(shape, rows, logits.values, largest);
  crossEntropySums({ share: shape, rows, logits: logits.values, targets, largest, sums });
  crossEntropyGrad({ share: shape, rows, logits: logits.values, targets, largest, sums, scale: 0.25, dlogits });
  const on = {
    logits: logits.address,
    targets: bench.upload(targets),
    largest: bench.poisoned(largest.byteLength),
    sums: bench.poisoned(sums.byteLength),
  };
  const total = bench.poisoned(8);
  const toDlogits = bench.room(dlogits.length);
  cudaCrossEntropyMax(bench.on, shape, on.logits, on.largest);
  cudaCrossEntropySums(bench.on, shape, on);
  cudaCrossEntropyLoss(bench.on, rows, { targets: on.targets, sums: on.sums, total });
  cudaCrossEntropyGradient(bench.on, shape, { ...on, dlogits: toDlogits }, 0.25);
  bench.expect('cross entropy: max', bench.floats(on.largest, rows), largest, 0);
  bench.expect('cross entropy: sums', bench.floats(on.sums, 2 * rows), sums, narrow);
  bench.expect('cross entropy: loss', bench.doubles(total, 1), [crossEntropyLoss(rows, targets, sums)], narrow);
  bench.expect('cross entropy: dlogits', bench.stored(toDlogits, dlogits.length), dlogits);
}

export function checkUpdate(bench: CheckBench): void {
  const count = bench.of(100_003);
  const settings = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
  const gradient = bench.sample(count);
  const random = (scale: number) => Float32Array.from({ length: count }, () => scale * bench.random.uniform());
  const squares = bench.poisoned(8);
  const scratch = bench.poisoned(8 * squaresScratch);
  cudaSumOfSquares(bench.on, { values: gradient.address, count, scratch, out: squares });
  const sum = sumOfSquares([gradient.values]);
  bench.expect('sum of squares', bench.doubles(squares, 1), [sum], 1e-12);
  const factor = bench.poisoned(4);
  cudaClippingFactor(bench.on, squares, factor, 1);
  const scale = clippingFactor(Math.sqrt(sum), 1);
  bench.expect('clipping factor', bench.floats(factor, 1), [scale], 1e-6);
  for (const wide of [false, true]) {
    const [master, first, second] = [random(1), random(0.01), random(0.01)];
    const on = { master: bench.upload(master), first: bench.upload(first), second: bench.upload(second) };
    const parameter = bench.room(count);
    const held = { parameter: master, gradient: gradient.values, firstMoment: first, secondMoment: second };
    adamWStep([held], settings, 7, scale);
    const given = wide ? bench.upload(gradient.values) : gradient.address;
    cudaAdamW({
      on: bench.on,
      state: { ...on, gradient: given, wide, parameter, count },
      adamWSettings: settings,
      step: 7,
      gradientScale: factor,
    });
    const said = wide ? 'AdamW, fp32 gradients' : 'AdamW';
    bench.expect(`${said}: master`, bench.floats(on.master, count), master, 1e-6);
    bench.expect(`${said}: first moment`, bench.floats(on.first, count), first, 1e-6);
    bench.expect(`${said}: second moment`, bench.floats(on.second, count), second, 1e-6);
    bench.expect(`${said}: parameter`, bench.stored(parameter, count), master);
  }
}
