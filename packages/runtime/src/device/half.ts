/** The two 16-bit float types as bit patterns, to and from float32. */

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** The float32 nearest to `value`, as bits. */
function bitsOf(value: number): number {
  single[0] = value;
  return singleBits[0];
}

function fromBits(bits: number): number {
  singleBits[0] = bits;
  return single[0];
}

/** bfloat16 bits nearest to a float32 (ties to even); NaN stays NaN. */
export function toBfloat16(value: number): number {
  const bits = bitsOf(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** As `toBfloat16`, of every element. */
export function toBfloat16Array(values: Float32Array): Uint16Array<ArrayBuffer> {
  const rounded = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) rounded[i] = toBfloat16(values[i]);
  return rounded;
}

export function fromBfloat16(bits: number): number {
  return fromBits(bits << 16);
}

/** IEEE half bits nearest to a float32 (ties to even); beyond 65504 infinite, NaN stays NaN. */
export function toFloat16(value: number): number {
  const bits = bitsOf(value);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude < 0x38800000) {
    // below the least normal half, 2^-14: multiples of 2^-24. The float32 sum with 0.5 has an ulp of 2^-24 and rounds
    // to even.
    return sign | (bitsOf(fromBits(magnitude) + 0.5) - 0x3f000000);
  }
  const odd = (magnitude >>> 13) & 1;
  return sign | (((magnitude - 0x38000000 + 0xfff + odd) >>> 13) & 0x7fff);
}

export function fromFloat16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
