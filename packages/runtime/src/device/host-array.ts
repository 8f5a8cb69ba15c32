/** Elements of views on the host. */
import type { Device, HostArray } from './device.js';
import { elementBytes, type View } from './view.js';

const arrays = { f32: Float32Array, i32: Int32Array, bf16: Uint16Array, f16: Uint16Array, u8: Uint8Array } as const;

/** Throws unless `array` can hold exactly the elements of `view`. */
export function checkHostArray(view: View, array: HostArray): void {
  const bytes = view.length * elementBytes[view.type];
  const wanted = arrays[view.type];
  if (!(array instanceof Uint8Array) && !(array instanceof wanted))
    throw new TypeError(`a view of ${view.type} is a ${wanted.name} on the host, not a ${array.constructor.name}`);
  if (array.byteLength !== bytes)
    throw new RangeError(
      `a view of ${view.length} ${view.type} has ${bytes} bytes, the array on the host ${array.byteLength}`,
    );
}

/** An array on the host for all elements of a view, zeros. */
export function emptyHostArray({ type, length }: View): HostArray {
  return new arrays[type](length);
}

/** Copies an f32 view to the host. */
export function readFloats(device: Device, view: View): Float32Array {
  const values = new Float32Array(view.length);
  device.read(view, values);
  return values;
}

/** Copies an i32 view to the host. */
export function readInts(device: Device, view: View): Int32Array {
  const values = new Int32Array(view.length);
  device.read(view, values);
  return values;
}
