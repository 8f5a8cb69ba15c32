/** Descriptions of a node's wiring in whatever form they come. */
import { InputError } from '../../units/errors.js';
import { families } from '../families.js';
import { hwlocTopology } from './hwloc-topology.js';
import { ncclTopology } from './nccl-topology.js';
import { looksTopologyMatrix, readTopologyMatrix } from './topology-matrix.js';
import type { Topology } from './topology.js';
import { readXml } from './xml-tree.js';

const looksXml = (text: string): boolean => /^\s*(?:<\?xml|<!--|<!DOCTYPE|<system|<topology)/u.test(text);

/** Whether a text is a topology that `readTopology` takes, rather than a cluster file. */
export const looksTopology = (text: string): boolean => looksXml(text) || looksTopologyMatrix(text);

/** The one family of devices that a text names, like `NVIDIA H100 80GB HBM3`; undefined for none or several. */
export function deviceFamilyIn(text: string): string | undefined {
  const named = Object.keys(families).filter((name) => new RegExp(`(?<![a-z0-9])${name}(?![0-9])`, 'iu').test(text));
  return named.length === 1 ? named[0] : undefined;
}

/**
 * Reads `nvidia-smi topo -m`, NCCL's topology XML (a whole dump, or the PCI tree alone as Azure ships it), or hwloc's
 * XML (as AWS ships it). `where` is the file, for messages. Throws `InputError` that says what was read and where.
 */
export function readTopology(text: string, where: string): Topology {
  if (!looksXml(text)) return readTopologyMatrix(text, where, deviceFamilyIn);
  const root = readXml(text, where);
  if (root.name === 'system') return ncclTopology(root, where);
  if (root.name === 'topology') return hwlocTopology(root, where);
  throw new InputError(`begins with <${root.name}>`, {
    file: where,
    line: root.line,
    expected: "<system> (NCCL's topology) or <topology> (hwloc's)",
  });
}
