/** What datasheets say of the links inside a node, by GPU: bounds for measurements, and ratios to carry them between family members. */

export interface GpuLinks {
  /** Canonical name. */
  readonly name: string;
  /** Members of one family differ by datasheet figures only: the same chip generation, link protocol and switch. */
  readonly family: string;
  /** Bandwidth out of one GPU inside the node, one direction, bytes/s. */
  readonly bytesPerSecond: number;
  readonly source: string;
  /** What the GPU's port to the host carries, one direction; absent where the links themselves span nodes or are this port. NICs sit behind it. */
  readonly hostBytesPerSecond?: number;
  readonly hostSource?: string;
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

/** Longest names first, so that `GB200` is not taken for `B200`. Vendors state both directions together; here is one direction. */
const gpus: readonly (GpuLinks & { readonly pattern: RegExp })[] = [
  gpu('GB300', 'blackwell', 900e9, 'NVIDIA GB300 NVL72 datasheet: NVLink 5, 1.8 TB/s bidirectional', 'none'),
  gpu('GB200', 'blackwell', 900e9, 'NVIDIA GB200 NVL72 datasheet: NVLink 5, 1.8 TB/s bidirectional', 'none'),
  gpu('B300', 'blackwell', 900e9, 'NVIDIA HGX B300 datasheet: NVLink 5, 1.8 TB/s bidirectional', 'pcie6'),
  gpu('B200', 'blackwell', 900e9, 'NVIDIA HGX B200 datasheet: NVLink 5, 1.8 TB/s bidirectional', 'pcie5'),
  gpu('GH200', 'hopper', 450e9, 'NVIDIA GH200 datasheet: NVLink 4, 900 GB/s bidirectional', 'none'),
  gpu('H200', 'hopper', 450e9, 'NVIDIA H200 SXM datasheet: NVLink 4, 900 GB/s bidirectional', 'pcie5'),
  gpu('H100', 'hopper', 450e9, 'NVIDIA H100 SXM datasheet: NVLink 4, 900 GB/s bidirectional', 'pcie5'),
  gpu('H800', 'hopper', 200e9, 'H800 SXM: NVLink 4 cut to 8 links, 400 GB/s bidirectional', 'pcie5'),
  gpu('H20', 'hopper', 450e9, 'H20: NVLink 4, 900 GB/s bidirectional', 'pcie5'),
  gpu('A100', 'ampere', 300e9, 'NVIDIA A100 SXM datasheet: NVLink 3, 600 GB/s bidirectional', 'pcie4'),
  gpu('A800', 'ampere', 200e9, 'A800 SXM: NVLink 3 cut to 8 links, 400 GB/s bidirectional', 'pcie4'),
  gpu('V100', 'volta', 150e9, 'NVIDIA V100 SXM2 datasheet: NVLink 2, 300 GB/s bidirectional', 'pcie3'),
  gpu('MI355X', 'cdna4', 537.6e9, 'AMD MI355X datasheet: 7 Infinity Fabric links of 153.6 GB/s bidirectional', 'pcie5'),
  gpu('MI350X', 'cdna4', 537.6e9, 'AMD MI350X datasheet: 7 Infinity Fabric links of 153.6 GB/s bidirectional', 'pcie5'),
  gpu('MI325X', 'cdna3', 448e9, 'AMD MI325X datasheet: 7 Infinity Fabric links of 128 GB/s bidirectional', 'pcie5'),
  gpu('MI300X', 'cdna3', 448e9, 'AMD MI300X datasheet: 7 Infinity Fabric links of 128 GB/s bidirectional', 'pcie5'),
  gpu('RTX PRO 6000', 'pcie5', 63e9, 'RTX PRO 6000 Blackwell datasheet: PCIe 5.0 x16, 63 GB/s each way', 'none'),
  gpu('L40S', 'pcie4', 31.5e9, 'NVIDIA L40S datasheet: PCIe 4.0 x16, 31.5 GB/s each way', 'none'),
];

function gpu(
  name: string,
  family: string,
  bytesPerSecond: number,
  source: string,
  host: keyof typeof hostPorts,
): GpuLinks & { pattern: RegExp } {
  const [hostBytesPerSecond, hostSource] = hostPorts[host] ?? [];
  return {
    name,
    family,
    bytesPerSecond,
    source,
    ...(hostBytesPerSecond === undefined ? {} : { hostBytesPerSecond, hostSource }),
    switched: ['blackwell', 'hopper', 'ampere'].includes(family),
    pattern: new RegExp(`(?<![a-z0-9])${name.replaceAll(' ', '[ _-]?')}(?![0-9])`, 'iu'),
  };
}

/** The device with the fastest links of all that are listed. */
export const fastestLink: GpuLinks = gpus.reduce((best, one) =>
  one.bytesPerSecond > best.bytesPerSecond ? one : best,
);

const found = new Map<string, GpuLinks | undefined>();

/** The links of the GPU that `name` means (as `NVIDIA H100 80GB HBM3`); undefined for a GPU that is not listed, and for PCIe cards. */
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

/** The one listed GPU whose name occurs in a text (a file name, a comment); undefined when there is none or more than one. */
export function gpuIn(text: string): string | undefined {
  const names = gpus.filter(({ pattern }) => pattern.test(text.replaceAll('_', ' '))).map(({ name }) => name);
  return names.length === 1 ? names[0] : undefined;
}

/** A name to compare by: the canonical one when the GPU is listed, else the text without vendor, case and punctuation. */
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
