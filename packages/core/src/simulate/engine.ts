/**
 * The event loop of the simulator. Time jumps from event to event; all events of one instant are handled before rates
 * are worked out again, so that what begins and ends together is seen together.
 */
import FlatQueue from 'flatqueue';
import type { OrderedOperation } from '../schedule/compile.js';
import type { FlowBundle } from './bundles.js';
import type { Channel } from './groups.js';
import { Processors } from './host.js';
import type { RunningKernel } from './host.js';
import { FluidNetwork, heldLongest, instant } from './network.js';
import type { Bundle } from './network.js';
import { PortTotals } from './port-totals.js';
import { Prices } from './prices.js';
import type { CollectiveBasis, Job, MeetingPrice } from './prices.js';
import { causes, nextBlock, rankState } from './rank-state.js';
import type { Happening, RankState } from './rank-state.js';

/** What happened, by place in the world of the job. */
export interface Run {
  /** By operation index; an entry is missing when the operation never started. */
  readonly happenings: readonly (readonly (Happening | undefined)[])[];
  /** Operations that ended. */
  readonly ended: readonly number[];
  /** Bytes that went through all ports of a kind, without the weight of slowdowns. */
  readonly portBytes: Float64Array;
  /** Seconds that the ports of a kind would have been busy at their full bandwidth. */
  readonly portSeconds: Float64Array;
  readonly bases: Prices['bases'];
  readonly collectiveBases: readonly CollectiveBasis[];
  readonly events: number;
}

interface Meeting {
  readonly channel: Channel;
  arrived: number;
  price: MeetingPrice | undefined;
  /** Operation index of each member, once it has arrived. */
  readonly operations: number[];
  /** Bundles with flows of each member that still flow. */
  readonly flowing: number[];
}

interface CollectiveBundle extends Bundle {
  readonly meeting: Meeting;
  /** Member indices with a flow in it. */
  readonly touches: readonly number[];
}

type Event =
  | { readonly kind: 'attempt'; readonly rank: number; readonly queue: number }
  | { readonly kind: 'end'; readonly rank: number; readonly operation: number }
  | { readonly kind: 'awake'; readonly rank: number; readonly operation: number }
  | { readonly kind: 'received'; readonly rank: number; readonly operation: number; readonly work: number }
  | { readonly kind: 'kernel'; readonly kernel: RunningKernel; readonly version: number }
  | { readonly kind: 'flow'; readonly bundle: CollectiveBundle; readonly version: number };

export class Engine {
  readonly #job: Job;
  readonly #queue = new FlatQueue<Event>();
  readonly #network: FluidNetwork<CollectiveBundle>;
  readonly #processors: Processors;
  readonly #ranks: RankState[];
  /**
   * Collectives that some members have yet to reach. A member goes on only when all have met, so a channel has one at
   * most.
   */
  readonly #meetings = new Map<number, Meeting>();
  readonly #prices: Prices;
  readonly #ports: PortTotals;
  #now = 0;
  #events = 0;

  constructor(job: Job) {
    this.#job = job;
    const ports = job.world.ports.map(
      ({ port, count }) => count * (job.fabric.ports[port]?.bytesPerSecond ?? Infinity),
    );
    this.#ports = new PortTotals(ports);
    const { device, inputs } = job.model;
    const taxed = device.multiprocessors !== undefined && inputs.multiprocessorsPerCollective > 0;
    const total = taxed ? (device.multiprocessors ?? Infinity) : Infinity;
    this.#processors = new Processors({
      ranks: job.programOf.length,
      multiprocessors: total,
      shared: device.multiprocessors !== undefined && job.hostCores === undefined,
      cores: job.hostCores,
    });
    this.#prices = new Prices(job, job.hostCores?.movers ? (rank) => this.#processors.hostOf(rank) : undefined);
    this.#network = new FluidNetwork([...ports, ...this.#moverCapacities()]);
    this.#ranks = job.programOf.map((which) => rankState(job.programs[which]));
  }

  run(): Run {
    this.#ranks.forEach((_, rank) => this.#attemptAll(rank, causes.start));
    this.#settle();
    for (let event = this.#queue.peekValue(); event !== undefined; event = this.#queue.peekValue()) {
      const until = event * (1 + instant);
      for (let time: number | undefined = event; time !== undefined && time <= until; time = this.#queue.peekValue()) {
        this.#now = Math.max(this.#now, time);
        const next = this.#queue.pop();
        if (next) this.#handle(next);
      }
      this.#settle();
    }
    return {
      happenings: this.#ranks.map((state) => state.happenings),
      ended: this.#ranks.map((state) => state.ended),
      portBytes: this.#ports.bytes,
      portSeconds: this.#ports.seconds,
      bases: this.#prices.bases,
      collectiveBases: this.#prices.collectiveBases,
      events: this.#events,
    };
  }

  #handle(event: Event): void {
    this.#events += 1;
    switch (event.kind) {
      case 'attempt':
        this.#foreseen(event.rank, event.queue);
        break;
      case 'end':
        this.#end(event.rank, event.operation);
        break;
      case 'awake':
        this.#awake(event.rank, event.operation);
        break;
      case 'received':
        this.#work('collective', event.rank, event.operation, event.work);
        break;
      case 'kernel':
        if (event.version !== event.kernel.version) break;
        this.#processors.end(event.kernel);
        this.#end(event.kernel.rank, event.kernel.operation);
        break;
      case 'flow':
        if (event.version === event.bundle.version) this.#flowed(event.bundle);
        break;
    }
  }

  #settle(): void {
    const { hostCores } = this.#job;
    if (hostCores?.movers) {
      this.#moverCapacities().forEach((capacity, host) => {
        this.#network.setCapacity(this.#ports.kinds + host, capacity);
      });
    }
    this.#network.settle(this.#now, (bundle, end) => {
      this.#queue.push({ kind: 'flow', bundle, version: bundle.version }, Math.max(end, this.#now));
    });
    if (hostCores?.movers) {
      const hosts = this.#hosts();
      for (let host = 0; host < hosts; host++) {
        this.#processors.setMoving(host, this.#network.load(this.#ports.kinds + host));
      }
    }
    this.#processors.settle(this.#now, (kernel, end) => {
      this.#queue.push({ kind: 'kernel', kernel, version: kernel.version }, Math.max(end, this.#now));
    });
  }

  #hosts(): number {
    return this.#processors.hostOf(this.#job.programOf.length - 1) + 1;
  }

  #moverCapacities(): number[] {
    if (!this.#job.hostCores?.movers) return [];
    return Array.from({ length: this.#hosts() }, (_, host) => this.#processors.moverCapacity(host));
  }

  #attemptAll(rank: number, cause: number): void {
    const state = this.#rank(rank);
    const { length } = state.running;
    for (let queue = 0; queue < length; queue++)
      if (state.running[queue] === 0) this.#attempt(state, rank, queue, cause);
  }

  /** The host may issue the operation at the head of a queue now. */
  #foreseen(rank: number, queue: number): void {
    const state = this.#rank(rank);
    if (state.running[queue] === 0) this.#attempt(state, rank, queue, causes.host);
  }

  /** Starts the operation at the head of a queue that runs none if nothing keeps it. */
  #attempt(state: RankState, rank: number, queue: number, cause: number): void {
    const index = state.flat.compiled.queues[queue]?.operations[state.heads[queue] ?? 0];
    if (index === undefined || index >= state.issuable || (state.pending[index] ?? 0) > 0) return;
    const flat = state.flat.operations[index];
    if (!flat) return;
    const { hostOverheadSeconds } = this.#job.model.inputs;
    const issue = state.hostFree + (index - state.hostNext + 1) * hostOverheadSeconds;
    // issued later than now, beyond the rounding of its sum
    if (issue > this.#now * (1 + instant)) {
      if (state.attempts[queue] !== issue) this.#queue.push({ kind: 'attempt', rank, queue }, issue);
      state.attempts[queue] = issue;
      return;
    }
    state.running[queue] = 1;
    const happening: Happening = {
      flat,
      issued: this.#now,
      ready: this.#now,
      end: this.#now,
      finished: false,
      bytes: 0,
      cause,
      blocker: state.hostNext - 1,
      through: this.#now,
      lastRank: rank,
      lastOperation: index,
      port: -1,
    };
    state.happenings[index] = happening;
    const { body } = flat.operation;
    if (body.kind === 'collective') this.#arrive(rank, flat);
    else if (body.kind === 'kernel') {
      if (this.#sleptBefore(state, cause)) {
        const wake = this.#now + (this.#job.hostCores?.wakeSeconds ?? 0);
        this.#queue.push({ kind: 'awake', rank, operation: index }, wake);
      } else this.#startKernel(rank, flat, happening);
    } else this.#queue.push({ kind: 'end', rank, operation: index }, this.#now);
  }

  /** Whether a rank's thread slept until `cause` ended, and needs time to wake up. */
  #sleptBefore(state: RankState, cause: number): boolean {
    if (!this.#job.hostCores?.wakeSeconds) return false;
    return state.flat.operations[cause]?.operation.body.kind === 'collective';
  }

  #awake(rank: number, operation: number): void {
    const happening = this.#rank(rank).happenings[operation];
    if (!happening) return;
    happening.issued = this.#now;
    happening.ready = this.#now;
    this.#startKernel(rank, happening.flat, happening);
  }

  #startKernel(rank: number, flat: OrderedOperation, happening: Happening): void {
    const { body } = flat.operation;
    if (body.kind !== 'kernel') return;
    const price = this.#prices.kernel(rank, flat, body);
    happening.bytes = price.bytes;
    if (price.seconds === 0) {
      this.#queue.push({ kind: 'end', rank, operation: flat.index }, this.#now);
      return;
    }
    this.#work('kernel', rank, flat.index, price.seconds);
  }

  /** Work on the processors, at the end of which an operation ends. */
  #work(kind: RunningKernel['kind'], rank: number, operation: number, seconds: number): void {
    this.#processors.start({ kind, rank, operation, remaining: seconds, rate: 0, since: this.#now, version: 0 });
  }

  #arrive(rank: number, flat: OrderedOperation): void {
    const channel = this.#job.channels[rank]?.[flat.index];
    if (!channel) throw new RangeError(`${flat.name} has no channel`);
    this.#processors.hold(rank, this.#tax(flat));
    const size = channel.members.length;
    let meeting = this.#meetings.get(channel.id);
    if (!meeting) {
      meeting = {
        channel,
        arrived: 0,
        price: undefined,
        operations: Array.from(channel.members, () => -1),
        flowing: Array.from(channel.members, () => 0),
      };
      this.#meetings.set(channel.id, meeting);
    }
    meeting.operations[channel.members.indexOf(rank)] = flat.index;
    meeting.arrived += 1;
    if (meeting.arrived < size) return;
    this.#meetings.delete(channel.id);
    this.#meet(meeting, rank, flat);
  }

  /** All members are there: bytes flow. */
  #meet(meeting: Meeting, lastRank: number, flat: OrderedOperation): void {
    const { members } = meeting.channel;
    const price = this.#prices.collective(meeting.channel, this.#happening(meeting, 0).flat);
    const { bytesScale, workScale } = price;
    meeting.price = price;
    members.forEach((_, index) => {
      const happening = this.#happening(meeting, index);
      happening.bytes += (price.sent[index] ?? 0) * bytesScale;
      happening.ready = this.#now;
      happening.lastRank = lastRank;
      happening.lastOperation = flat.index;
    });
    for (const bundle of bytesScale === 0 ? [] : price.bundles) {
      this.#ports.carry(bundle, price);
      for (const member of bundle.touches) meeting.flowing[member] = (meeting.flowing[member] ?? 0) + 1;
      this.#network.add({
        meeting,
        touches: bundle.touches,
        count: bundle.count,
        ...this.#occupied(bundle, price),
        priority: flat.operation.priority,
        remaining: bundle.work * workScale,
        rate: 0,
        since: this.#now,
        version: 0,
        port: -1,
        portSince: this.#now,
        heldBy: undefined,
        visit: 0,
      });
    }
    members.forEach((_, index) => {
      if (meeting.flowing[index] === 0) this.#finish(meeting, index);
    });
  }

  /** Ports of a bundle, and where movers carry it those of its hosts; what a unit of work takes of each. */
  #occupied(
    { ports: own, hosts, crosses, bytes, work }: FlowBundle,
    { bytesScale, workScale }: MeetingPrice,
  ): { ports: readonly number[]; weights: readonly number[] } {
    if (hosts.length === 0) return { ports: own, weights: own.map(() => 1) };
    const weight = this.#processors.moverWeight(crosses);
    // movers copy the bytes themselves, not what slowdowns make of them
    const carried = work > 0 ? (weight * bytes * bytesScale) / (work * workScale) : weight;
    return {
      ports: [...own, ...hosts.map((host) => this.#ports.kinds + host)],
      weights: [...own.map(() => 1), ...hosts.map(() => carried)],
    };
  }

  #flowed(bundle: CollectiveBundle): void {
    this.#network.remove(bundle);
    bundle.version += 1;
    const { meeting } = bundle;
    const port = heldLongest(bundle, this.#now);
    for (const member of bundle.touches) {
      const left = (meeting.flowing[member] ?? 0) - 1;
      meeting.flowing[member] = left;
      if (left > 0) continue;
      this.#happening(meeting, member).port = port;
      this.#finish(meeting, member);
    }
  }

  /** A member's own bytes are through; what is left is latency, and what its rank does itself. */
  #finish(meeting: Meeting, member: number): void {
    const rank = meeting.channel.members[member] ?? 0;
    const latency = meeting.price?.latencySeconds[member] ?? 0;
    const { coreSecondsPerCollective = 0, latencyOverlap = 0 } = this.#job.hostCores ?? {};
    const happening = this.#happening(meeting, member);
    happening.through = this.#now;
    const operation = meeting.operations[member] ?? 0;
    const { body } = happening.flat.operation;
    const rounds = body.kind === 'collective' && body.name === 'all_reduce' ? 2 : 1;
    const work = rounds * coreSecondsPerCollective;
    const event: Event = work > 0 ? { kind: 'received', rank, operation, work } : { kind: 'end', rank, operation };
    const passed = Math.min(this.#now - happening.ready, latencyOverlap * latency);
    this.#queue.push(event, this.#now + latency - passed);
  }

  #end(rank: number, index: number): void {
    const state = this.#rank(rank);
    const flat = state.flat.operations[index];
    const happening = state.happenings[index];
    if (!flat || !happening) return;
    happening.end = this.#now;
    happening.finished = true;
    state.ended += 1;
    state.running[flat.queue] = 0;
    state.heads[flat.queue] = (state.heads[flat.queue] ?? 0) + 1;
    if (flat.operation.body.kind === 'collective') this.#processors.hold(rank, -this.#tax(flat));
    for (const dependent of flat.dependents) state.pending[dependent] = (state.pending[dependent] ?? 0) - 1;
    if (state.flat.blocksHost[index]) {
      state.hostFree = this.#now;
      state.hostNext = index + 1;
      state.issuable = nextBlock(state.flat, index + 1);
    }
    this.#attemptAll(rank, index);
  }

  #tax(flat: OrderedOperation): number {
    return flat.operation.lane === 'copy' ? 0 : this.#job.model.inputs.multiprocessorsPerCollective;
  }

  #rank(rank: number): RankState {
    const state = this.#ranks[rank];
    if (!state) throw new RangeError(`there is no rank ${rank}`);
    return state;
  }

  #happening(meeting: Meeting, member: number): Happening {
    const state = this.#rank(meeting.channel.members[member] ?? -1);
    const happening = state.happenings[meeting.operations[member] ?? -1];
    if (!happening) throw new RangeError(`member ${member} of ${meeting.channel.name} has not arrived`);
    return happening;
  }
}
