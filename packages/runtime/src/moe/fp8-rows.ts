/**
 * Rows in fp8 as they travel to their experts: e4m3 elements (OCP 8-bit floating point, 1.0: bias 7, no infinities, 448
 * at most), then one f32 scale for every `scaleGroup` elements, little-endian. A group is divided by its scale, its
 * largest magnitude over 448, before it is rounded, so that no element is cut off.
 */
import { fp8RowBytes, scaleGroup } from '@monta/core/schedule';

const largest = 448;
/** Bits of NaN. */
const notANumber = 0x7f;

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** e4m3 bits nearest to a value (ties to even); beyond 448 it is 448, NaN stays NaN. */
export function toE4m3(value: number): number {
  single[0] = value;
  const bits = singleBits[0];
  const sign = (bits >>> 24) & 0x80;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | notANumber;
  // Below 2^-6, the least normal one, there are multiples of 2^-9: float32 numbers from 2^14 to 2^15 are as far apart.
  if (magnitude < 0x3c800000) {
    single[0] = Math.abs(value) + 16_384;
    return sign | (singleBits[0] - 0x46800000);
  }
  // Three of the 23 bits of the fraction stay; the exponent is counted from 7 instead of 127.
  const rounded = ((magnitude + 0x7ffff + ((magnitude >>> 20) & 1)) >>> 20) - (120 << 3);
  return sign | Math.min(rounded, 0x7e);
}

/** What e4m3 bits stand for. */
export function fromE4m3(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >>> 3) & 0xf;
  const fraction = bits & 0x7;
  if ((bits & 0x7f) === notANumber) return NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7));
}

const decoded = Float32Array.from({ length: 256 }, (_, bits) => fromE4m3(bits));

/** The scale of elements [start, end): what maps the largest magnitude to 448. */
function scaleOf(row: Float32Array, start: number, end: number): number {
  let most = 0;
  for (let i = start; i < end; i++) {
    const magnitude = Math.abs(row[i]);
    if (magnitude > most) most = magnitude;
  }
  return Math.fround(most / largest);
}

/** Rows of `width` floats into rows of `fp8RowBytes(width)` bytes. */
export function quantiseRows(rows: Float32Array, width: number, into: Uint8Array): void {
  const stride = fp8RowBytes(width);
  const scales = new DataView(into.buffer, into.byteOffset, into.byteLength);
  for (let row = 0; row < rows.length / width; row++) {
    const [from, to] = [row * width, row * stride];
    for (let start = 0, group = 0; start < width; start += scaleGroup, group++) {
      const end = Math.min(width, start + scaleGroup);
      const scale = scaleOf(rows, from + start, from + end);
      // So small that its scale is 0 in float32: nothing is left of it.
      const inverse = scale === 0 ? 0 : 1 / scale;
      for (let i = start; i < end; i++) into[to + i] = toE4m3(rows[from + i] * inverse);
      scales.setFloat32(to + width + 4 * group, scale, true);
    }
  }
}

/** The floats that rows of `fp8RowBytes(width)` bytes stand for. */
export function dequantiseRows(bytes: Uint8Array, width: number, into: Float32Array): void {
  const stride = fp8RowBytes(width);
  const scales = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let row = 0; row < into.length / width; row++) {
    const [from, to] = [row * stride, row * width];
    for (let start = 0, group = 0; start < width; start += scaleGroup, group++) {
      const scale = scales.getFloat32(from + width + 4 * group, true);
      const end = Math.min(width, start + scaleGroup);
      for (let i = start; i < end; i++) into[to + i] = decoded[bytes[from + i]] * scale;
    }
  }
}

/** Rows as they would arrive. */
export function roundedRows(rows: Float32Array, width: number): Float32Array {
  const bytes = new Uint8Array((rows.length / width) * fp8RowBytes(width));
  const rounded = new Float32Array(rows.length);
  quantiseRows(rows, width, bytes);
  dequantiseRows(bytes, width, rounded);
  return rounded;
}
