/**
 * The optimizer's states in the host's memory: gradients go to the host, AdamW runs there, weights come back
 * (ZeRO-Offload, arXiv 2101.06840; Megatron-Core's `--optimizer-cpu-offload`). Nothing of it overlaps, as without
 * `--overlap-cpu-optimizer-d2h-h2d`.
 */
import type { Device } from '../cluster/cluster.js';
import { linksOf } from '../cost/index.js';

/** One device's share of its host, bytes/s. */
interface Host {
  /** In one direction. */
  readonly linkBytesPerSecond: number;
  readonly memoryBytesPerSecond: number;
}

/**
 * Memory of hosts of eight GPUs by the port of the GPUs, both sockets: DGX A100 (EPYC 7742, 8 channels of DDR4-3200
 * each), DGX H100 (Xeon 8480C, 8 of DDR5-4800), DGX B300 (Xeon 6776P, 8 of DDR5-6400); PCIe 3: DGX-1 (Xeon E5-2698 v4,
 * 4 of DDR4-2400).
 */
const hostMemory: readonly (readonly [portBytesPerSecond: number, bytesPerSecond: number])[] = [
  [16e9, 153.6e9],
  [32e9, 409.6e9],
  [64e9, 614.4e9],
  [Infinity, 819.2e9],
];
const gpusOfHost = 8;

/**
 * A Grace: NVLink-C2C 900 GB/s in both directions, LPDDR5X up to 512 GB/s (NVIDIA's datasheets of GH200 and GB200). Two
 * GPUs of GB200 share one.
 */
const graceOf = (gpus: number): Host => ({ linkBytesPerSecond: 450e9 / gpus, memoryBytesPerSecond: 512e9 / gpus });

/** Undefined where no port to a host is known. */
export function hostOf(device: Device): Host | undefined {
  const links = linksOf(device.name);
  if (links?.perGrace !== undefined) return graceOf(links.perGrace);
  const port = links?.hostBytesPerSecond;
  if (port === undefined) return undefined;
  const memory = hostMemory.find(([most]) => port <= most)?.[1] ?? 0;
  return { linkBytesPerSecond: port, memoryBytesPerSecond: memory / gpusOfHost };
}

/** A gradient in 32 bits there, a weight in 16 back. */
const [gradientBytes, weightBytes] = [4, 2];
/** Of an element: gradient, main weight and moments read, main weight and moments written, the weight in 16 bits. */
const updateBytes = 4 * 4 + 3 * 4 + weightBytes;

/** Seconds of an element's update; infinite where the host is not known. */
export function hostUpdateSeconds(device: Device): number {
  const host = hostOf(device);
  if (host === undefined) return Infinity;
  return (gradientBytes + weightBytes) / host.linkBytesPerSecond + updateBytes / host.memoryBytesPerSecond;
}
