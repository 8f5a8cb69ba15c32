/** Element types of safetensors files that Monta reads and writes, and their conversion to and from float32. */
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../device/half.js';

export type SafetensorsType = 'F32' | 'BF16' | 'F16' | 'I32' | 'I64';

export const safetensorsBytes: Readonly<Record<SafetensorsType, number>> = { F32: 4, BF16: 2, F16: 2, I32: 4, I64: 8 };

export function isSafetensorsType(name: string): name is SafetensorsType {
  return Object.hasOwn(safetensorsBytes, name);
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
