/** Which instances of regions a program has, and how long each of them lives. */
import type { Life, ProgramNode, Region } from './schedule.js';
import type { TemplatePlan } from './template-plan.js';

/** A region as one node, layer, micro-batch, step or model has it. */
export interface RegionInstance {
  readonly region: Region;
  /** Layer that a parameter region belongs to; that of its first node for others. */
  readonly layer: number;
  readonly microBatch: number;
  /** Node that uses it first, of several parts the first: its rows are those of this node. */
  readonly node: number;
  /** First operation that uses it. */
  readonly first: number;
  /**
   * Operation after whose issue nothing asks for it any more: the last one of its last node. Regions of step and
   * parameters outlive it.
   */
  readonly last: number;
  /** Its last use on every queue: its memory is free once these have ended. */
  readonly ends: readonly number[];
}

/** A template's operations at one node, or at several that are parts of it. */
export interface Whole {
  /** The node, or the first of them: regions of life `layer` are its own. */
  readonly node: number;
  /** Index of each operation that has been compiled, by its place in the template. */
  readonly numbers: number[];
  /** By place of a region in the template, its instance here. */
  readonly instances: (number | undefined)[];
}

/** Which layer's or micro-batch's region an id means at a node; those of life `layer` are the node's own. */
export function instanceKey(id: string, life: Life, node: ProgramNode): string {
  switch (life) {
    case 'layer':
      return '';
    case 'saved':
      return `${node.layer}/${node.microBatch}/${id}`;
    case 'pass':
      return `${node.layer}/${node.microBatch}/${node.pass === 'forward' ? 'forward' : 'backward'}/${id}`;
    case 'microBatch':
      return `/${node.microBatch}/${id}`;
    case 'parameter':
      return `${node.layer}//${id}`;
    case 'step':
      return id;
  }
}

interface Instance extends RegionInstance {
  last: number;
  /** The last use on every queue. */
  readonly ends: number[];
}

/** An operation of a node, or the node's last one. */
interface At {
  readonly plan: TemplatePlan;
  readonly node: ProgramNode;
  readonly whole: Whole;
  readonly operation: number;
}

export class RegionLifetimes {
  readonly instances: Instance[] = [];
  /** By operation, the instance of each of its uses. */
  readonly used: number[][] = [];
  readonly #byKey = new Map<string, number>();
  /** Of every instance, the queues of its `ends`. */
  readonly #endQueues: number[][] = [];

  /** The next operation uses regions, by their places in the plan. */
  use(places: readonly number[], at: At & { readonly queue: number }): void {
    const { plan, whole, operation, queue } = at;
    const list = places.map((place) => {
      const region = plan.regions[place];
      if (region === undefined) throw new RangeError(`${plan.template.name} has no region ${place}`);
      const instance = (whole.instances[place] ??= this.#instance(region, at));
      this.#ends(instance, operation, queue);
      return instance;
    });
    this.used.push(list);
  }

  /** A node has ended, or a part of it: all its regions are asked for until then. */
  end({ plan, node, whole, operation }: At): void {
    plan.regions.forEach((region, place) => {
      const known = whole.instances[place] ?? this.#byKey.get(instanceKey(region.id, region.life, node));
      const instance = known === undefined ? undefined : this.instances[known];
      if (instance) instance.last = operation;
    });
  }

  /** The instance of a region at a node that an operation is the first to use. */
  #instance(region: Region, { node, whole, operation }: At): number {
    const key = instanceKey(region.id, region.life, node);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const number = this.instances.length;
    // Those of life `layer` are known to their own template's nodes alone.
    if (region.life !== 'layer') this.#byKey.set(key, number);
    const { layer, microBatch } = node;
    const [first, last] = [operation, operation];
    this.instances.push({ region, layer, microBatch, node: whole.node, first, last, ends: [] });
    this.#endQueues.push([]);
    return number;
  }

  /** Notes that an operation of a queue uses an instance. */
  #ends(instance: number, operation: number, queue: number): void {
    const [ends, queues] = [this.instances[instance]?.ends ?? [], this.#endQueues[instance] ?? []];
    const before = queues.indexOf(queue);
    if (before < 0) queues.push(queue);
    ends[before < 0 ? ends.length : before] = operation;
  }
}
