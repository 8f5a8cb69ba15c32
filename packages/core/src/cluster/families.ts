/**
 * Families of known machines. Bandwidths, FLOP rates and memory are nominal datasheet figures, each with its source;
 * shares that are reached and latencies come from published measurements, which a source line names. A calibration
 * replaces them with what a machine really gives.
 */
import type { Device, Tier } from './cluster.js';

const giga = 1e9;
const tera = 1e12;
const mebi = 2 ** 20;
const gibi = 2 ** 30;
/** Bytes a second of one bit a second. */
const bits = 1 / 8;

/** A family of machines: its node, and the network between nodes. */
export interface Family {
  readonly device: Device;
  /** Most devices that one NVLink domain joins. */
  readonly domain: number;
  readonly inner: Omit<Tier, 'size' | 'ports' | 'railAligned' | 'crossRailSlowdown'>;
  /** Ports of a device inside its node: 1 behind a switch, one for every peer where links join pairs. */
  readonly links?: number;
  readonly outer: Omit<Tier, 'size' | 'ports'>;
  /** NICs per node of `devices` devices unless the name says otherwise. */
  readonly nics: (devices: number) => number;
  readonly sources: readonly string[];
}

const oneEach = (devices: number): number => devices;

/**
 * Hops of NCCL's low-latency protocol: slope over 2, 4 and 8 ranks of small all_gathers and all_reduces in
 * `nccl-inside-node.csv` (ai-dynamo/aiconfigurator); the network's so that small collectives over two nodes take what
 * `nccl-tests-logs.csv` has, 29 to 56 us.
 */
const hops = { ampere: 1.5e-6, hopper: 0.75e-6, blackwell: 1.2e-6, network: 14e-6 };
const hopSource =
  'latencies: slope of small NCCL collectives over 2 to 8 ranks (ai-dynamo/aiconfigurator nccl_perf, 2.27 to ' +
  '2.29); between nodes 14 us, so that small collectives over two nodes take the 29 to 56 us of public nccl-tests logs';

/** NVLink reached: a share of the nominal bandwidth of a device. */
const reachedSource = {
  ampere: 'NVLink reaches 20.0 of 25 GB/s a link, ConnectX-6 23.5 of 25 GB/s (constants of SimAI, aliyun/SimAI busbw)',
  hopper: 'NVLink reaches 20.6 of 25 GB/s a link (constants of SimAI, aliyun/SimAI busbw)',
  blackwell:
    'NVLink reaches 672 of 900 GB/s (all_gather and all_to_all of 16 GiB in one HGX B200 node, nccl-tests log)',
};

/**
 * What messages across rails lose. NCCL hands them to the GPU on the rail of their receiver first (PXN), so that NICs
 * carry them as fast as others, or nearly: an all_to_all over two nodes of 8 reaches 0.80 to 0.96 of them on Ampere,
 * Hopper and B300. Only the one public log of B200 nodes has 0.45; it stands alone, and its all_gathers are slow too.
 */
const acrossRails = { usual: 1.15, b200: 2.2 };
const acrossRailsMeasured =
  'all_to_all over two nodes reaches 0.80 of a NIC (ata_ratio.csv of aliyun/SimAI; 0.94 over four nodes, 0.92 over ' +
  'eight), 45.5 of 50 GB/s on two H200 nodes (NCCL 2.30.4 on EFA, p5en), 95.7 of 100 on two B300 nodes (NCCL 2.31.2 ' +
  'on EFA, terrificdm/p6b300-efa-deepep-nccl-testkit), and 20.2 of 25 GB/s on A100 (nccl-tests log)';
const acrossRailsSource = {
  usual: `across rails 1.15 times slower: ${acrossRailsMeasured}`,
  racks: `across rails 1.15 times slower, an assumption: of racks no all_to_all is public; ${acrossRailsMeasured}`,
  b200:
    'across rails 2.2 times slower: rests on one public log of one cluster, whose all_to_all over two nodes reaches ' +
    '22.6 GB/s a NIC and all_gather 38; H200 and B300 nodes lose 1.15 or less, so calibrate, or set ' +
    'crossRailSlowdown: 1.15 in a cluster file',
};

/** Rails of 400 Gb/s: a share that is reached. */
const rails400 = { latencySeconds: hops.network, railAligned: true, reached: 0.9 };
const rails400Source =
  'network reached: 0.9 (ib_write_bw 39.5 to 45.1 GB/s a ConnectX-7 on an HGX B200 cluster; all_gathers over two ' +
  'nodes 0.77 to 0.93)';

/** NVLS on Hopper and Blackwell: all_reduce moves (1 + 1/8) times its buffer over every link. */
const reducing = { hopper: 290 * giga, blackwell: 475 * giga };
const reducingSource = {
  hopper:
    'NVLink SHARP: 290 GB/s a device (all_reduce over 8 H100 of 512 MiB in 2.11 ms, ai-dynamo/aiconfigurator; 16 ' +
    'GiB over two H200 nodes in 66.3 ms, nccl-tests log)',
  blackwell: 'NVLink SHARP: 475 GB/s a device (all_reduce over 8 B200 of 512 MiB in 1.33 ms, ai-dynamo/aiconfigurator)',
};

const memorySource =
  'memory: what the driver reports (nvidia-smi); the "GB" of these datasheets are GiB, less what ECC and the ' +
  'driver keep';

const a100: Device = {
  name: 'A100-SXM4-80GB',
  memoryBytes: 81_920 * mebi,
  flopsPerSecond: { bf16: 312 * tera, f32: 19.5 * tera },
  memoryBytesPerSecond: 2039 * giga,
  multiprocessors: 108,
};
const h100: Device = {
  name: 'H100-SXM5-80GB',
  memoryBytes: 81_559 * mebi,
  flopsPerSecond: { bf16: 989 * tera, f32: 67 * tera, fp8: 1979 * tera },
  memoryBytesPerSecond: 3350 * giga,
  multiprocessors: 132,
};
const b200: Device = {
  name: 'B200-SXM-180GB',
  memoryBytes: 183_359 * mebi,
  flopsPerSecond: { bf16: 2250 * tera, f32: 75 * tera, fp8: 4500 * tera },
  memoryBytesPerSecond: 62 * (tera / 8),
  multiprocessors: 148,
};
const gb200: Device = {
  name: 'GB200-186GB',
  memoryBytes: 186 * 0.995 * gibi,
  flopsPerSecond: { bf16: 2500 * tera, f32: 80 * tera, fp8: 5000 * tera },
  memoryBytesPerSecond: 8 * tera,
  multiprocessors: 152,
};

/** NVLink 4 and the network of an HGX H100 node. */
const hopperNode = {
  domain: 8,
  inner: {
    name: 'nvlink',
    bytesPerSecond: 450 * giga,
    reached: 20.6 / 25,
    reducingBytesPerSecond: reducing.hopper,
    latencySeconds: hops.hopper,
  },
  outer: {
    name: 'infiniband',
    bytesPerSecond: 400 * giga * bits,
    ...rails400,
    crossRailSlowdown: acrossRails.usual,
  },
  nics: oneEach,
};
const hopperNodeSources = [
  reachedSource.hopper,
  reducingSource.hopper,
  rails400Source,
  acrossRailsSource.usual,
  hopSource,
];

/** The network of Blackwell nodes and racks. */
const blackwellRails = { name: 'infiniband', ...rails400, crossRailSlowdown: acrossRails.usual };

/** NVLink 5. */
const blackwellLink = {
  name: 'nvlink',
  bytesPerSecond: 900 * giga,
  reached: 0.75,
  reducingBytesPerSecond: reducing.blackwell,
  latencySeconds: hops.blackwell,
};
const blackwellSources = [reachedSource.blackwell, reducingSource.blackwell, hopSource];

export const families: Readonly<Record<string, Family>> = {
  a800: {
    device: { ...a100, name: 'A800-SXM4-80GB' },
    domain: 8,
    inner: { name: 'nvlink', bytesPerSecond: 200 * giga, reached: 20 / 25, latencySeconds: hops.ampere },
    outer: {
      name: 'infiniband',
      bytesPerSecond: 200 * giga * bits,
      reached: 23.5 / 25,
      latencySeconds: hops.network,
      railAligned: false,
      crossRailSlowdown: 1,
    },
    nics: (devices) => Math.min(4, devices),
    sources: [
      'compute and memory bandwidth: NVIDIA A100 80GB SXM datasheet (312 TFLOPS bf16 dense, 19.5 TFLOPS f32, 2,039 ' +
        'GB/s), which the A800 shares; 108 SMs: NVIDIA A100 architecture white paper',
      `${memorySource}: 81,920 MiB (modal-labs/modal-client#2797)`,
      'NVLink: A800 has 8 third-generation links, 400 GB/s both ways, 200 GB/s one way (press reports of the A800 ' +
        'launch, Reuters 2022)',
      'network: 200 Gb/s InfiniBand HDR per NIC; the number of NICs varies between sites (4 seen most often), the ' +
        'name says how many',
      reachedSource.ampere,
      hopSource,
    ],
  },
  a100: {
    device: a100,
    domain: 8,
    inner: { name: 'nvlink', bytesPerSecond: 300 * giga, reached: 20 / 25, latencySeconds: hops.ampere },
    outer: {
      name: 'infiniband',
      bytesPerSecond: 200 * giga * bits,
      reached: 23.5 / 25,
      latencySeconds: hops.network,
      railAligned: true,
      crossRailSlowdown: 1.15,
    },
    nics: oneEach,
    sources: [
      'NVIDIA A100 80GB SXM datasheet: 312 TFLOPS bf16 dense, 19.5 TFLOPS f32, 2,039 GB/s, NVLink 600 GB/s both ' +
        'ways; 108 SMs: NVIDIA A100 architecture white paper',
      `${memorySource}: 81,920 MiB (modal-labs/modal-client#2797)`,
      'network: NVIDIA DGX A100 datasheet, eight ConnectX-6 200 Gb/s for compute, rail-optimised in DGX SuperPOD; ' +
        'across rails 1.15 times slower (all_to_all over two nodes reaches 20.2 GB/s a NIC, nccl-tests log)',
      reachedSource.ampere,
      hopSource,
    ],
  },
  h100: {
    device: h100,
    ...hopperNode,
    sources: [
      'NVIDIA H100 SXM datasheet: 989 TFLOPS bf16 and 1,979 TFLOPS fp8 dense, 67 TFLOPS f32, 3.35 TB/s, NVLink 900 ' +
        'GB/s both ways; 132 SMs: NVIDIA H100 architecture white paper',
      `${memorySource}: 81,559 MiB (modal-labs/modal-client#2797)`,
      'network: NVIDIA DGX H100 datasheet, eight ConnectX-7 400 Gb/s, rail-optimised in DGX SuperPOD',
      ...hopperNodeSources,
    ],
  },
  h800: {
    device: { ...h100, name: 'H800-SXM5-80GB' },
    ...hopperNode,
    inner: { name: 'nvlink', bytesPerSecond: 200 * giga, reached: 20.6 / 25, latencySeconds: hops.hopper },
    sources: [
      'compute and memory as the H100 SXM (989 TFLOPS bf16, 1,979 TFLOPS fp8 dense, 3.35 TB/s, 81,559 MiB, 132 ' +
        'SMs); NVLink cut to 8 links, 400 GB/s both ways (DeepSeek-V3, arXiv 2505.09343, section 4.1)',
      'no NVLink SHARP: NCCL opens no NVLS channels on an H800 (NVIDIA/nccl#892)',
      'network: eight ConnectX-7 400 Gb/s (the same paper)',
      reachedSource.hopper,
      rails400Source,
      acrossRailsSource.usual,
      hopSource,
    ],
  },
  h200: {
    device: {
      ...h100,
      name: 'H200-SXM-141GB',
      memoryBytes: 143_771 * mebi,
      memoryBytesPerSecond: 4800 * giga,
    },
    ...hopperNode,
    sources: [
      'NVIDIA H200 SXM datasheet: 141 GB, 4.8 TB/s, 989 TFLOPS bf16 and 1,979 TFLOPS fp8 dense, 67 TFLOPS f32, ' +
        'NVLink 900 GB/s both ways; 132 SMs as the H100',
      `${memorySource}: 143,771 MiB`,
      'network: NVIDIA DGX H200 datasheet, eight ConnectX-7 400 Gb/s, rail-optimised in DGX SuperPOD',
      ...hopperNodeSources,
    ],
  },
  h20: {
    device: {
      name: 'H20-SXM-96GB',
      memoryBytes: 96 * 0.995 * gibi,
      flopsPerSecond: { bf16: 148 * tera, f32: 44 * tera, fp8: 296 * tera },
      memoryBytesPerSecond: 4000 * giga,
      multiprocessors: 78,
    },
    ...hopperNode,
    sources: [
      "NVIDIA H20 as published (SemiAnalysis, Tom's Hardware, November 2023): 148 TFLOPS bf16 and 296 TFLOPS fp8 " +
        'dense, 44 TFLOPS f32, 96 GB, 4.0 TB/s, NVLink 900 GB/s both ways, 78 SMs',
      `${memorySource}: 0.995 of 96 GiB, as on H100 and H200`,
      'network: eight ConnectX-7 400 Gb/s; sites differ',
      ...hopperNodeSources,
    ],
  },
  b200: {
    device: b200,
    domain: 8,
    inner: blackwellLink,
    outer: { bytesPerSecond: 400 * giga * bits, ...blackwellRails, crossRailSlowdown: acrossRails.b200 },
    nics: oneEach,
    sources: [
      'NVIDIA HGX B200 datasheet, an eighth of it: 62 TB/s of memory bandwidth (7.75; the bus of 7,680 bits at ' +
        '3,996 MHz gives 7.67, pytorch/ao#4002), 36 PFLOPS bf16 and 72 PFLOPS fp8 with sparsity (half of it ' +
        'dense), 600 TFLOPS f32; NVLink 5 with 1.8 TB/s both ways per GPU; 148 SMs as the CUDA runtime reports',
      `${memorySource}: 183,359 MiB (NVIDIA/TensorRT-LLM#10278)`,
      'network: NVIDIA DGX B200 datasheet, eight ConnectX-7 400 Gb/s',
      rails400Source,
      acrossRailsSource.b200,
      ...blackwellSources,
    ],
  },
  b300: {
    device: { ...b200, name: 'B300-SXM-288GB', memoryBytes: 268 * gibi, memoryBytesPerSecond: 8 * tera },
    domain: 8,
    inner: blackwellLink,
    outer: { bytesPerSecond: 800 * giga * bits, ...blackwellRails },
    nics: oneEach,
    sources: [
      'NVIDIA HGX B300 datasheet, an eighth of it: 36 PFLOPS bf16 and 72 PFLOPS fp8 with sparsity (half of it ' +
        'dense), 600 TFLOPS f32; NVLink 5 with 1.8 TB/s both ways per GPU; memory bandwidth 8 TB/s; 148 SMs as the ' +
        'B200',
      'memory: 2.1 TB over eight (TiB, as on the B200): 268 GiB of 8 stacks of 36 GiB',
      'network: eight ConnectX-8 800 Gb/s; share reached and slowdown across rails as of 400 Gb/s, an assumption',
      rails400Source,
      acrossRailsSource.usual,
      ...blackwellSources,
    ],
  },
  gb200: {
    device: gb200,
    domain: 72,
    inner: blackwellLink,
    outer: { bytesPerSecond: 400 * giga * bits, ...blackwellRails },
    nics: oneEach,
    sources: [
      'NVIDIA GB200 NVL72 datasheet, a 72nd of it: 13.4 TB, 576 TB/s, 360 PFLOPS bf16 and 720 PFLOPS fp8 with ' +
        'sparsity (half of it dense), 5,760 TFLOPS f32, NVLink 130 TB/s both ways (1.8 TB/s per GPU); 152 SMs as ' +
        'the CUDA runtime reports',
      `${memorySource}: 0.995 of 186 GiB, as on H100, H200 and B200`,
      'network between racks: one ConnectX-7 400 Gb/s per GPU (four per compute tray)',
      rails400Source,
      acrossRailsSource.racks,
      ...blackwellSources,
    ],
  },
  gb300: {
    device: { ...gb200, name: 'GB300-288GB', memoryBytes: 277.5 * gibi },
    domain: 72,
    inner: blackwellLink,
    outer: { bytesPerSecond: 800 * giga * bits, ...blackwellRails },
    nics: oneEach,
    sources: [
      'NVIDIA GB300 NVL72 datasheet, a 72nd of it: 576 TB/s, 360 PFLOPS bf16 and 720 PFLOPS fp8 with sparsity ' +
        '(half of it dense), NVLink 130 TB/s both ways (1.8 TB/s per GPU); f32 and 152 SMs as the GB200',
      'memory: 20 TB over 72 (TiB, as on the B200)',
      'network between racks: one ConnectX-8 800 Gb/s per GPU; share reached and slowdown across rails as of 400 ' +
        'Gb/s, an assumption',
      rails400Source,
      acrossRailsSource.racks,
      ...blackwellSources,
    ],
  },
  mi300x: {
    device: {
      name: 'MI300X-192GB',
      memoryBytes: 192 * gibi,
      flopsPerSecond: { bf16: 1307.4 * tera, f32: 163.4 * tera, fp8: 2614.9 * tera },
      memoryBytesPerSecond: 5300 * giga,
      multiprocessors: 304,
    },
    domain: 8,
    inner: { name: 'infinity-fabric', bytesPerSecond: 64 * giga, reached: 0.75, latencySeconds: 2e-6 },
    links: 8,
    outer: {
      name: 'infiniband',
      bytesPerSecond: 400 * giga * bits,
      ...rails400,
      crossRailSlowdown: acrossRails.usual,
    },
    nics: oneEach,
    sources: [
      'AMD Instinct MI300X datasheet: 1,307.4 TFLOPS bf16 and 2,614.9 TFLOPS fp8 dense, 163.4 TFLOPS f32, 192 GB ' +
        '(8 stacks of 24 GiB), 5.3 TB/s, 304 compute units',
      'links: every pair of 8 GPUs is joined by its own link of 64 GB/s one way, of which about 48 are reached ' +
        '(AMD, rocm.blogs.amd.com, mi300x-rccl-xgmi, March 2025); two GPUs alone get one link',
      'network: eight 400 Gb/s NICs; sites differ',
      'latency inside a node: 2 us, an assumption; RCCL chooses its own way, which is taken to be as NCCL chooses, ' +
        'across rails too',
      rails400Source,
      acrossRailsSource.usual,
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
    outer: {
      name: 'ethernet',
      bytesPerSecond: 0.2 * giga,
      latencySeconds: 50e-6,
      railAligned: false,
      crossRailSlowdown: 1,
    },
    nics: () => 1,
    sources: [
      'invented, to be emulated on one machine: slow enough for two CPU cores to carry the bytes of eight ranks. A ' +
        'device gets 1 GB/s inside its node and a quarter of 0.2 GB/s out of it, a ratio of 20 (A800 with 4 NICs: ' +
        '16, with 1 NIC: 64)',
      'device: an eighth of two cores at about 60 GFLOP/s each in f32 (bf16 is computed in f32); memory bandwidth ' +
        'an eighth of about 20 GB/s',
    ],
  },
};
