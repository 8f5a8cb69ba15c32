/**
 * Known machines. Bandwidths, FLOP rates and memory are nominal datasheet figures, each with its source; latencies are on no
 * datasheet and are said to be assumptions. A calibration replaces both with what a machine really gives.
 */
import { InputError } from '../units/errors.js';
import { didYouMean } from '../units/nearest.js';
import type { Cluster, Device, Tier } from './cluster.js';

const giga = 1e9;
const tera = 1e12;
const gibi = 2 ** 30;
/** Bytes a second of one bit a second. */
const bits = 1 / 8;

/** A family of machines: its node, and the network between nodes. */
interface Family {
  readonly device: Device;
  /** Most devices that one NVLink domain joins. */
  readonly domain: number;
  readonly inner: Pick<Tier, 'name' | 'bytesPerSecond' | 'latencySeconds'>;
  readonly outer: Pick<Tier, 'name' | 'bytesPerSecond' | 'latencySeconds' | 'railAligned'>;
  /** NICs per node of `devices` devices unless the name says otherwise. */
  readonly nics: (devices: number) => number;
  readonly sources: readonly string[];
}

const oneEach = (devices: number): number => devices;

/** NCCL point-to-point latencies are a few microseconds; these two stand in until a calibration has measured them. */
const assumedLatencies =
  'latencies (NVLink 3 us, network 6 us) are assumptions of the usual order for NCCL, on no datasheet: calibrate';
const nvlinkLatency = 3e-6;
const networkLatency = 6e-6;

const a100: Device = {
  name: 'A100-SXM4-80GB',
  memoryBytes: 80 * gibi,
  flopsPerSecond: { bf16: 312 * tera, f32: 19.5 * tera },
  memoryBytesPerSecond: 2039 * giga,
  multiprocessors: 108,
};
const h100: Device = {
  name: 'H100-SXM5-80GB',
  memoryBytes: 80 * gibi,
  flopsPerSecond: { bf16: 989 * tera, f32: 67 * tera, fp8: 1979 * tera },
  memoryBytesPerSecond: 3350 * giga,
  multiprocessors: 132,
};

const families: Readonly<Record<string, Family>> = {
  a800: {
    device: { ...a100, name: 'A800-SXM4-80GB' },
    domain: 8,
    inner: { name: 'nvlink', bytesPerSecond: 200 * giga, latencySeconds: nvlinkLatency },
    outer: {
      name: 'infiniband',
      bytesPerSecond: 200 * giga * bits,
      latencySeconds: networkLatency,
      railAligned: false,
    },
    nics: (devices) => Math.min(4, devices),
    sources: [
      'compute and memory: NVIDIA A100 80GB SXM datasheet (312 TFLOPS bf16 dense, 19.5 TFLOPS f32, 2,039 GB/s), which the A800 shares; 108 SMs: NVIDIA A100 architecture white paper',
      'NVLink: A800 has 8 third-generation links, 400 GB/s both ways, 200 GB/s one way (press reports of the A800 launch, Reuters 2022)',
      'network: 200 Gb/s InfiniBand HDR per NIC; the number of NICs varies between sites (4 seen most often), the name says how many',
      assumedLatencies,
    ],
  },
  a100: {
    device: a100,
    domain: 8,
    inner: { name: 'nvlink', bytesPerSecond: 300 * giga, latencySeconds: nvlinkLatency },
    outer: { name: 'infiniband', bytesPerSecond: 200 * giga * bits, latencySeconds: networkLatency, railAligned: true },
    nics: oneEach,
    sources: [
      'NVIDIA A100 80GB SXM datasheet: 312 TFLOPS bf16 dense, 19.5 TFLOPS f32, 2,039 GB/s, NVLink 600 GB/s both ways; 108 SMs: NVIDIA A100 architecture white paper',
      'network: NVIDIA DGX A100 datasheet, eight ConnectX-6 200 Gb/s for compute, rail-optimised in DGX SuperPOD; slowdown across rails not known, taken as 1',
      assumedLatencies,
    ],
  },
  h100: {
    device: h100,
    domain: 8,
    inner: { name: 'nvlink', bytesPerSecond: 450 * giga, latencySeconds: nvlinkLatency },
    outer: { name: 'infiniband', bytesPerSecond: 400 * giga * bits, latencySeconds: networkLatency, railAligned: true },
    nics: oneEach,
    sources: [
      'NVIDIA H100 SXM datasheet: 989 TFLOPS bf16 and 1,979 TFLOPS fp8 dense, 67 TFLOPS f32, 3.35 TB/s, NVLink 900 GB/s both ways; 132 SMs: NVIDIA H100 architecture white paper',
      'network: NVIDIA DGX H100 datasheet, eight ConnectX-7 400 Gb/s, rail-optimised in DGX SuperPOD; slowdown across rails not known, taken as 1',
      assumedLatencies,
    ],
  },
  h200: {
    device: { ...h100, name: 'H200-SXM-141GB', memoryBytes: 141 * giga, memoryBytesPerSecond: 4800 * giga },
    domain: 8,
    inner: { name: 'nvlink', bytesPerSecond: 450 * giga, latencySeconds: nvlinkLatency },
    outer: { name: 'infiniband', bytesPerSecond: 400 * giga * bits, latencySeconds: networkLatency, railAligned: true },
    nics: oneEach,
    sources: [
      'NVIDIA H200 SXM datasheet: 141 GB, 4.8 TB/s, 989 TFLOPS bf16 and 1,979 TFLOPS fp8 dense, 67 TFLOPS f32, NVLink 900 GB/s both ways; 132 SMs as the H100',
      'network: NVIDIA DGX H200 datasheet, eight ConnectX-7 400 Gb/s, rail-optimised in DGX SuperPOD; slowdown across rails not known, taken as 1',
      assumedLatencies,
    ],
  },
  b200: {
    device: {
      name: 'B200-SXM-180GB',
      memoryBytes: 180 * giga,
      flopsPerSecond: { bf16: 2250 * tera, f32: 75 * tera, fp8: 4500 * tera },
      memoryBytesPerSecond: 8 * tera,
      multiprocessors: 148,
    },
    domain: 8,
    inner: { name: 'nvlink', bytesPerSecond: 900 * giga, latencySeconds: nvlinkLatency },
    outer: { name: 'infiniband', bytesPerSecond: 400 * giga * bits, latencySeconds: networkLatency, railAligned: true },
    nics: oneEach,
    sources: [
      'NVIDIA HGX B200 datasheet, an eighth of it: 1.44 TB, 36 PFLOPS bf16 and 72 PFLOPS fp8 with sparsity (half of it dense), 600 TFLOPS f32; 8 TB/s and NVLink 5 with 1.8 TB/s both ways per GPU; 148 SMs as the CUDA runtime reports',
      'network: NVIDIA DGX B200 datasheet, eight ConnectX-7 400 Gb/s; slowdown across rails not known, taken as 1',
      assumedLatencies,
    ],
  },
  gb200: {
    device: {
      name: 'GB200-186GB',
      memoryBytes: 186 * giga,
      flopsPerSecond: { bf16: 2500 * tera, f32: 80 * tera, fp8: 5000 * tera },
      memoryBytesPerSecond: 8 * tera,
      multiprocessors: 152,
    },
    domain: 72,
    inner: { name: 'nvlink', bytesPerSecond: 900 * giga, latencySeconds: nvlinkLatency },
    outer: { name: 'infiniband', bytesPerSecond: 400 * giga * bits, latencySeconds: networkLatency, railAligned: true },
    nics: oneEach,
    sources: [
      'NVIDIA GB200 NVL72 datasheet, a 72nd of it: 13.4 TB, 576 TB/s, 360 PFLOPS bf16 and 720 PFLOPS fp8 with sparsity (half of it dense), 5,760 TFLOPS f32, NVLink 130 TB/s both ways (1.8 TB/s per GPU); 152 SMs as the CUDA runtime reports',
      'network between racks: one ConnectX-7 400 Gb/s per GPU (four per compute tray); slowdown across rails not known, taken as 1',
      assumedLatencies,
    ],
  },
  laptop: {
    device: {
      name: 'CPU share',
      memoryBytes: 1 * gibi,
      flopsPerSecond: { bf16: 15 * giga, f32: 15 * giga },
      memoryBytesPerSecond: 2.5 * giga,
    },
    domain: 8,
    inner: { name: 'bus', bytesPerSecond: 1 * giga, latencySeconds: 20e-6 },
    outer: { name: 'ethernet', bytesPerSecond: 0.2 * giga, latencySeconds: 50e-6, railAligned: false },
    nics: () => 1,
    sources: [
      'invented, to be emulated on one machine: slow enough for two CPU cores to carry the bytes of eight ranks. A device gets 1 GB/s inside its node and a quarter of 0.2 GB/s out of it, a ratio of 20 (A800 with 4 NICs: 16, with 1 NIC: 64)',
      'device: an eighth of two cores at about 60 GFLOP/s each in f32 (bf16 is computed in f32); memory bandwidth an eighth of about 20 GB/s',
    ],
  },
};

/** A cluster of a family: `nodes` nodes of `devices` devices behind `nics` NICs each. */
function build(name: string, family: Family, nodes: number, devices: number, nics: number): Cluster {
  const inner: Tier = { ...family.inner, size: devices, ports: 1, railAligned: false, crossRailSlowdown: 1 };
  const outer: Tier = { ...family.outer, size: nodes, ports: nics, crossRailSlowdown: 1 };
  return { name, device: family.device, tiers: nodes === 1 ? [inner] : [inner, outer], sources: family.sources };
}

const names = [
  'a800-2x8',
  'a800-2x8-1nic',
  'a800-2x8-8nic',
  'a800-1x8',
  'a100-2x8',
  'h100-2x8',
  'h200-2x8',
  'b200-2x8',
  'gb200-nvl72',
  'laptop-2x4',
];

const pattern = /^([a-z][a-z0-9]*)-(\d+)x(\d+)(?:-(\d+)nics?)?$/u;
/** A slip of the keyboard rather than a machine. */
const mostNodes = 65_536;

/**
 * A known cluster by name: one of `clusterPresets`, or by pattern `h100-16x8` (16 nodes of 8), `a800-4x8-1nic` (1 NIC a node).
 * Throws `InputError` for a name that is not known.
 */
export function getCluster(name: string): Cluster {
  if (name === 'gb200-nvl72') return build(name, families.gb200, 1, 72, 72);
  const [, familyName = '', nodesText, devicesText, nicsText] = pattern.exec(name) ?? [];
  const family = Object.hasOwn(families, familyName) ? families[familyName] : undefined;
  if (family === undefined) {
    throw new InputError(`"${name}" is not a known cluster`, {
      path: 'cluster',
      expected: `a cluster file, or one of ${names.join(', ')}, or any count like h100-16x8 or a800-4x8-1nic`,
      hint: didYouMean(name, names),
    });
  }
  const [nodes, devices] = [Number(nodesText), Number(devicesText)];
  if (nodes < 1 || nodes > mostNodes) throw wrong(`"${name}" has ${nodes} nodes`, `1 to ${mostNodes} nodes`);
  if (devices < 1 || devices > family.domain) {
    throw wrong(`"${name}" has ${devices} devices a node`, `1 to ${family.domain} ${family.device.name} a node`);
  }
  if (nicsText !== undefined && nodes === 1)
    throw wrong(`"${name}" is one node, NICs do nothing in it`, `${familyName}-1x${devices}`);
  const nics = nicsText === undefined ? family.nics(devices) : Number(nicsText);
  if (nics < 1 || nics > devices) throw wrong(`"${name}" has ${nics} NICs a node`, `1 to ${devices}, one per device`);
  return build(name, family, nodes, devices, nics);
}

function wrong(message: string, expected: string): InputError {
  return new InputError(message, { path: 'cluster', expected });
}

/** The clusters that are listed to people, by name. */
export const clusterPresets: ReadonlyMap<string, Cluster> = new Map(names.map((name) => [name, getCluster(name)]));
