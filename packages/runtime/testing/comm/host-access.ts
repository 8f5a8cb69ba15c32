/** Reading and writing a CPU rank's memory as numbers, for conformance cases and small tools. */
import type { ConformanceContext } from './conformance-cases.js';
import type { CpuMemory } from '#runtime/device/cpu/memory.js';
import type { View } from '#runtime/device/view.js';

export function hostAccess(memory: CpuMemory): Pick<ConformanceContext, 'allocate' | 'write' | 'read'> {
  const elements = (view: View): Float32Array | Int32Array | Uint8Array | Uint16Array => {
    switch (view.type) {
      case 'f32':
        return memory.f32(view);
      case 'i32':
        return memory.i32(view);
      case 'u8':
        return memory.u8(view);
      case 'bf16':
      case 'f16':
        return memory.u16(view);
    }
  };
  return {
    allocate: (type, length) => memory.allocateView(type, length),
    write: (view, values) => elements(view).set(values),
    read: (view) => Array.from(elements(view)),
  };
}
