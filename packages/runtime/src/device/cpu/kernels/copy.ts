/** Kernels that move or set elements and compute nothing; every device has them. */
import type { CatalogueKernels } from '../kernel-call.js';

export const copyKernels: CatalogueKernels<'copy' | 'fill'> = {
  copy: (call) => {
    const [from, to] = [call.operand('from'), call.operand('to')];
    if (from.view.byteOffset !== to.view.byteOffset) to.bytes.set(from.bytes);
  },
  fill: (call) => {
    const to = call.operand('to');
    const { value } = call.arguments;
    if (value === 0) to.bytes.fill(0);
    else (to.view.type === 'i32' ? to.i32 : to.f32).fill(value);
  },
};
