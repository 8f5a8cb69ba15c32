/** What datasheets say of the links inside a node, by GPU: bounds for measurements, and ratios to carry them between family members. */

export interface GpuLinks {
  /** Canonical name. */
  readonly name: string;
  /** Members of one family differ by datasheet figures only: the same chip generation, link protocol and switch. */
  readonly family: string;
  /** Bandwidth out of one GPU inside the node, one direction, bytes/s. */
  readonly bytesPerSecond: number;
  readonly source: string;
  /** All GPUs of a node joined by switches at full rate (NVSwitch), not by PCIe. */
  readonly switched: boolean;
}

/** Longest names first, so that `GB200` is not taken for `B200`. Vendors state both directions together; here is one direction. */
const gpus: readonly (GpuLinks & { readonly pattern: RegExp })[] = [
  gpu('GB300', 'blackwell', 900e9, 'NVIDIA GB300 NVL72 datasheet: NVLink 5, 1.8 TB/s bidirectional'),
  gpu('GB200', 'blackwell', 900e9, 'NVIDIA GB200 NVL72 datasheet: NVLink 5, 1.8 TB/s bidirectional'),
  gpu('B300', 'blackwell', 900e9, 'NVIDIA HGX B300 datasheet: NVLink 5, 1.8 TB/s bidirectional'),
  gpu('B200', 'blackwell', 900e9, 'NVIDIA HGX B200 datasheet: NVLink 5, 1.8 TB/s bidirectional'),
  gpu('GH200', 'hopper', 450e9, 'NVIDIA GH200 datasheet: NVLink 4, 900 GB/s bidirectional'),
  gpu('H200', 'hopper', 450e9, 'NVIDIA H200 SXM datasheet: NVLink 4, 900 GB/s bidirectional'),
  gpu('H100', 'hopper', 450e9, 'NVIDIA H100 SXM datasheet: NVLink 4, 900 GB/s bidirectional'),
  gpu('H800', 'hopper', 200e9, 'H800 SXM: NVLink 4 cut to 8 links, 400 GB/s bidirectional'),
  gpu('H20', 'hopper', 450e9, 'H20: NVLink 4, 900 GB/s bidirectional'),
  gpu('A100', 'ampere', 300e9, 'NVIDIA A100 SXM datasheet: NVLink 3, 600 GB/s bidirectional'),
  gpu('A800', 'ampere', 200e9, 'A800 SXM: NVLink 3 cut to 8 links, 400 GB/s bidirectional'),
  gpu('V100', 'volta', 150e9, 'NVIDIA V100 SXM2 datasheet: NVLink 2, 300 GB/s bidirectional'),
  gpu('RTX PRO 6000', 'pcie5', 63e9, 'RTX PRO 6000 Blackwell datasheet: PCIe 5.0 x16, 63 GB/s each way'),
  gpu('L40S', 'pcie4', 31.5e9, 'NVIDIA L40S datasheet: PCIe 4.0 x16, 31.5 GB/s each way'),
];

function gpu(name: string, family: string, bytesPerSecond: number, source: string): GpuLinks & { pattern: RegExp } {
  return {
    name,
    family,
    bytesPerSecond,
    source,
    switched: !family.startsWith('pcie') && family !== 'volta',
    pattern: new RegExp(`(?<![a-z0-9])${name.replaceAll(' ', '[ _-]?')}(?![0-9])`, 'iu'),
  };
}

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
