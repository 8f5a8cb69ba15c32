/** Element types of safetensors files that Monta reads and writes, and their conversion to and from float32. */

export type SafetensorsType = 'F32' | 'BF16' | 'F16' | 'I32' | 'I64';

export const safetensorsBytes: Readonly<Record<SafetensorsType, number>> = { F32: 4, BF16: 2, F16: 2, I32: 4, I64: 8 };

export function isSafetensorsType(name: string): name is SafetensorsType {
  return Object.hasOwn(safetensorsBytes, name);
}

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
    // below the least normal half, 2^-14: multiples of 2^-24. The float32 sum with 0.5 has an ulp of 2^-24 and rounds to even.
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

/** Decodes little-endian F32, BF16 or F16 elements of `bytes`; RangeError for integer types: no weights are stored so. */
export function decodeToFloat32(type: SafetensorsType, bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case 'F32':
      for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
      break;
    case 'BF16':
      for (let i = 0; i < out.length; i++) out[i] = fromBfloat16(view.getUint16(2 * i, true));
      break;
    case 'F16':
      for (let i = 0; i < out.length; i++) out[i] = fromFloat16(view.getUint16(2 * i, true));
      break;
    case 'I32':
    case 'I64':
      throw new RangeError(`holds ${type}, expected F32, BF16 or F16`);
  }
}

/** Decodes I32 or I64 elements to int32; RangeError for other types and for values beyond 32 bits. */
export function decodeToInt32(type: SafetensorsType, bytes: Uint8Array, out: Int32Array): void {
  if (type !== 'I32' && type !== 'I64') throw new RangeError(`holds ${type}, expected I32 or I64`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < out.length; i++) {
    const value = type === 'I32' ? view.getInt32(4 * i, true) : Number(view.getBigInt64(8 * i, true));
    if ((value | 0) !== value) throw new RangeError(`integer ${value} does not fit 32 bits`);
    out[i] = value;
  }
}

/** Encodes values as `type`, little-endian. */
export function encode(type: SafetensorsType, values: Float32Array | Int32Array, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    switch (type) {
      case 'F32':
        view.setFloat32(4 * i, value, true);
        break;
      case 'BF16':
        view.setUint16(2 * i, toBfloat16(value), true);
        break;
      case 'F16':
        view.setUint16(2 * i, toFloat16(value), true);
        break;
      case 'I32':
        if ((value | 0) !== value) throw new RangeError(`${value} is not a 32-bit integer`);
        view.setInt32(4 * i, value, true);
        break;
      case 'I64':
        if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an exact integer`);
        view.setBigInt64(8 * i, BigInt(value), true);
        break;
    }
  }
}
