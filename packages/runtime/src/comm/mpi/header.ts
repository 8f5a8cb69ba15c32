/**
 * What a rank tells each peer of an operation before its bytes: enough to find a disagreement, and when it got there. A
 * header is as long as its communicator's largest, so that receives can be posted before anything is known.
 */
import { at } from '../at.js';
import type { Operation } from '../operation.js';
import { decodeOperation, encodeOperation, fixedWords } from '../operation-words.js';
import type { Party } from '../party.js';

const labelBytes = 96;
/** issued (float64), words of the operation, bytes of the label. */
const prefixBytes = 16;
const issuedBytes = 8;

export function headerBytes(members: number): number {
  return prefixBytes + 4 * (fixedWords + Math.max(2, members)) + labelBytes;
}

/** What this rank says of an operation, written once for all peers. */
export class Header {
  private readonly own: Uint8Array;
  /** Of an exchange: where the pair's two counts stand, what is sent before what is received. */
  private readonly countsAt: number;

  constructor(
    private readonly party: Party,
    members: number,
  ) {
    this.own = new Uint8Array(headerBytes(members));
    const words = encodeOperation(shared(party.operation));
    const text = new TextEncoder().encode(party.label).subarray(0, labelBytes);
    const prefix = new DataView(this.own.buffer);
    prefix.setFloat64(0, party.issued, true);
    prefix.setInt32(8, words.length, true);
    prefix.setInt32(12, text.length, true);
    this.own.set(new Uint8Array(words.buffer), prefixBytes);
    this.own.set(text, prefixBytes + words.byteLength);
    this.countsAt = prefixBytes + words.byteLength - 8;
  }

  /**
   * As `peer` (a place) needs to know it. Peers share it unless the operation is an exchange, so it must not be written
   * to.
   */
  for(peer: number): Uint8Array {
    const { kind, counts, receiveCounts } = this.party.operation;
    if (kind !== 'all_to_all') return this.own;
    const header = this.own.slice();
    const words = new Int32Array(header.buffer, this.countsAt, 2);
    words[0] = at(counts, peer);
    words[1] = at(receiveCounts, peer);
    return header;
  }

  /** Whether a peer's header says the same, so that nothing in it needs reading. Two sides of a message never do. */
  same(theirs: Uint8Array, peer: number): boolean {
    const { kind, counts, receiveCounts } = this.party.operation;
    const exchange = kind === 'all_to_all';
    const skipped = exchange ? this.countsAt : theirs.length;
    for (let i = issuedBytes; i < theirs.length; i++)
      if (theirs[i] !== this.own[i] && (i < skipped || i >= skipped + 8)) return false;
    if (!exchange) return true;
    const words = new Int32Array(theirs.buffer, theirs.byteOffset + this.countsAt, 2);
    return words[0] === at(receiveCounts, peer) && words[1] === at(counts, peer);
  }
}

/** An operation without what is a rank's own business. Lengths stay where members have to agree on them. */
function shared(operation: Operation): Operation {
  const { kind, send, receive } = operation;
  const blocks = kind === 'all_to_all' || kind === 'all_gather' || kind === 'reduce_scatter';
  const room = new Int32Array(1);
  return {
    ...operation,
    communicator: 0,
    event: 0,
    after: [],
    send: { byteOffset: 0, length: blocks ? 0 : send.length },
    receive: { byteOffset: 0, length: blocks ? 0 : receive.length },
    counts: kind === 'all_to_all' ? room : operation.counts,
    receiveCounts: kind === 'all_to_all' ? room : operation.receiveCounts,
  };
}

/** When the sender of a header issued its side. */
export const issuedOf = (header: Uint8Array): number =>
  new DataView(header.buffer, header.byteOffset, issuedBytes).getFloat64(0, true);

/** Reads what the member at `place` (global rank `rank`) wrote for the member at place `me` of a group of `members`. */
export function readHeader({
  from,
  rank,
  place,
  me,
  members,
}: {
  readonly from: Uint8Array;
  readonly rank: number;
  readonly place: number;
  readonly me: number;
  readonly members: number;
}): Party {
  const prefix = new DataView(from.buffer, from.byteOffset, prefixBytes);
  const words = new Int32Array(prefix.getInt32(8, true));
  const end = prefixBytes + words.byteLength;
  new Uint8Array(words.buffer).set(from.subarray(prefixBytes, end));
  const label = new TextDecoder().decode(from.slice(end, end + prefix.getInt32(12, true)));
  return {
    rank,
    place,
    label,
    issued: prefix.getFloat64(0, true),
    operation: spread(decodeOperation(words), me, members),
  };
}

/** An exchange's header carries one count each way: put them where the pair looks. */
function spread(operation: Operation, me: number, members: number): Operation {
  if (operation.kind !== 'all_to_all') return operation;
  const one = (counts: Int32Array): Int32Array => {
    const all = new Int32Array(members);
    all[me] = at(counts, 0);
    return all;
  };
  return { ...operation, counts: one(operation.counts), receiveCounts: one(operation.receiveCounts) };
}
