/**
 * PCI ids of GPUs and NICs (the public list of pci-ids.ucw.cz), and speeds of NICs by card and by slot. Classes: 03xx
 * displays and accelerators, 0200 Ethernet, 0207 InfiniBand.
 */

const nvidia: Readonly<Record<string, string>> = {
  '1db1': 'V100-SXM2-16GB',
  '1db5': 'V100-SXM2-32GB',
  '20b0': 'A100-SXM4-40GB',
  '20b2': 'A100-SXM4-80GB',
  '20b5': 'A100-PCIE-80GB',
  '20f1': 'A100-PCIE-40GB',
  '20f3': 'A800-SXM4-80GB',
  '2324': 'H800-SXM5-80GB',
  '2329': 'H20-SXM-96GB',
  '2330': 'H100-SXM5-80GB',
  '2331': 'H100-PCIE-80GB',
  '2335': 'H200-SXM-141GB',
  '2901': 'B200-SXM-180GB',
  '2941': 'GB200-186GB',
  '3182': 'B300-SXM-288GB',
  '31c2': 'GB300-288GB',
};

const gigabit = 1e9 / 8;

/** NICs with what one port sends, Gb/s: datasheets of the vendors. */
const networkCards: Readonly<Record<string, readonly [string, number]>> = {
  '15b3:1017': ['ConnectX-5', 100],
  '15b3:1019': ['ConnectX-5 Ex', 100],
  '15b3:101b': ['ConnectX-6', 200],
  '15b3:101d': ['ConnectX-6 Dx', 100],
  '15b3:1021': ['ConnectX-7', 400],
  '15b3:1023': ['ConnectX-8', 800],
  '15b3:a2dc': ['BlueField-3', 400],
  '1d0f:efa0': ['EFA 1', 100],
  '1d0f:efa1': ['EFA 2', 100],
};

const bare = (id: string): string => id.toLowerCase().replace(/^0x/u, '');

/** The GPU of a PCI id, undefined for what is no known GPU. */
export const gpuOfPci = (vendor: string, device: string): string | undefined =>
  bare(vendor) === '10de' ? nvidia[bare(device)] : undefined;

/** The NIC of a PCI id and what it sends in one direction, bytes/s. */
export function nicOfPci(vendor: string, device: string): { model: string; bytesPerSecond: number } | undefined {
  const card = networkCards[`${bare(vendor)}:${bare(device)}`];
  return card === undefined ? undefined : { model: card[0], bytesPerSecond: card[1] * gigabit };
}

/** Whether a PCI class like `0x030200` or `0302` is that of a GPU or of a NIC. */
export function kindOfClass(code: string): 'gpu' | 'nic' | undefined {
  const head = bare(code).slice(0, 4);
  return head.startsWith('03') ? 'gpu' : head === '0200' || head === '0207' ? 'nic' : undefined;
}

const speeds = [800, 400, 200, 100, 50, 25, 10];

/**
 * What a NIC in a slot can be at most: the largest usual speed that the slot carries, bytes/s; undefined where the slot
 * carries less than the slowest.
 */
export const nicOfSlot = (slotBytesPerSecond: number): number | undefined => {
  const speed = speeds.find((one) => one * gigabit <= slotBytesPerSecond);
  return speed === undefined ? undefined : speed * gigabit;
};

/** A slot of PCIe 4.0 x16, bytes/s in one direction. */
export const pcieBytesPerSecond = 31.5e9;

/** Payload of a PCIe slot by its speed ("32.0 GT/s PCIe", "16 GT/s") and width, bytes/s in one direction. */
export function slotBytesPerSecond(speed: string, width: string): number | undefined {
  const [transfers, lanes] = [Number.parseFloat(speed), Number.parseInt(width, 10)];
  if (!(transfers > 0 && lanes > 0)) return undefined;
  // 8b/10b up to PCIe 2.0, 128b/130b up to 5.0, flits of 236 of 256 bytes after.
  const payload = transfers <= 5 ? 8 / 10 : transfers <= 32 ? 128 / 130 : 236 / 256;
  return (transfers * 1e9 * lanes * payload) / 8;
}
