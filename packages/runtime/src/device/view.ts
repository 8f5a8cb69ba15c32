/** Element types that the runtime stores; 4, 4, 2, 2 and 1 bytes. */
export type ElementType = 'f32' | 'i32' | 'bf16' | 'f16' | 'u8';

export const elementBytes: Readonly<Record<ElementType, number>> = { f32: 4, i32: 4, bf16: 2, f16: 2, u8: 1 };

/**
 * A run of elements in a rank's device memory: plain data, valid on every backend (an offset into a shared buffer on the CPU, into
 * the arena's allocation on a GPU).
 */
export interface View {
  readonly type: ElementType;
  /** From the start of the rank's memory. */
  readonly byteOffset: number;
  /** Elements. */
  readonly length: number;
}
