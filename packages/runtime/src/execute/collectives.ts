/** Translates the collectives of a template into calls on communicators: groups to ranks, rows to elements, families to counts. */
import {
  groupMembers,
  sliceStart,
  type Binding,
  type CollectiveName,
  type Group,
  type Layout,
  type Operation,
  type Body,
  type SpanCollective,
} from '@monta/core';
import type { CommEvent, Communicator, Endpoint, Submission } from '../comm/communicator.js';
import type { View } from '../device/view.js';
import type { Storage } from './storage.js';

type CollectiveBody = Extract<Body, { kind: 'collective' }>;

export class Collectives {
  readonly #endpoint: Endpoint;
  readonly #layout: Layout;
  readonly #binding: Binding;
  readonly #notes = new Map<string, SpanCollective>();

  constructor(endpoint: Endpoint, layout: Layout, binding: Binding) {
    this.#endpoint = endpoint;
    this.#layout = layout;
    this.#binding = binding;
  }

  /** Number of ranks that take part. */
  groupSize(group: Group): number {
    return groupMembers(this.#layout, group, this.#endpoint.rank).length;
  }

  /** What spans tell of a collective of this rank, the same object for the same kind. */
  noteOf({ name, group }: CollectiveBody): SpanCollective {
    const key = `${name} ${group}`;
    const note = this.#notes.get(key) ?? {
      name,
      group,
      members: groupMembers(this.#layout, group, this.#endpoint.rank),
    };
    this.#notes.set(key, note);
    return note;
  }

  /** This rank's communicator of a group on a lane. */
  communicator(group: Group, lane: string): Communicator {
    const members = groupMembers(this.#layout, group, this.#endpoint.rank);
    return this.#endpoint.communicator(`${group} ${members.join(' ')}`, members, lane);
  }

  /** Submits a collective of node `node`; it starts when `after` are done. */
  submit(operation: Operation, body: CollectiveBody, storage: Storage, node: number, options: Submission): CommEvent {
    const communicator = this.communicator(body.group, operation.lane);
    const { uses } = operation;
    const [first, last] = [uses[0], uses[uses.length - 1]];
    const [send, receive] = [storage.useView(first), storage.useView(last)];
    const columns = storage.region(first.region).columns;
    const counts = (): { send: Int32Array; receive: Int32Array } => {
      if (body.counts === undefined) throw unsupported(operation, 'it has no counts');
      const rows = this.#binding.counts(body.counts, this.#endpoint.rank, node, first.chunk, first.of);
      return { send: rows.send.map((n) => n * columns), receive: rows.receive.map((n) => n * columns) };
    };
    /** Elements of each member of an all_gather or reduce_scatter; undefined for equal shares. */
    const shares = (whole: View, side: 'send' | 'receive'): { counts?: Int32Array } => {
      if (body.counts !== undefined) return { counts: counts()[side] };
      if (body.split !== 'tokens') return {};
      const tokens = whole.length / columns;
      const start = (member: number): number => sliceStart(tokens, member, communicator.size) * columns;
      return { counts: Int32Array.from({ length: communicator.size }, (_, j) => start(j + 1) - start(j)) };
    };
    const reduction = body.reduction ?? 'sum';
    switch (body.name) {
      case 'all_to_all': {
        if (body.counts === undefined) return communicator.allToAll(send, receive, options);
        const elements = counts();
        return communicator.allToAllV(send, elements.send, receive, elements.receive, options);
      }
      case 'all_gather':
        return communicator.allGather(send, receive, { ...options, ...shares(receive, 'receive') });
      case 'reduce_scatter':
        return communicator.reduceScatter(send, receive, { ...options, ...shares(send, 'send'), reduction });
      case 'all_reduce':
        return communicator.allReduce(send, { ...options, reduction });
      case 'barrier':
        return communicator.barrier(options);
      case 'broadcast':
      case 'send':
      case 'receive':
        throw unsupported(operation, `${body.name satisfies CollectiveName} names no peer in a template`);
    }
  }
}

const unsupported = (operation: Operation, why: string): Error => new Error(`operation ${operation.id}: ${why}`);
