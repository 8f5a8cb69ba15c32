/** Limits activations to [-limit, limit] (`clip_qkv` of OLMoE). */

/** y = x limited; y may be x, if x is kept elsewhere for the backward. */
export function clampForward(x: Float32Array, limit: number, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = Math.max(-limit, Math.min(limit, x[i]));
}

/** dx = dy where x, the input, lay within the limits (the limits included, as PyTorch), else 0. dx may be dy. */
export function clampBackward(x: Float32Array, limit: number, dy: Float32Array, dx: Float32Array): void {
  for (let i = 0; i < dx.length; i++) dx[i] = Math.abs(x[i]) <= limit ? dy[i] : 0;
}
