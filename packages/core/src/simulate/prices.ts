/** Prices of a job's operations, and what they rest on. */
import { kernelSeconds, priceCollective, pricedKernel } from '../cost/index.js';
import { nodesOf, weakestBasis } from '../cost/index.js';
import type { Basis, CostModel, PricedCollective } from '../cost/index.js';
import type { Fabric } from '../traffic/index.js';
import { priceKey } from '../schedule/kernels.js';
import type { Group } from '../layout/layout.js';
import type { Binding, Body, CollectiveName } from '../schedule/schedule.js';
import type { CompiledOperation } from '../schedule/compile.js';
import type { FlatProgram } from './rank-state.js';
import type { Channel } from './groups.js';
import type { HostCores } from './host.js';
import { collectiveLoad, rowsOf } from '../traffic/load.js';

export interface Job {
  readonly programs: readonly FlatProgram[];
  /** Per rank, index into `programs`. */
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

export class Prices {
  readonly #job: Job;
  readonly #fixed = new Map<CompiledOperation['operation'], Map<number, PricedCollective>>();
  readonly #collectives = new Map<string, CollectiveBasis>();
  /** Of kernels, and of collectives. */
  readonly bases = { kernels: new Set<Basis>(), collectives: new Set<Basis>() };

  constructor(job: Job) {
    this.#job = job;
  }

  /**
   * Bytes through memory and seconds of a kernel that runs alone. Throws RangeError when there is no price; `simulate`
   * asks before.
   */
  kernel(
    rank: number,
    flat: CompiledOperation,
    { name: kernel, work }: KernelBody,
  ): { bytes: number; seconds: number } {
    const rows = rowsOf({
      size: work.rows,
      binding: this.#binding(rank),
      rank,
      node: this.#node(rank, flat),
      part: work,
    });
    const name = priceKey(kernel, flat.operation.uses);
    const priced = pricedKernel(name, work, rows);
    const price = kernelSeconds(this.#job.model, priced);
    if (!price.known) throw new RangeError(`kernel ${name} has no price: ${price.missing.join(', ')}`);
    this.bases.kernels.add(price.basis);
    return { bytes: priced.bytes, seconds: price.seconds };
  }

  /** A collective, as its first member (for send and receive: the sender) sees it. */
  collective(channel: Channel, flat: CompiledOperation): PricedCollective {
    const { body } = flat.operation;
    const first = channel.members[0];
    if (body.kind !== 'collective' || first === undefined) throw new RangeError(`${flat.name} is not a collective`);
    // sizes that do not depend on routing have one price per operation and group
    const fixed = !body.counts && flat.template.regions.every((region) => typeof region.rows === 'number');
    let prices = this.#fixed.get(flat.operation);
    const known = fixed ? prices?.get(channel.id) : undefined;
    if (known) return known;
    const { members } = channel;
    const load = collectiveLoad({
      template: flat.template,
      operation: flat.operation,
      body,
      members,
      node: this.#node(first, flat),
      binding: this.#binding(first),
    });
    const priced = priceCollective({
      model: this.#job.model,
      fabric: this.#job.fabric,
      name: body.name,
      members,
      load,
    });
    this.bases.collectives.add(priced.basis);
    this.#note(body, members, priced);
    if (fixed) {
      prices ??= new Map();
      this.#fixed.set(flat.operation, prices);
      prices.set(channel.id, priced);
    }
    return priced;
  }

  /** What collectives rest on, by name and shape of their group. */
  get collectiveBases(): CollectiveBasis[] {
    return [...this.#collectives.values()];
  }

  #note({ name, group }: CollectiveBody, members: readonly number[], priced: PricedCollective): void {
    const [ranks, nodes] = [members.length, nodesOf(this.#job.fabric, members).size];
    if (ranks < 2) return;
    const key = [name, group, ranks, nodes].join('|');
    const known = this.#collectives.get(key);
    const { basis, detail, expectedError } = priced;
    const moved = priced.flows.reduce((sum, flow) => sum + flow.bytes, known?.bytes ?? 0);
    const weaker = known === undefined || weakestBasis([known.basis, basis]) !== known.basis;
    if (!weaker && (expectedError ?? 0) <= (known.expectedError ?? 0)) {
      this.#collectives.set(key, { ...known, bytes: moved });
      return;
    }
    const error = expectedError === undefined ? {} : { expectedError };
    this.#collectives.set(key, { name, group, ranks, nodes, basis, detail, bytes: moved, ...error });
  }

  #binding(rank: number): Binding {
    const binding = this.#job.bindings[this.#job.programOf[rank] ?? 0];
    if (!binding) throw new RangeError(`rank ${rank} has no binding`);
    return binding;
  }

  #node(rank: number, flat: CompiledOperation): number {
    return this.#job.nodeNumbers[this.#job.programOf[rank] ?? 0]?.[flat.node] ?? flat.node;
  }
}
