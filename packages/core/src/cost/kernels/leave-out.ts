/** How well kernels are predicted whose shape was left out of the fit. */
import { median } from '../../units/quantiles.js';
import { memoryKinds } from '../../schedule/work.js';
import { amounts, type KernelKind, type KernelShape } from './features.js';
import { fitCoefficients, type Sample } from './fit.js';
import type { MeasuredKernel } from './measured.js';

export type Coefficients = Readonly<Record<KernelKind | 'gemmFp8', readonly number[]>>;

/** Kernels shorter than this were launched slower than they ran. */
const launched = 25e-6;
/** A fused kernel, or autograd, shorter than this. */
const launchedFused = { memory: 75e-6, attention: 280e-6 };

const isAttention = ({ name }: MeasuredKernel): boolean => name.startsWith('attention');
const timesItself = (kernel: MeasuredKernel): boolean =>
  kernel.seconds >
  (kernel.hostBound ? (isAttention(kernel) ? launchedFused.attention : launchedFused.memory) : launched);

/** Which coefficients price a kernel's last shape. */
const kindOf = ({ name, shapes }: MeasuredKernel): keyof Coefficients | undefined =>
  name.startsWith('gemm_fp8') ? 'gemmFp8' : shapes.at(-1)?.kind;

const amountsOf = (shape: KernelShape, multiprocessors: number): number[] =>
  amounts(shape, multiprocessors).map(({ of }) => of);

const dot = (coefficients: readonly number[], of: readonly number[]): number =>
  of.reduce((sum, amount, index) => sum + amount * (coefficients[index] ?? 0), 0);

/**
 * Fits the coefficients of every kind, on a device of so many multiprocessors. Backward attention is what is left of
 * both passes' time when the same shape's forward is taken away; memory kinds without a sample take the median of the
 * others.
 */
export function fitKernels(kernels: readonly MeasuredKernel[], multiprocessors: number): Coefficients {
  const own = kernels.filter(timesItself);
  const forward = new Map(
    kernels.filter((one) => one.name === 'attention_forward').map((one) => [one.label, one.seconds]),
  );
  const samples = (kind: keyof Coefficients): Sample[] =>
    own.flatMap((kernel) => {
      const shape = kernel.shapes.at(-1);
      if (!shape || kindOf(kernel) !== kind) return [];
      const before = kind === 'attentionBackward' ? forward.get(kernel.label) : 0;
      return before === undefined
        ? []
        : [{ amounts: amountsOf(shape, multiprocessors), seconds: kernel.seconds - before }];
    });
  const fit = (kind: keyof Coefficients): number[] => {
    const list = samples(kind);
    return list.length > 0 ? fitCoefficients(list) : [];
  };
  const gemm = fit('gemm');
  const memory = memoryKinds.map((kind) => ({ kind, found: fit(kind) }));
  const usual = median(memory.flatMap(({ found }) => found));
  const of = (wanted: (typeof memoryKinds)[number]): number[] => {
    const found = memory.find(({ kind }) => kind === wanted)?.found ?? [];
    return found.length > 0 ? found : [usual];
  };
  return {
    gemm,
    gemmFp8: withRate(gemm, samples('gemmFp8')),
    grouped: fit('grouped'),
    attention: fit('attention'),
    attentionBackward: fit('attentionBackward'),
    copy: of('copy'),
    add: of('add'),
    gather: of('gather'),
    norm: of('norm'),
    activation: of('activation'),
    loss: of('loss'),
    update: of('update'),
  };
}

/**
 * The coefficients of bf16 products with the rate of FLOPs that these samples show: they are too few to fit calls and
 * waves too.
 */
function withRate(gemm: readonly number[], samples: readonly Sample[]): number[] {
  if (samples.length === 0) return [];
  const [call = 0, , wave = 0] = gemm;
  const [rate = 0] = fitCoefficients(
    samples.map(({ amounts: [calls = 0, flops = 0, waves = 0], seconds }) => ({
      amounts: [flops],
      seconds: seconds - calls * call - waves * wave,
    })),
  );
  return [call, rate, wave, 0];
}

export interface KernelError {
  readonly kernel: MeasuredKernel;
  readonly predictedSeconds: number;
  /** Predicted over measured, minus 1. */
  readonly error: number;
  /** The same of FLOPs at the median rate of the others of its kind, or bytes likewise. */
  readonly naiveError: number;
}

/**
 * Predicts every kernel of `judged` from a fit to `fitted` without those of the same shape. Attention's forward and
 * backward together are never predicted faster than the host launches them, which is the median of those that it holds
 * up.
 */
export function leaveShapesOut(
  fitted: readonly MeasuredKernel[],
  judged: readonly MeasuredKernel[],
  multiprocessors: number,
): KernelError[] {
  const fits = new Map<string, { readonly others: readonly MeasuredKernel[]; readonly coefficients: Coefficients }>();
  return judged.flatMap((kernel) => {
    const kind = kindOf(kernel);
    if (kind === undefined) return [];
    let known = fits.get(kernel.label);
    if (!known) {
      const others = fitted.filter(({ label }) => label !== kernel.label);
      known = { others, coefficients: fitKernels(others, multiprocessors) };
      fits.set(kernel.label, known);
    }
    const { others, coefficients } = known;
    const seconds = kernel.shapes.reduce((sum, shape) => {
      const own = coefficients[kind === 'gemmFp8' ? kind : shape.kind];
      return sum + dot(own, amountsOf(shape, multiprocessors));
    }, 0);
    const held = kernel.name === 'attention_forward_backward' ? hostSeconds(others) : 0;
    const predictedSeconds = Math.max(seconds, held);
    return [
      {
        kernel,
        predictedSeconds,
        error: predictedSeconds / kernel.seconds - 1,
        naiveError: naiveSeconds(kernel, others) / kernel.seconds - 1,
      },
    ];
  });
}

/** What PyTorch's host takes for attention forward and backward. */
function hostSeconds(kernels: readonly MeasuredKernel[]): number {
  const held = kernels.filter((one) => one.name === 'attention_forward_backward' && !timesItself(one));
  return held.length === 0 ? 0 : median(held.map(({ seconds }) => seconds));
}

/** FLOPs, or bytes where there are none. */
const size = ({ shapes }: MeasuredKernel): number =>
  shapes.reduce((sum, shape) => {
    const all = amounts(shape, 1);
    return sum + (all.find(({ resource }) => resource === 'compute') ?? all[0] ?? { of: 0 }).of;
  }, 0);

function naiveSeconds(kernel: MeasuredKernel, others: readonly MeasuredKernel[]): number {
  const alike = others.filter((one) => one.name === kernel.name);
  const rate = median(alike.map((one) => size(one) / one.seconds));
  return alike.length === 0 ? Number.NaN : size(kernel) / rate;
}
