/** Prices of a job's operations, and what they rest on. */
import { nodesOf, scaledCollective, weakestBasis } from '../cost/index.js';
import type { Basis, CostModel, Move, ScaledCollective } from '../cost/index.js';
import type { Fabric, World } from '../traffic/index.js';
import type { Group } from '../layout/layout.js';
import type { Binding, Body, CollectiveName } from '../schedule/schedule.js';
import type { OrderedOperation } from '../schedule/compile.js';
import type { FlatProgram } from './rank-state.js';
import type { Channel } from './groups.js';
import type { HostCores } from './host.js';
import { kernelPrices } from './kernel-prices.js';
import type { CollectiveLoad, EvenLoad } from '../traffic/flows.js';
import { collectiveLoad, evenLoad, rowsOf } from '../traffic/load.js';
import { memoized } from '../units/index.js';
import { bundle, gridFlows, type Bundled, type WeighedFlow } from './bundles.js';

export interface Job {
  /** Which ranks stand for all. What follows is by place in it. */
  readonly world: World;
  readonly programs: readonly FlatProgram[];
  /** By place, index into `programs`. */
  readonly programOf: readonly number[];
  readonly channels: readonly (readonly (Channel | undefined)[])[];
  readonly fabric: Fabric;
  readonly model: CostModel;
  /** Per program; nodes are numbered as in the program it was made from. */
  readonly bindings: readonly Binding[];
  /** Per program, the number that the binding knows each node by. */
  readonly nodeNumbers: readonly (readonly number[])[];
  readonly hostCores?: HostCores;
}

/** What the collectives of one name over groups of one shape rest on. */
export interface CollectiveBasis {
  readonly name: CollectiveName;
  /** The kind of group. */
  readonly group: Group;
  readonly ranks: number;
  readonly nodes: number;
  /** The weakest. */
  readonly basis: Basis;
  /** Of the one with the largest error to expect. */
  readonly detail: string;
  /** The largest relative error to expect, where a calibration tells. */
  readonly expectedError?: number;
  /** What they move in all. */
  readonly bytes: number;
}

type KernelBody = Extract<Body, { kind: 'kernel' }>;
type CollectiveBody = Extract<Body, { kind: 'collective' }>;

interface KernelPrice {
  readonly bytes: number;
  readonly seconds: number;
}

/** What meets on a channel: bundles of flows, and what follows them. */
export interface MeetingPrice extends Bundled {
  readonly bytesScale: number;
  readonly workScale: number;
  /** By member of the channel. */
  readonly latencySeconds: Float64Array;
  /** Of what it rests on. */
  readonly key: string;
}

/** Bundles of even loads, by world and by how a unit moves. */
const unitBundles = memoized<World, WeakMap<Move, Bundled>>(() => new WeakMap());

export class Prices {
  readonly #job: Job;
  readonly #hostOf: ((rank: number) => number) | undefined;
  /** Of sizes that do not depend on routing: one price per operation and group. */
  readonly #fixed = new Map<OrderedOperation['operation'], Map<number, MeetingPrice>>();
  /** Of even loads, by what they move on which channel. */
  readonly #even = new Map<string, MeetingPrice>();
  /** Of kernels that run alike on all ranks that see the same routing. */
  readonly #kernels = new Map<Binding, Map<OrderedOperation['operation'], KernelPrice>>();
  readonly #collectives = new Map<string, CollectiveBasis>();
  readonly #nodes = new Map<number, number>();
  /** Of kernels, and of collectives. */
  readonly bases = { kernels: new Set<Basis>(), collectives: new Set<Basis>() };

  /** `hostOf`: the host of a rank, where threads of hosts move the bytes. */
  constructor(job: Job, hostOf?: (rank: number) => number) {
    this.#job = job;
    this.#hostOf = hostOf;
  }

  /**
   * Bytes through memory and seconds of a kernel that runs alone. Throws RangeError when there is no price; `simulate`
   * asks before.
   */
  kernel(place: number, flat: OrderedOperation, body: KernelBody): KernelPrice {
    const binding = this.#binding(place);
    const alike = typeof body.work.rows === 'number' || binding.alike === 'ranks';
    if (!alike) return this.#kernel(place, flat, body);
    let known = this.#kernels.get(binding);
    if (known === undefined) this.#kernels.set(binding, (known = new Map()));
    let price = known.get(flat.operation);
    if (price === undefined) known.set(flat.operation, (price = this.#kernel(place, flat, body)));
    return price;
  }

  #kernel(place: number, { operation, node }: OrderedOperation, body: KernelBody): KernelPrice {
    const { work } = body;
    const rows = rowsOf({
      size: work.rows,
      binding: this.#binding(place),
      rank: this.#job.world.ranks[place] ?? 0,
      node: this.#node(place, node),
      part: work,
    });
    const { name, bytes, estimate } = kernelPrices(this.#job.model).of(operation, body, rows);
    if (!estimate.known) throw new RangeError(`kernel ${name} has no price: ${estimate.missing.join(', ')}`);
    this.bases.kernels.add(estimate.basis);
    return { bytes, seconds: estimate.seconds };
  }

  /** A collective, as its first member (for send and receive: the sender) sees it. */
  collective(channel: Channel, flat: OrderedOperation): MeetingPrice {
    const { body } = flat.operation;
    if (body.kind !== 'collective') throw new RangeError(`${flat.name} is not a collective`);
    const alike = this.#binding(channel.members[0] ?? 0).alike === 'ranks';
    const fixed = alike || (!body.counts && flat.template.regions.every((region) => typeof region.rows === 'number'));
    let prices = this.#fixed.get(flat.operation);
    let price = fixed ? prices?.get(channel.id) : undefined;
    if (price) {
      this.#moved(price);
      return price;
    }
    price = this.#price(channel, flat, body);
    if (fixed) {
      if (!prices) this.#fixed.set(flat.operation, (prices = new Map()));
      prices.set(channel.id, price);
    }
    return price;
  }

  #price(channel: Channel, flat: OrderedOperation, body: CollectiveBody): MeetingPrice {
    const [first = 0] = channel.members;
    const request = {
      template: flat.template,
      operation: flat.operation,
      body,
      members: channel.ranks,
      node: this.#node(first, flat.node),
      binding: this.#binding(first),
    };
    const load = evenLoad(request);
    if (load === undefined) return this.#priceOf(channel, body, collectiveLoad(request));
    const key = `${body.name} ${body.group} ${channel.id} ${load.of} ${load.bytes}`;
    let price = this.#even.get(key);
    if (price === undefined) this.#even.set(key, (price = this.#priceOf(channel, body, load)));
    else this.#moved(price);
    return price;
  }

  #priceOf(channel: Channel, body: CollectiveBody, load: CollectiveLoad | EvenLoad): MeetingPrice {
    const { model, fabric } = this.#job;
    const { ranks, members } = channel;
    const scaled = scaledCollective({ model, fabric, name: body.name, members: ranks, load });
    const bundled =
      load.kind === 'even' ? this.#unitBundles(channel, scaled.move) : this.#bundle(channel, scaled.move.flows);
    const { bytesScale, workScale, basis, latencySeconds: latencies } = scaled;
    // members stand for ranks of their kind, whose latency is theirs
    const latencySeconds = Float64Array.from(members, (member) => latencies[this.#rankAt(channel, member)] ?? 0);
    const key = `${body.name}|${body.group}|${ranks.length}|${this.#nodesOf(channel)}`;
    const price = { ...bundled, bytesScale, workScale, latencySeconds, key };
    this.bases.collectives.add(basis);
    this.#note(body, channel, scaled, price);
    return price;
  }

  /** Place in a channel's ranks of the first that a member stands for. */
  #rankAt({ ranks }: Channel, member: number): number {
    const { placeOf } = this.#job.world;
    return ranks.findIndex((rank) => placeOf[rank] === member);
  }

  #unitBundles(channel: Channel, move: Move): Bundled {
    if (this.#hostOf) return this.#bundle(channel, move.flows);
    const known = unitBundles(this.#job.world);
    let bundled = known.get(move);
    if (bundled === undefined)
      known.set(move, (bundled = this.#likeAnother(channel, move) ?? this.#ownBundles(channel, move)));
    return bundled;
  }

  #ownBundles(channel: Channel, move: Move): Bundled {
    const { grid } = move;
    return this.#bundle(channel, (grid && gridFlows(this.#job.world, channel, grid)) ?? move.flows);
  }

  /** Bundles of a group that moves as another does: those of the other, on its own ports. */
  #likeAnother(channel: Channel, { like }: Move): Bundled | undefined {
    const { world, fabric } = this.#job;
    if (like === undefined) return undefined;
    const members = [...new Set(like.members.map((rank) => world.placeOf[rank] ?? 0))];
    if (members.length !== channel.members.length) return undefined;
    const { bundles, ...rest } = this.#unitBundles({ ...channel, members, ranks: like.members }, like.move);
    const placeOf = (port: number): number =>
      world.portPlace[fabric.moved(world.ports[port]?.port ?? 0, like.ranks)] ?? -1;
    const own = bundles.map((one) => ({ ...one, ports: one.ports.map(placeOf) }));
    return own.every(({ ports }) => !ports.includes(-1)) ? { ...rest, bundles: own } : undefined;
  }

  #bundle(channel: Channel, flows: readonly WeighedFlow[]): Bundled {
    return bundle(this.#job.world, channel, flows, this.#hostOf);
  }

  /** What collectives rest on, by name and shape of their group. */
  get collectiveBases(): CollectiveBasis[] {
    return [...this.#collectives.values()];
  }

  #nodesOf({ id, ranks }: Channel): number {
    let nodes = this.#nodes.get(id);
    if (nodes === undefined) this.#nodes.set(id, (nodes = nodesOf(this.#job.fabric, ranks).size));
    return nodes;
  }

  /** Bytes of a collective whose price is known. */
  #moved({ key, totalBytes, bytesScale }: MeetingPrice): void {
    const known = this.#collectives.get(key);
    if (known) this.#collectives.set(key, { ...known, bytes: known.bytes + totalBytes * bytesScale });
  }

  #note(body: CollectiveBody, channel: Channel, scaled: ScaledCollective, price: MeetingPrice): void {
    const ranks = channel.ranks.length;
    if (ranks < 2) return;
    const { key } = price;
    const known = this.#collectives.get(key);
    const { basis, detail, expectedError } = scaled;
    const bytes = (known?.bytes ?? 0) + price.totalBytes * price.bytesScale;
    const weaker = known === undefined || weakestBasis([known.basis, basis]) !== known.basis;
    if (!weaker && (expectedError ?? 0) <= (known.expectedError ?? 0)) {
      this.#collectives.set(key, { ...known, bytes });
      return;
    }
    const { name, group } = body;
    const error = expectedError === undefined ? {} : { expectedError };
    this.#collectives.set(key, { name, group, ranks, nodes: this.#nodesOf(channel), basis, detail, bytes, ...error });
  }

  #binding(place: number): Binding {
    const binding = this.#job.bindings[this.#job.programOf[place] ?? 0];
    if (!binding) throw new RangeError(`rank ${this.#job.world.ranks[place]} has no binding`);
    return binding;
  }

  #node(place: number, node: number): number {
    return this.#job.nodeNumbers[this.#job.programOf[place] ?? 0]?.[node] ?? node;
  }
}
