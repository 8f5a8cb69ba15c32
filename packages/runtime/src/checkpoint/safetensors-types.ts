/** Element types of safetensors files, and the conversion of those that Monta computes with to and from float32. */
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../device/half.js';

/** The types of the format (safetensors, tensor.rs) whose elements are whole bytes. */
export const safetensorsBytes = {
  F64: 8,
  F32: 4,
  BF16: 2,
  F16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

export type SafetensorsType = keyof typeof safetensorsBytes;

export function isSafetensorsType(name: string): name is SafetensorsType {
  return Object.hasOwn(safetensorsBytes, name);
}

/**
 * The value of an 8-bit float of 4 exponent and 3 fraction bits (arXiv 2209.05433): bias 7, no infinities, NaN where
 * all of them are set.
 */
export function fromFloat8(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >>> 3) & 0xf;
  const fraction = bits & 7;
  if (exponent === 0xf && fraction === 7) return NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7));
}

const float8Values = Float32Array.from({ length: 256 }, (_, bits) => fromFloat8(bits));

/**
 * Decodes little-endian F32, BF16, F16 or F8_E4M3 elements of `bytes`; RangeError for other types: no weights are
 * stored so.
 */
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
    case 'F8_E4M3':
      for (let i = 0; i < out.length; i++) out[i] = float8Values[bytes[i]];
      break;
    case 'F64':
    case 'F8_E5M2':
    case 'F8_E8M0':
    case 'I64':
    case 'I32':
    case 'I16':
    case 'I8':
    case 'U64':
    case 'U32':
    case 'U16':
    case 'U8':
    case 'BOOL':
      throw new RangeError(`holds ${type}, expected F32, BF16, F16 or F8_E4M3`);
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
      case 'F64':
      case 'F8_E4M3':
      case 'F8_E5M2':
      case 'F8_E8M0':
      case 'I16':
      case 'I8':
      case 'U64':
      case 'U32':
      case 'U16':
      case 'U8':
      case 'BOOL':
        throw new RangeError(`${type} is not written`);
    }
  }
}
