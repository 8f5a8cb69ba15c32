/**
 * As what rows travel to their experts. Named types of a payload are those of the forward's way out alone: what comes
 * back, and gradients both ways, stay in the layer's type, so that they are summed as they always are. Counts and
 * probabilities are not rows: they travel in i32 and f32 with every payload.
 */

/** `fp8`: e4m3 elements, and one f32 scale for every `scaleGroup` elements of a row, behind them. */
export type Payload = 'fp8';

export const payloads: readonly Payload[] = ['fp8'];

/**
 * Elements that share a scale: DeepEP's normal dispatch takes x in fp8 beside x_scales of one float for 128 elements
 * (deepseek-ai/DeepEP, `Buffer.dispatch`), as DeepSeek-V3 quantises activations (arXiv 2412.19437, 3.3.2).
 */
export const scaleGroup = 128;

const scaleBytes = 4;

/** Bytes of one row of `columns` elements in fp8 with its scales. */
export const fp8RowBytes = (columns: number): number => columns + scaleBytes * Math.ceil(columns / scaleGroup);
