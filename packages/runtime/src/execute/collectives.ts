/**
 * Translates the collectives of a template into calls on communicators: groups to ranks, rows to elements, exchanges to
 * counts.
 */
import { groupMembers } from '@monta/core/layout';
import { collectiveUses, sliceLength } from '@monta/core/schedule';
import type { Binding, Body, CollectiveName, CompiledOperation, Group, Layout, SpanCollective } from '@monta/core';
import type { Communicator, Endpoint, Submission } from '../comm/communicator.js';
import type { Device, DeviceEvent, Operand } from '../device/device.js';

export type CollectiveBody = Extract<Body, { kind: 'collective' }>;

/** What a collective moves: one and the same operand in place. */
export interface Moved {
  readonly from: Operand;
  readonly to: Operand;
}

export class Collectives {
  readonly #endpoint: Endpoint;
  readonly #device: Device;
  readonly #layout: Layout;
  readonly #binding: Binding;
  readonly #members = new Map<Group, readonly number[]>();
  readonly #notes = new Map<string, SpanCollective>();

  constructor(endpoint: Endpoint, device: Device, layout: Layout, binding: Binding) {
    this.#endpoint = endpoint;
    this.#device = device;
    this.#layout = layout;
    this.#binding = binding;
  }

  /** Ranks that take part, in group order. */
  members(group: Group): readonly number[] {
    let members = this.#members.get(group);
    if (members === undefined) {
      members = groupMembers(this.#layout, group, this.#endpoint.rank);
      this.#members.set(group, members);
    }
    return members;
  }

  /** What spans tell of a collective of this rank, the same object for the same kind. */
  noteOf({ name, group }: CollectiveBody): SpanCollective {
    const key = `${name} ${group}`;
    const note = this.#notes.get(key) ?? { name, group, members: this.members(group) };
    this.#notes.set(key, note);
    return note;
  }

  /** This rank's communicator of a group on a queue. */
  communicator(group: Group, queue: string): Communicator {
    const members = this.members(group);
    return this.#endpoint.communicator(`${group} ${members.join(' ')}`, members, this.#device.queue(queue));
  }

  /** Submits a collective; it starts when what `options` names is done. */
  submit({
    compiledOperation: { operation, node },
    body,
    moved: { from, to },
    communicator,
    options,
  }: {
    readonly compiledOperation: CompiledOperation;
    readonly body: CollectiveBody;
    readonly moved: Moved;
    readonly communicator: Communicator;
    readonly options: Submission;
  }): DeviceEvent {
    const { columns } = from;
    const [send, receive] = [from.view, to.view];
    const part = collectiveUses(operation).from;
    const exchanged = (): { send: Int32Array; receive: Int32Array } => {
      if (body.counts === undefined) throw unsupported(operation.id, 'it has no counts');
      const rows = this.#binding.counts(body.counts, this.#endpoint.rank, node, part);
      return { send: rows.send.map((n) => n * columns), receive: rows.receive.map((n) => n * columns) };
    };
    /** Elements of each member of an all_gather or reduce_scatter; undefined for equal shares. */
    const shares = (whole: Operand, side: 'send' | 'receive'): { counts?: Int32Array } => {
      if (body.counts !== undefined) return { counts: exchanged()[side] };
      if (body.split !== 'tokens') return {};
      const { size } = communicator;
      return {
        counts: Int32Array.from({ length: size }, (_, member) => sliceLength(whole.rows, member, size) * columns),
      };
    };
    const reduction = body.reduction ?? 'sum';
    switch (body.name) {
      case 'all_to_all': {
        if (body.counts === undefined) return communicator.allToAll(send, receive, options);
        const elements = exchanged();
        return communicator.allToAllV(
          { view: send, counts: elements.send },
          { view: receive, counts: elements.receive },
          options,
        );
      }
      case 'all_gather':
        return communicator.allGather(send, receive, { ...options, ...shares(to, 'receive') });
      case 'reduce_scatter':
        return communicator.reduceScatter(send, receive, { ...options, ...shares(from, 'send'), reduction });
      case 'all_reduce':
        return communicator.allReduce(send, { ...options, reduction });
      case 'barrier':
        return communicator.barrier(options);
      case 'broadcast':
      case 'send':
      case 'receive':
        throw unsupported(operation.id, `${body.name satisfies CollectiveName} names no peer in a template`);
    }
  }
}

const unsupported = (operation: string, why: string): Error => new Error(`operation ${operation}: ${why}`);
