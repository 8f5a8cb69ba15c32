/** Reading and writing a rank's device as numbers, for conformance cases. */
import type { Device } from '#runtime/device/device.js';
import { emptyHostArray } from '#runtime/device/host-array.js';
import type { View } from '#runtime/device/view.js';
import type { ConformanceContext } from './conformance-cases.js';

/** `release` gives back what was allocated since it was last called. */
export function hostAccess(
  device: Device,
): Pick<ConformanceContext, 'device' | 'allocate' | 'write' | 'read'> & { readonly release: () => void } {
  const allocated: View[] = [];
  return {
    device,
    allocate: (type, length) => {
      const view = device.allocate(type, length);
      allocated.push(view);
      return view;
    },
    write: (view, values) => {
      const array = emptyHostArray(view);
      array.set(values);
      device.write(view, array);
    },
    read: (view) => {
      const array = emptyHostArray(view);
      device.read(view, array);
      return Array.from(array);
    },
    release: () => {
      for (const view of allocated.splice(0)) device.free(view);
    },
  };
}
