/** Element types that the runtime stores; 4, 4, 2, 2 and 1 bytes. */
export type ElementType = 'f32' | 'i32' | 'bf16' | 'f16' | 'u8';

export const elementBytes: Readonly<Record<ElementType, number>> = { f32: 4, i32: 4, bf16: 2, f16: 2, u8: 1 };

/**
 * A run of elements in a rank's device memory: plain data, whose address only the device itself can follow (an offset
 * into a shared buffer on the CPU, a device pointer on a GPU).
 */
export interface View {
  readonly type: ElementType;
  /** The device's address of the first element. */
  readonly byteOffset: number;
  /** Elements. */
  readonly length: number;
}

/** `length` elements of a view from element `start` on. */
export function part(view: View, start: number, length: number): View {
  if (!(start >= 0 && length >= 0 && start + length <= view.length))
    throw new RangeError(`elements ${start}..${start + length} are not within a view of ${view.length}`);
  return { type: view.type, byteOffset: view.byteOffset + start * elementBytes[view.type], length };
}
