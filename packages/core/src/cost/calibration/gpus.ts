/**
 * What datasheets say of the links inside a node, by GPU: bounds for measurements, and ratios to carry them between
 * family members.
 */

export interface GpuLinks {
  /** Canonical name. */
  readonly name: string;
  /** Members of one family differ by datasheet figures only: the same chip generation, link protocol and switch. */
  readonly family: string;
  /** Bandwidth out of one GPU inside the node, one direction, bytes/s. */
  readonly bytesPerSecond: number;
  readonly source: string;
  /**
   * What the GPU's port to the host carries, one direction; absent where the links themselves span nodes or are this
   * port. NICs sit behind it.
   */
  readonly hostBytesPerSecond?: number;
  readonly hostSource?: string;
  /** GPUs that share a Grace as their host. */
  readonly perGrace?: number;
  /** All GPUs of a node joined by switches at full rate (NVSwitch), not by PCIe. */
  readonly switched: boolean;
}

/** Ports to the host, bytes/s in one direction. */
const hostPorts = {
  pcie3: [15.75e9, 'PCIe 3.0 x16'],
  pcie4: [31.5e9, 'PCIe 4.0 x16'],
  pcie5: [63e9, 'PCIe 5.0 x16'],
  pcie6: [121e9, 'PCIe 6.0 x16'],
  /** The links span nodes, or are this port. */
  none: undefined,
} as const;

/**
 * Longest names first, so that `GB200` is not taken for `B200`. Vendors state both directions together; here is one
 * direction.
 */
const gpus: readonly (GpuLinks & { readonly pattern: RegExp })[] = [
  gpu({
    name: 'GB300',
    family: 'blackwell',
    bytesPerSecond: 900e9,
    source: 'NVIDIA GB300 NVL72 datasheet: NVLink 5, 1.8 TB/s bidirectional',
    host: 'none',
    perGrace: 2,
  }),
  gpu({
    name: 'GB200',
    family: 'blackwell',
    bytesPerSecond: 900e9,
    source: 'NVIDIA GB200 NVL72 datasheet: NVLink 5, 1.8 TB/s bidirectional',
    host: 'none',
    perGrace: 2,
  }),
  gpu({
    name: 'B300',
    family: 'blackwell',
    bytesPerSecond: 900e9,
    source: 'NVIDIA HGX B300 datasheet: NVLink 5, 1.8 TB/s bidirectional',
    host: 'pcie6',
  }),
  gpu({
    name: 'B200',
    family: 'blackwell',
    bytesPerSecond: 900e9,
    source: 'NVIDIA HGX B200 datasheet: NVLink 5, 1.8 TB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'GH200',
    family: 'hopper',
    bytesPerSecond: 450e9,
    source: 'NVIDIA GH200 datasheet: NVLink 4, 900 GB/s bidirectional',
    host: 'none',
    perGrace: 1,
  }),
  gpu({
    name: 'H200',
    family: 'hopper',
    bytesPerSecond: 450e9,
    source: 'NVIDIA H200 SXM datasheet: NVLink 4, 900 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'H100',
    family: 'hopper',
    bytesPerSecond: 450e9,
    source: 'NVIDIA H100 SXM datasheet: NVLink 4, 900 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'H800',
    family: 'hopper',
    bytesPerSecond: 200e9,
    source: 'H800 SXM: NVLink 4 cut to 8 links, 400 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'H20',
    family: 'hopper',
    bytesPerSecond: 450e9,
    source: 'H20: NVLink 4, 900 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'A100',
    family: 'ampere',
    bytesPerSecond: 300e9,
    source: 'NVIDIA A100 SXM datasheet: NVLink 3, 600 GB/s bidirectional',
    host: 'pcie4',
  }),
  gpu({
    name: 'A800',
    family: 'ampere',
    bytesPerSecond: 200e9,
    source: 'A800 SXM: NVLink 3 cut to 8 links, 400 GB/s bidirectional',
    host: 'pcie4',
  }),
  gpu({
    name: 'V100',
    family: 'volta',
    bytesPerSecond: 150e9,
    source: 'NVIDIA V100 SXM2 datasheet: NVLink 2, 300 GB/s bidirectional',
    host: 'pcie3',
  }),
  gpu({
    name: 'MI355X',
    family: 'cdna4',
    bytesPerSecond: 537.6e9,
    source: 'AMD MI355X datasheet: 7 Infinity Fabric links of 153.6 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'MI350X',
    family: 'cdna4',
    bytesPerSecond: 537.6e9,
    source: 'AMD MI350X datasheet: 7 Infinity Fabric links of 153.6 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'MI325X',
    family: 'cdna3',
    bytesPerSecond: 448e9,
    source: 'AMD MI325X datasheet: 7 Infinity Fabric links of 128 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'MI300X',
    family: 'cdna3',
    bytesPerSecond: 448e9,
    source: 'AMD MI300X datasheet: 7 Infinity Fabric links of 128 GB/s bidirectional',
    host: 'pcie5',
  }),
  gpu({
    name: 'RTX PRO 6000',
    family: 'pcie5',
    bytesPerSecond: 63e9,
    source: 'RTX PRO 6000 Blackwell datasheet: PCIe 5.0 x16, 63 GB/s each way',
    host: 'none',
  }),
  gpu({
    name: 'L40S',
    family: 'pcie4',
    bytesPerSecond: 31.5e9,
    source: 'NVIDIA L40S datasheet: PCIe 4.0 x16, 31.5 GB/s each way',
    host: 'none',
  }),
];

function gpu({
  name,
  family,
  bytesPerSecond,
  source,
  host,
  perGrace,
}: {
  readonly name: string;
  readonly family: string;
  readonly bytesPerSecond: number;
  readonly source: string;
  readonly host: keyof typeof hostPorts;
  readonly perGrace?: number;
}): GpuLinks & { pattern: RegExp } {
  const [hostBytesPerSecond, hostSource] = hostPorts[host] ?? [];
  return {
    name,
    family,
    bytesPerSecond,
    source,
    ...(hostBytesPerSecond === undefined ? {} : { hostBytesPerSecond, hostSource }),
    ...(perGrace === undefined ? {} : { perGrace }),
    switched: ['blackwell', 'hopper', 'ampere'].includes(family),
    pattern: new RegExp(`(?<![a-z0-9])${name.replaceAll(' ', '[ _-]?')}(?![0-9])`, 'iu'),
  };
}

/** The device with the fastest links of all that are listed. */
export const fastestLink: GpuLinks = gpus.reduce((best, one) =>
  one.bytesPerSecond > best.bytesPerSecond ? one : best,
);

const found = new Map<string, GpuLinks | undefined>();

/**
 * The links of the GPU that `name` means (as `NVIDIA H100 80GB HBM3`); undefined for a GPU that is not listed, and for
 * PCIe cards.
 */
export function linksOf(name: string): GpuLinks | undefined {
  if (!found.has(name)) found.set(name, findLinks(name));
  return found.get(name);
}

function findLinks(name: string): GpuLinks | undefined {
  const entry = gpus.find(({ pattern }) => pattern.test(name));
  // The PCIe card of an SXM GPU has the name but not the links.
  if (entry === undefined || (!entry.family.startsWith('pcie') && /pcie/iu.test(name))) return undefined;
  const { pattern: _, ...links } = entry;
  return links;
}

/**
 * The one listed GPU whose name occurs in a text (a file name, a comment); undefined when there is none or more than
 * one.
 */
export function gpuIn(text: string): string | undefined {
  const names = gpus.filter(({ pattern }) => pattern.test(text.replaceAll('_', ' '))).map(({ name }) => name);
  return names.length === 1 ? names[0] : undefined;
}

/**
 * A name to compare by: the canonical one when the GPU is listed, else the text without vendor, case and punctuation.
 */
export function gpuKey(name: string): string {
  return (
    linksOf(name)?.name ??
    name
      .toLowerCase()
      .replace(/nvidia/u, '')
      .replace(/[^a-z0-9]+/gu, ' ')
      .trim()
  );
}
