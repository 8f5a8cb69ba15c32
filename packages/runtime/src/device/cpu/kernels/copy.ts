/** Kernels that move or set elements and compute nothing; every device has them. */
import type { CpuKernels } from '../kernel-call.js';

export const copyKernels: CpuKernels = {
  /** Roles `from` and `to`, of the same type and length. */
  copy: (call) => {
    const [from, to] = [call.operand('from'), call.operand('to')];
    if (from.view.byteOffset !== to.view.byteOffset) to.bytes.set(from.bytes);
  },
  /** Role `to`; argument `value`, 0 for elements that the CPU does not compute in. */
  fill: (call) => {
    const to = call.operand('to');
    const { value } = call.arguments;
    if (value === 0) to.bytes.fill(0);
    else if (typeof value === 'number') (to.view.type === 'i32' ? to.i32 : to.f32).fill(value);
    else throw new TypeError(`fill: the argument value is ${String(value)}, expected a number`);
  },
};
