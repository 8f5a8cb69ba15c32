/** What every rank of a network probe does: links, collectives, matrix products, and both at once. */
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { Interference, MeasuredOp, ProbedGemm } from '@monta/core';
import { clockIdentity } from '../comm/mpi/clock.js';
import type { Device, Launch, Operand } from '../device/device.js';
import { readInts } from '../device/host-array.js';
import type { RankContext } from '../launch/index.js';
import { Laboratory, wholeBytes } from './network-experiment.js';
import { probeLinks, shortest, typical, type LinkFigures } from './network-links.js';

export interface NetworkProbeData {
  readonly tiers: readonly { readonly name: string; readonly size: number }[];
  /** Links alone, without collectives and products. */
  readonly linksOnly: boolean;
  readonly ops: readonly MeasuredOp[];
  readonly repetitions: number;
  readonly emulated: boolean;
  readonly transferSeconds: number;
  readonly maximumBytes: number;
  /** Time all groups of a shape at once, as the ranks of a layout run them, instead of one group alone. */
  readonly together: boolean;
  /** Sizes of collectives, as parts of the size at which a pair's transfer is well above noise. */
  readonly sizeFactors: readonly number[];
  readonly gemmShapes: readonly (readonly [m: number, n: number, k: number])[];
}

export interface CollectiveTime {
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number;
  /** That ran at once, where more than one did. */
  readonly groups?: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** What the cores of the machines that ranks share have to do for bytes inside hosts. */
export interface HostCopying {
  /** Of the machine of rank 0. */
  readonly cores: number;
  /** Ranks on that machine, of whatever host. */
  readonly ranks: number;
  /** Bytes that all of them move inside their hosts in a second, all at once. */
  readonly bytesPerSecond: number;
}

export interface NetworkRankResult {
  readonly links: readonly LinkFigures[];
  readonly hostCopying: HostCopying;
  readonly collectives: readonly CollectiveTime[];
  readonly gemms: readonly ProbedGemm[];
  readonly interference: Interference | null;
}

/** Progress messages of rank 0. */
export interface ProbeProgress {
  readonly done: string;
}

const smallestTotal = 1024;

export function probeNetworkRank(context: RankContext<NetworkProbeData>): NetworkRankResult {
  const { data, rank, report } = context;
  const { tiers, repetitions, transferSeconds, maximumBytes } = data;
  const pick = data.emulated ? shortest : typical;
  const say = (done: string): void => {
    if (rank === 0) report({ done } satisfies ProbeProgress);
  };
  const laboratory = new Laboratory(context, repetitions, maximumBytes);
  laboratory.barrier();
  const links = probeLinks({
    tiers,
    run: (experiment) => laboratory.run(experiment),
    pick,
    transferSeconds,
    maximumBytes,
  });
  const hostCopying = timeCopying(context, laboratory, pick);
  say('links');
  if (data.linksOnly) return { links, hostCopying, collectives: [], gemms: [], interference: null };
  const collectives = groupsOf(tiers).flatMap(({ members, alike, nodes, tier }) =>
    data.ops.flatMap((op): CollectiveTime[] => {
      const bytes = links.find(({ name }) => name === tier)?.bytes ?? maximumBytes;
      const groups = data.together ? alike : [members];
      const times = collectiveTimes({ laboratory, pick, op, groups, bytes, data });
      say(`${op} over ${members.length} ranks`);
      const many = groups.length > 1 ? { groups: groups.length } : {};
      return times.map((time) => ({ op, ranks: members.length, nodes, ...many, ...time }));
    }),
  );
  const gemms = rank === 0 ? timeGemms(context) : [];
  laboratory.barrier();
  say('matrix products');
  const interference = timeBoth(context, laboratory, links);
  say('both at once');
  return { links, hostCopying, collectives, gemms, interference };
}

/** All hosts gather at once, as tensor-parallel groups do. */
function timeCopying(
  { data, endpoint, device, size }: RankContext<NetworkProbeData>,
  laboratory: Laboratory,
  pick: (seconds: readonly number[]) => number,
): HostCopying {
  const perHost = data.tiers[0]?.size ?? 1;
  const world = endpoint.communicator('machines', range(size, 1), device.queue('control'));
  const own = device.allocate('i32', 1);
  const all = device.allocate('i32', size);
  device.write(own, Int32Array.of(machineNumber()));
  device.wait(world.allGather(own, all));
  const machines = [...readInts(device, all)];
  for (const view of [own, all]) device.free(view);
  const ranks = machines.filter((machine) => machine === machines[0]).length;
  const cores = availableParallelism();
  if (perHost < 2) return { cores, ranks, bytesPerSecond: Infinity };
  const groups = range(size / perHost, perHost).map((first) => range(perHost, 1).map((i) => first + i));
  const bytes = wholeBytes(data.maximumBytes / 2, perHost);
  const seconds = pick(laboratory.run({ op: 'all_gather', groups, bytes }));
  // Every rank takes in what the others of its host hold.
  return { cores, ranks, bytesPerSecond: (ranks * bytes * (1 - 1 / perHost)) / seconds };
}

/** The same for processes of one machine, in 31 bits. */
function machineNumber(): number {
  return createHash('sha256').update(clockIdentity()).digest().readInt32LE(0) & 0x7fffffff;
}

interface Group {
  readonly members: readonly number[];
  /** All groups of its shape that have room beside each other, itself first. */
  readonly alike: readonly (readonly number[])[];
  readonly nodes: number;
  /** The outermost tier that is crossed. */
  readonly tier: string;
}

/**
 * Inside a unit: two devices, and all. Across units: one device of each, and all of all. Curves are kept by ranks and
 * nodes, so of groups that agree in both the innermost is measured.
 */
function groupsOf(tiers: NetworkProbeData['tiers']): Group[] {
  const perNode = tiers[0]?.size ?? 1;
  const groups = new Map<string, Group>();
  const total = tiers.reduce((product, { size }) => product * size, 1);
  let unit = 1;
  for (const [index, { name, size }] of tiers.entries()) {
    const sets: readonly [count: number, step: number][] =
      index === 0
        ? [
            [2, 1],
            [size, 1],
          ]
        : [
            [size, unit],
            [size * unit, 1],
          ];
    for (const [count, step] of size > 1 ? sets : []) {
      const alike = translated(total, count, step);
      const [members = range(count, step)] = alike;
      const nodes = new Set(members.map((member) => Math.floor(member / perNode))).size;
      const key = `${members.length} ${nodes}`;
      if (!groups.has(key)) groups.set(key, { members, alike, nodes, tier: name });
    }
    unit *= size;
  }
  return [...groups.values()];
}

/** Every `step`-th of so many devices, and the same moved along until all devices are taken, as far as they go up. */
function translated(total: number, count: number, step: number): number[][] {
  const room = Math.floor(total / (count * step));
  return range(room, count * step).flatMap((base) =>
    range(step, 1).map((offset) => range(count, step).map((device) => base + offset + device)),
  );
}

const range = (count: number, step: number): number[] => Array.from({ length: count }, (_, i) => i * step);

function collectiveTimes({
  laboratory,
  pick,
  op,
  groups,
  bytes,
  data: { maximumBytes, sizeFactors },
}: {
  readonly laboratory: Laboratory;
  readonly pick: (seconds: readonly number[]) => number;
  readonly op: MeasuredOp;
  readonly groups: readonly (readonly number[])[];
  readonly bytes: number;
  readonly data: Pick<NetworkProbeData, 'maximumBytes' | 'sizeFactors'>;
}): { bytes: number; seconds: number }[] {
  const ranks = groups[0]?.length ?? 1;
  const sizes = [smallestTotal, ...sizeFactors.map((factor) => factor * bytes)].map((size) =>
    wholeBytes(Math.min(size, maximumBytes - 4 * ranks), ranks),
  );
  return [...new Set(sizes)]
    .sort((a, b) => a - b)
    .map((size) => ({ bytes: size, seconds: pick(laboratory.run({ op, groups, bytes: size })) }));
}

/** Runs one shape over and over for at least this long. */
const gemmSeconds = 0.02;

function timeGemms({ device, data, endpoint }: RankContext<NetworkProbeData>): ProbedGemm[] {
  return data.gemmShapes.map(([m, n, k]) => {
    const product = new Product(device, m, n, k);
    product.run();
    const times: number[] = [];
    const until = endpoint.now() + gemmSeconds;
    do {
      const start = endpoint.now();
      product.run();
      times.push(endpoint.now() - start);
    } while (endpoint.now() < until || times.length < data.repetitions);
    product.close();
    return { m, n, k, seconds: typical(times) };
  });
}

/** A product of an m x k and a k x n matrix on the device, in what plans are priced in: bf16 on cards. */
class Product {
  readonly #launch: Launch;

  constructor(
    private readonly device: Device,
    m: number,
    n: number,
    k: number,
  ) {
    const type = device.kind === 'cuda' ? 'bf16' : 'f32';
    const matrix = (rows: number, columns: number, value: number): Operand => {
      const view = device.allocate(type, rows * columns);
      device.fill(view, value);
      return { view, rows, columns };
    };
    const operands = { a: matrix(m, k, 1), b: matrix(k, n, 0.5), to: matrix(m, n, 0) };
    this.#launch = { kernel: 'gemm', operands, arguments: {} };
  }

  run(): void {
    this.device.wait(this.device.queue('compute').launch(this.#launch));
  }

  close(): void {
    for (const { view } of Object.values(this.#launch.operands)) this.device.free(view);
  }
}

const bothShape = 128;
/** Rates of computing vary more than those of links. */
const bothRounds = 3;

/** Ranks 0 and 1 compute and exchange, each alone and then together. */
function timeBoth(
  context: RankContext<NetworkProbeData>,
  laboratory: Laboratory,
  links: readonly LinkFigures[],
): Interference | null {
  const { endpoint, device, rank, size } = context;
  const [inner] = links;
  if (size < 2 || inner === undefined) return null;
  const product = new Product(device, bothShape, bothShape, bothShape);
  const bytes = inner.bytes;
  const alone = typical(laboratory.run({ op: 'all_to_all', groups: [[0, 1]], bytes }));
  const computeAll = (until: () => boolean): number => {
    const start = endpoint.now();
    let count = 0;
    while (!until()) {
      product.run();
      count += 1;
    }
    return (endpoint.now() - start) / Math.max(1, count);
  };
  const computing = rank < 2;
  const computeAlone: number[] = [];
  const computeBeside: number[] = [];
  const transferBeside: number[] = [];
  for (let repetition = 0; repetition < bothRounds * laboratory.repetitions; repetition++) {
    laboratory.barrier();
    const end = endpoint.now() + alone;
    if (computing) computeAlone.push(computeAll(() => endpoint.now() >= end));
    laboratory.barrier();
    const beside = laboratory.beside({ op: 'all_to_all', groups: [[0, 1]], bytes }, (done) => {
      if (computing) computeBeside.push(computeAll(done));
    });
    if (beside !== undefined) transferBeside.push(beside);
  }
  product.close();
  return {
    computeSlowdown: typical(computeBeside) / typical(computeAlone),
    communicationSlowdown: typical(transferBeside) / alone,
  };
}
