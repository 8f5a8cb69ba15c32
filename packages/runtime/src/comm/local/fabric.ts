/**
 * The emulated network: moves bytes of the local backend as packets through the ports of a cluster, in real time,
 * `timeScale` times slower than the cluster's figures (bandwidths divided by it, latencies multiplied). Direct
 * algorithms: every member sends its parts straight to their targets; all_reduce is a reduce_scatter and an all_gather.
 * A step of an operation ends for a member one latency (of the highest tier between it and another member) after its
 * last packet.
 */
import { deviceCount, portsOf, route, type Cluster, type Route } from '@monta/core/cluster';
import { copyBytes, reduceBlocks, type Bytes } from '../../device/cpu/bytes.js';
import { at } from '../at.js';
import type { Engine } from './engine.js';
import type { ReadyOperation } from './matching.js';
import { partyMemories } from './memory-engine.js';
import { bytesOf, type Operation } from '../operation.js';
import type { Party } from '../party.js';
import { defaultSchedulerOptions, PacketScheduler, type SchedulerOptions } from './packet-scheduler.js';
import { StagingPool } from './staging.js';
import { finalParts, partner, reducedBlockOffset, reductionPlan, type Part, type ReductionPlan } from './transfers.js';
import { maxOf } from '@monta/core/units';

/** What the launcher needs to emulate a network. */
export interface FabricOptions {
  readonly cluster: Cluster;
  /**
   * At least the factor by which this machine moves bytes more slowly than the cluster; 1 runs at the cluster's own
   * figures.
   */
  readonly timeScale: number;
  /** Device of each rank; default: rank i is device i. */
  readonly devices?: readonly number[];
  readonly scheduler?: Partial<SchedulerOptions>;
}

/** One operation under way. */
interface Flight {
  readonly parties: readonly Party[];
  readonly operations: readonly Operation[];
  readonly memories: readonly Bytes[];
  readonly plan: ReductionPlan | undefined;
  /** Flows that spread the reduced blocks of an all_reduce. */
  readonly spread: readonly Part[];
  /** By place: latency of a step. */
  readonly latencies: readonly number[];
  /** By place: flows that start or end there and have not ended, and reductions still to come. */
  readonly outstanding: number[];
  /** By place: contributions to the block that the member reduces, by contributor. */
  readonly staging: Map<number, Bytes>[];
  readonly contributionsMissing: number[];
}

/** One flow, the memory that it writes, and what happens at its end. */
interface Transfer {
  readonly part: Part;
  readonly target: Bytes;
  readonly ended: (time: number) => void;
}

export class FabricEngine implements Engine {
  private readonly scheduler: PacketScheduler;
  private readonly routes: readonly (readonly Route[])[];
  private readonly timeScale: number;
  private readonly staging = new StagingPool();
  private ended: Party[] = [];
  private clock = 0;

  constructor(
    private readonly memories: readonly Bytes[],
    options: FabricOptions,
  ) {
    const { cluster, timeScale } = options;
    const devices = options.devices ?? memories.map((_, rank) => rank);
    if (!(timeScale > 0) || !Number.isFinite(timeScale)) {
      throw new RangeError(`the time scale of the emulated network must be a positive number, not ${timeScale}`);
    }
    if (devices.length !== memories.length || devices.some((device) => device >= deviceCount(cluster))) {
      throw new RangeError(
        `${memories.length} ranks on devices ${devices.join(' ')} do not fit ${cluster.name}, which has ` +
          `${deviceCount(cluster)} devices`,
      );
    }
    this.timeScale = timeScale;
    this.routes = devices.map((a) => devices.map((b) => route(cluster, a, b)));
    this.scheduler = new PacketScheduler(
      portsOf(cluster).map((port) => port.bytesPerSecond / timeScale),
      { ...defaultSchedulerOptions, ...options.scheduler },
    );
  }

  get busy(): boolean {
    return this.scheduler.busy || this.ended.length > 0;
  }

  /** Seconds for which the network stood still because this thread got no processor. */
  get lostSeconds(): number {
    return this.scheduler.lostSeconds;
  }

  /** Bytes that have passed each port, in the order of `portsOf(cluster)`. */
  get portBytes(): Float64Array {
    return this.scheduler.carriedBytes;
  }

  start({ parties, ready }: ReadyOperation): void {
    const operations = parties.map((party) => party.operation);
    const plan = reductionPlan(operations);
    const members = parties.length;
    const parts = finalParts(operations);
    const flight: Flight = {
      parties,
      operations,
      memories: partyMemories(parties, this.memories),
      plan,
      spread: plan !== undefined && at(operations, 0).kind === 'all_reduce' ? parts : [],
      latencies: parties.map(({ rank }) => maxOf(parties.map((other) => this.latency(rank, other.rank)))),
      outstanding: parties.map(() => 0),
      staging: parties.map(() => new Map<number, Bytes>()),
      contributionsMissing: parties.map(() => members),
    };
    const now = Math.max(this.clock, ready);
    this.scheduler.advance(now);
    // Counted before anything moves, so that nobody ends while flows are still being started.
    for (const part of parts) this.expect(flight, part);
    if (plan === undefined) {
      for (const party of flight.outstanding.keys()) this.endIfDone(flight, party, now);
      for (const part of parts) this.send(flight, part, now);
      return;
    }
    const contributions = this.contributions(flight, plan);
    for (const part of contributions) this.expect(flight, part);
    for (const place of parties.keys()) flight.outstanding[place] = at(flight.outstanding, place) + 1;
    for (const part of contributions) this.contribute(flight, plan, part, now);
  }

  advance(now: number): Party[] {
    this.clock = now;
    this.scheduler.advance(now);
    const { ended } = this;
    this.ended = [];
    return ended;
  }

  nextWake(): number {
    return this.ended.length > 0 ? 0 : this.scheduler.nextWake();
  }

  private latency(from: number, to: number): number {
    return at(at(this.routes, from), to).latencySeconds * this.timeScale;
  }

  /** What every member gives to every reducer; empty blocks too, since a reducer counts its contributors. */
  private contributions(flight: Flight, plan: ReductionPlan): Part[] {
    const { operations } = flight;
    const members = operations.length;
    return operations.flatMap((operation, from) =>
      operations.map((_, step) => {
        const to = partner(from, step, members);
        const start = bytesOf(operation.type, at(plan.starts, to));
        const bytes = bytesOf(operation.type, at(plan.counts, to));
        return { from, to, source: operation.send.byteOffset + start, target: 0, bytes };
      }),
    );
  }

  private contribute(flight: Flight, plan: ReductionPlan, part: Part, now: number): void {
    const { from, to } = part;
    if (from !== to) {
      // Aligned like its source, which makes copies fast.
      const shift = part.source % 8;
      const staging = this.staging.take(part.bytes + 8);
      at(flight.staging, to).set(from, staging);
      const ended = (time: number): void => {
        this.contributed(flight, plan, to, time);
        this.partDone(flight, part, time);
      };
      this.transfer(flight, { part: { ...part, target: shift }, target: staging, ended }, now);
    } else {
      this.contributed(flight, plan, to, now);
      this.partDone(flight, part, now);
    }
  }

  /** Once all contributions to the block of `to` are there: adds them up, and for all_reduce spreads the result. */
  private contributed(flight: Flight, plan: ReductionPlan, to: number, time: number): void {
    const missing = at(flight.contributionsMissing, to) - 1;
    flight.contributionsMissing[to] = missing;
    if (missing > 0) return;
    const first = at(flight.operations, 0);
    const start = bytesOf(first.type, at(plan.starts, to));
    const sources = flight.operations.map((operation, from) => {
      const byteOffset = operation.send.byteOffset + start;
      const staging = at(flight.staging, to).get(from);
      return staging === undefined
        ? { memory: at(flight.memories, from), byteOffset }
        : { memory: staging, byteOffset: byteOffset % 8 };
    });
    const byteOffset = reducedBlockOffset(at(flight.operations, to), plan, to);
    const target = { memory: at(flight.memories, to), byteOffset };
    reduceBlocks({
      type: first.type,
      reduction: first.reduction,
      elements: at(plan.counts, to),
      contributions: sources,
      targets: [target],
    });
    for (const staging of at(flight.staging, to).values()) this.staging.give(staging);
    at(flight.staging, to).clear();
    const onward = flight.spread.filter((part) => part.from === to);
    const release = (later: number): void => {
      for (const part of onward) this.send(flight, part, later);
      this.doneAt(flight, to, later);
    };
    if (onward.length > 0) this.scheduler.schedule(time + at(flight.latencies, to), release);
    else release(time);
  }

  private expect(flight: Flight, { from, to }: Part): void {
    flight.outstanding[from] = at(flight.outstanding, from) + 1;
    if (to !== from) flight.outstanding[to] = at(flight.outstanding, to) + 1;
  }

  private send(flight: Flight, part: Part, now: number): void {
    const target = at(flight.memories, part.to);
    this.transfer(flight, { part, target, ended: (time) => this.partDone(flight, part, time) }, now);
  }

  private transfer(flight: Flight, { part, target, ended }: Transfer, now: number): void {
    const way = at(at(this.routes, at(flight.parties, part.from).rank), at(flight.parties, part.to).rank);
    const source = at(flight.memories, part.from);
    this.scheduler.add(
      {
        ports: [...way.egress, ...way.ingress.toReversed()],
        bytes: part.bytes,
        slowdown: way.slowdown,
        deliver: (offset, bytes) =>
          copyBytes({ source, from: part.source + offset, target, to: part.target + offset, bytes }),
        ended,
      },
      now,
    );
  }

  private partDone(flight: Flight, { from, to }: Part, time: number): void {
    this.doneAt(flight, from, time);
    if (to !== from) this.doneAt(flight, to, time);
  }

  private doneAt(flight: Flight, place: number, time: number): void {
    flight.outstanding[place] = at(flight.outstanding, place) - 1;
    this.endIfDone(flight, place, time);
  }

  /** A member whose last flow has ended ends one latency later. */
  private endIfDone(flight: Flight, place: number, time: number): void {
    if (at(flight.outstanding, place) > 0) return;
    const party = at(flight.parties, place);
    this.scheduler.schedule(time + at(flight.latencies, place), () => this.ended.push(party));
  }
}
