/** Who meets whom: the communicators of a job, and the check that all their members agree on what comes next. */
import type { Group } from '../layout/layout.js';
import type { ProgramNode } from '../schedule/schedule.js';
import { InputError } from '../units/index.js';
import type { CompiledOperation } from '../schedule/compile.js';
import type { FlatProgram } from './rank-state.js';

/** Members of the group of a kind that a rank is in, in group order. */
export type Members = (group: Group, rank: number) => readonly number[];

export interface Channel {
  readonly id: number;
  readonly name: string;
  readonly members: readonly number[];
}

/** The communicators of a job. One per group and lane; for send and receive one per ordered pair. */
export class Channels {
  readonly #byKey = new Map<string, Channel>();
  readonly #members = new Map<string, readonly number[]>();
  readonly #groups: Members;
  readonly list: Channel[] = [];

  constructor(groups: Members) {
    this.#groups = groups;
  }

  /** The communicator on which a rank runs a collective. */
  of(flat: CompiledOperation, node: ProgramNode, rank: number): Channel {
    const { body } = flat.operation;
    if (body.kind !== 'collective') throw new RangeError(`${flat.name} is not a collective`);
    const members = this.#membersOf(body.group, rank);
    if (body.name === 'send' || body.name === 'receive') {
      // forward hands activations to the next member, backward gradients to the one before
      const step = (node.pass === 'backward' ? -1 : 1) * (body.name === 'send' ? 1 : -1);
      const peer = members[members.indexOf(rank) + step];
      if (peer === undefined) {
        throw new InputError(`${flat.name} on rank ${rank} has no peer in its ${body.group} group`, {
          expected: 'no send on the last stage and no receive on the first (the other way round in the backward pass)',
        });
      }
      const pair = body.name === 'send' ? [rank, peer] : [peer, rank];
      return this.#channel(pair.join('>'), pair);
    }
    return this.#channel(`${flat.operation.lane} ${body.group} ${members.join(',')}`, members);
  }

  #channel(key: string, members: readonly number[]): Channel {
    let channel = this.#byKey.get(key);
    if (!channel) {
      channel = { id: this.list.length, name: key, members };
      this.#byKey.set(key, channel);
      this.list.push(channel);
    }
    return channel;
  }

  #membersOf(group: Group, rank: number): readonly number[] {
    const key = `${group} ${rank}`;
    let members = this.#members.get(key);
    if (!members) {
      members = this.#groups(group, rank);
      if (!members.includes(rank)) {
        throw new InputError(`rank ${rank} is not in its own ${group} group [${members.join(', ')}]`, {
          expected: 'groups that hold the rank they are asked for',
        });
      }
      this.#members.set(key, members);
    }
    return members;
  }
}

/**
 * Gives every collective of every rank its communicator (indexed by rank, then by operation), and checks that on each
 * of them all members issue the same collectives in the same order. Throws `InputError` naming the two ranks and the
 * two operations that would meet.
 */
export function assignChannels(
  programs: readonly FlatProgram[],
  programOf: readonly number[],
  channels: Channels,
): (Channel | undefined)[][] {
  const sequences = new Map<number, Map<number, CompiledOperation[]>>();
  const assigned = programOf.map((which, rank) => {
    const flat = programs[which];
    return (flat?.operations ?? []).map((operation) => {
      const node = flat?.compiled.program.nodes[operation.node];
      if (operation.operation.body.kind !== 'collective' || !node) return undefined;
      const channel = channels.of(operation, node, rank);
      const perRank = sequences.get(channel.id) ?? new Map<number, CompiledOperation[]>();
      sequences.set(channel.id, perRank);
      const sequence = perRank.get(rank);
      if (sequence) sequence.push(operation);
      else perRank.set(rank, [operation]);
      return channel;
    });
  });
  for (const channel of channels.list) {
    const [first, ...others] = channel.members;
    if (first === undefined) continue;
    for (const other of others) compare(channel, sequences.get(channel.id), first, other);
  }
  return assigned;
}

function compare(
  channel: Channel,
  sequences: ReadonlyMap<number, readonly CompiledOperation[]> | undefined,
  first: number,
  other: number,
): void {
  const a = sequences?.get(first) ?? [];
  const b = sequences?.get(other) ?? [];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === b[i] || (a[i] && b[i] && kindOf(a[i]) === kindOf(b[i]))) continue;
    throw new InputError(
      `collective ${i} on ${channel.name} differs: rank ${first} has ${label(a[i])}, rank ${other} has ${label(b[i])}`,
      { expected: 'the same collectives in the same order on all members of a group' },
    );
  }
}

function label(operation: CompiledOperation | undefined): string {
  return operation ? `${operation.name} of node ${operation.node}` : 'nothing left';
}

function kindOf(operation: CompiledOperation | undefined): string {
  const body = operation?.operation.body;
  if (body?.kind !== 'collective') return '';
  return body.name === 'receive' ? 'send' : body.name;
}
