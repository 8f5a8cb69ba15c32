/**
 * What the machine is: identical devices, joined by tiers of network from the inside out (NVLink domain, rail or leaf,
 * spine). This file holds the types and their meaning; `ports.ts` derives which ports a message occupies.
 */

/** One kind of accelerator (or, for a cluster emulated on a CPU, one rank's share of it). */
export interface Device {
  readonly name: string;
  /** Memory per device, bytes. */
  readonly memoryBytes: number;
  /** Dense peak by data type, FLOP/s (a multiply-add counts two). `bf16` is always present. */
  readonly flopsPerSecond: { readonly bf16: number; readonly f32?: number; readonly fp8?: number };
  /** Memory bandwidth, bytes/s. */
  readonly memoryBytesPerSecond: number;
  /** Streaming multiprocessors; absent for a CPU rank. Communication kernels take some of them from GEMMs. */
  readonly multiprocessors?: number;
}

/**
 * One level of the network. Level 0 joins devices; level t joins the units of level t-1.
 *
 * A message between two devices crosses the lowest tier that joins them. It occupies, at tier 0, the devices' own ports
 * of tier 0; at tier t >= 1, the ports of tiers 1..t on both sides (a message that crosses the spine leaves through the
 * NIC and through the leaf's uplink, and does not use NVLink).
 */
export interface Tier {
  readonly name: string;
  /** How many units of the level below one unit of this tier joins (devices for tier 0). */
  readonly size: number;
  /** Nominal bandwidth of one port in one direction, bytes/s; ports are full duplex. */
  readonly bytesPerSecond: number;
  /** Share of the nominal bandwidth that long messages reach, more than 0 and at most 1; 1 when left out. */
  readonly reached?: number;
  /**
   * Bytes a second and direction that a device moves while its switch reduces and multicasts (NVLink SHARP); left out
   * where switches do not. Tier 0 only.
   */
  readonly reducingBytesPerSecond?: number;
  /** One-way latency of a message over this tier, seconds. */
  readonly latencySeconds: number;
  /**
   * Ports into this tier that each unit of the level below owns. Tier 0: ports per device (normally 1). Tier t >= 1:
   * ports per unit of tier t-1; the unit's devices share them in consecutive, equal runs: device i of n uses port
   * floor(i*ports/n).
   */
  readonly ports: number;
  /**
   * True when equal port numbers of different units are joined by their own switch (rails), so that traffic between
   * different port numbers is slower: its bandwidth is divided by `crossRailSlowdown`.
   */
  readonly railAligned: boolean;
  /** >= 1; 1 when rails do not matter. */
  readonly crossRailSlowdown: number;
}

export interface Cluster {
  readonly name: string;
  readonly device: Device;
  readonly tiers: readonly Tier[];
  /** Where the figures come from: datasheets, measurements, or the file that was read. */
  readonly sources: readonly string[];
  /** Where a job leaves devices idle: these tiers are what it occupies of a larger cluster. */
  readonly part?: ClusterPart;
}

/** What of a cluster a job occupies. */
export interface ClusterPart {
  /** Devices of the whole cluster. */
  readonly ofDevices: number;
  /** Which of them are used, in words. */
  readonly used: string;
}

/** Bandwidth that long messages reach through one port in one direction, bytes/s. */
export const reachedBytesPerSecond = ({ bytesPerSecond, reached = 1 }: Tier): number => bytesPerSecond * reached;
