/** Who meets whom: the communicators of a job, and the check that all their members agree on what comes next. */
import type { Group } from '../layout/layout.js';
import type { ProgramNode } from '../schedule/schedule.js';
import { InputError } from '../units/index.js';
import { peerOf } from '../schedule/transfers.js';
import type { OrderedOperation } from '../schedule/compile.js';
import type { World } from '../traffic/index.js';
import type { FlatProgram } from './rank-state.js';

/** Members of the group of a kind that a rank is in, in group order. */
export type Members = (group: Group, rank: number) => readonly number[];

export interface Channel {
  readonly id: number;
  readonly name: string;
  /** Places in the world of those who meet, each once: the ranks that stand for its own. */
  readonly members: readonly number[];
  /** All of its ranks, in group order. */
  readonly ranks: readonly number[];
  /** How many communicators it stands for; 1 where every rank stands for itself. */
  readonly times: number;
}

/** Ranks of groups, one array for each group. */
export class GroupRanks {
  readonly #byRank = new Map<string, readonly number[]>();
  readonly #byRanks = new Map<string, readonly number[]>();
  readonly #groups: Members;

  constructor(groups: Members) {
    this.#groups = groups;
  }

  /** Throws `InputError` for a group without the rank that it is asked for. */
  of(group: Group, rank: number): readonly number[] {
    const key = `${group} ${rank}`;
    let members = this.#byRank.get(key);
    if (!members) {
      members = this.#groups(group, rank);
      if (!members.includes(rank)) {
        throw new InputError(`rank ${rank} is not in its own ${group} group [${members.join(', ')}]`, {
          expected: 'groups that hold the rank they are asked for',
        });
      }
      this.#byRank.set(key, (members = this.list(members)));
    }
    return members;
  }

  /** All groups of a kind, each once. */
  all(group: Group, size: number): (readonly number[])[] {
    const seen = new Uint8Array(size);
    const found: (readonly number[])[] = [];
    for (let rank = 0; rank < size; rank++) {
      if (seen[rank]) continue;
      const members = this.of(group, rank);
      for (const member of members) seen[member] = 1;
      found.push(members);
    }
    return found;
  }

  /** The array that holds these ranks. */
  list(ranks: readonly number[]): readonly number[] {
    const key = ranks.join();
    let known = this.#byRanks.get(key);
    if (known === undefined) this.#byRanks.set(key, (known = ranks));
    return known;
  }
}

/**
 * The communicators of a job, in a world where ranks may stand for others. One per group and lane; for send and receive
 * one per ordered pair.
 */
export class Channels {
  readonly #byKey = new Map<string, Channel>();
  readonly #ofRank = new Map<string, Channel>();
  readonly #groups: GroupRanks;
  readonly #world: World;
  readonly list: Channel[] = [];

  constructor(groups: GroupRanks, world: World) {
    this.#groups = groups;
    this.#world = world;
  }

  /** The communicator on which the rank at a place of the world runs a collective. */
  of(flat: OrderedOperation, node: ProgramNode, place: number): Channel {
    const { body, lane } = flat.operation;
    if (body.kind !== 'collective') throw new RangeError(`${flat.name} is not a collective`);
    const way = body.name === 'send' || body.name === 'receive' ? `${body.name} ${node.pass}` : lane;
    const key = `${way} ${body.group} ${place}`;
    let channel = this.#ofRank.get(key);
    if (channel === undefined) this.#ofRank.set(key, (channel = this.#find(flat, node, place)));
    return channel;
  }

  #find(flat: OrderedOperation, node: ProgramNode, place: number): Channel {
    const rank = this.#world.ranks[place] ?? 0;
    const { body } = flat.operation;
    if (body.kind !== 'collective') throw new RangeError(`${flat.name} is not a collective`);
    const members = this.#groups.of(body.group, rank);
    if (body.name === 'send' || body.name === 'receive') {
      const peer = peerOf(members, rank, { name: body.name, pass: node.pass });
      if (peer === rank) {
        throw new InputError(`${flat.name} on rank ${rank} has no peer in its ${body.group} group`, {
          expected: 'a group of two or more',
        });
      }
      const pair = body.name === 'send' ? [rank, peer] : [peer, rank];
      return this.#channel(`${node.pass} `, this.#groups.list(pair), '>');
    }
    return this.#channel(`${flat.operation.lane} ${body.group} `, members, ',');
  }

  #channel(kind: string, ranks: readonly number[], separator: string): Channel {
    const { placeOf, ranks: stands, size } = this.#world;
    const members = [...new Set(ranks.map((rank) => placeOf[rank] ?? 0))];
    // a channel is known by who meets there: in a folded world others of its kind are met by the same
    const name = `${kind}${members.join(separator)}`;
    let channel = this.#byKey.get(name);
    if (!channel) {
      const times = (size * members.length) / (stands.length * ranks.length);
      channel = { id: this.list.length, name, members, ranks, times };
      this.#byKey.set(name, channel);
      this.list.push(channel);
    }
    return channel;
  }
}

/**
 * Gives every collective of every rank of a world its communicator (by place, then by operation), and checks that on
 * each of them all members issue the same collectives in the same order. Throws `InputError` naming the two ranks and
 * the two operations that would meet.
 */
export function assignChannels(
  programs: readonly FlatProgram[],
  programOf: readonly number[],
  channels: Channels,
): (Channel | undefined)[][] {
  const sequences = new Map<number, Map<number, OrderedOperation[]>>();
  const assigned = programOf.map((which, rank) => {
    const flat = programs[which];
    return (flat?.operations ?? []).map((operation) => {
      const node = flat?.compiled.program.nodes[operation.node];
      if (operation.operation.body.kind !== 'collective' || !node) return undefined;
      const channel = channels.of(operation, node, rank);
      const perRank = sequences.get(channel.id) ?? new Map<number, OrderedOperation[]>();
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
  sequences: ReadonlyMap<number, readonly OrderedOperation[]> | undefined,
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

function label(operation: OrderedOperation | undefined): string {
  return operation ? `${operation.name} of node ${operation.node}` : 'nothing left';
}

function kindOf(operation: OrderedOperation | undefined): string {
  const body = operation?.operation.body;
  if (body?.kind !== 'collective') return '';
  return body.name === 'receive' ? 'send' : body.name;
}
