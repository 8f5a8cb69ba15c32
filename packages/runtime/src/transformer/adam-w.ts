/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), in the form and order of PyTorch's
 * `AdamW`.
 */

export interface AdamWSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

/** One parameter's arrays, of equal length. */
export interface AdamWState {
  readonly parameter: Float32Array;
  readonly gradient: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
  /** Apply weight decay to it; PyTorch's plain AdamW decays every parameter. Default true. */
  readonly decay?: boolean;
}

/**
 * Updates parameters and moments in place. `step` counts from 1. `gradientScale` multiplies gradients first (clipping
 * factor), not in place.
 */
export function adamWStep(
  states: readonly AdamWState[],
  settings: AdamWSettings,
  step: number,
  gradientScale = 1,
): void {
  const { learningRate, beta1, beta2, epsilon, weightDecay } = settings;
  const stepSize = learningRate / (1 - beta1 ** step);
  const correction = Math.sqrt(1 - beta2 ** step);
  for (const { parameter, gradient, firstMoment, secondMoment, decay = true } of states) {
    const keep = decay ? 1 - learningRate * weightDecay : 1;
    for (let i = 0; i < parameter.length; i++) {
      const g = gradient[i] * gradientScale;
      const m = firstMoment[i] * beta1 + g * (1 - beta1);
      const v = secondMoment[i] * beta2 + g * g * (1 - beta2);
      firstMoment[i] = m;
      secondMoment[i] = v;
      parameter[i] = parameter[i] * keep - (stepSize * m) / (Math.sqrt(v) / correction + epsilon);
    }
  }
}
