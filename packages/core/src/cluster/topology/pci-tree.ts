/** How near two devices of a tree of buses are, from what joins them. */
import type { Proximity } from './topology.js';
import type { XmlElement } from './xml-tree.js';

/** What joins the devices below an element. */
export type Joint = 'bridge' | 'host-bridge' | 'numa-node' | 'machine';

/**
 * Proximity of two elements by the lowest element that holds both. A switch of PCIe is one bridge or two (its port up
 * and its ports down), so that at most one bridge stands between a device and the common one when they are on one
 * switch.
 */
export function proximityOf(
  a: XmlElement,
  b: XmlElement,
  jointOf: (element: XmlElement) => Joint | undefined,
): Proximity {
  const above = new Map<XmlElement, number>();
  let bridges = 0;
  for (let at = a.parent; at !== undefined; at = at.parent) {
    above.set(at, bridges);
    if (jointOf(at) === 'bridge') bridges++;
  }
  let passed = 0;
  for (let at = b.parent; at !== undefined; at = at.parent) {
    const joint = jointOf(at);
    const other = above.get(at);
    if (other !== undefined && joint !== undefined) {
      if (joint === 'bridge') return Math.max(other, passed) <= 1 ? 'PIX' : 'PXB';
      return joint === 'host-bridge' ? 'PHB' : joint === 'numa-node' ? 'NODE' : 'SYS';
    }
    if (joint === 'bridge') passed++;
  }
  return 'SYS';
}
