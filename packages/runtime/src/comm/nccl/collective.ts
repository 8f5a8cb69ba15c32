/** Operations as calls of NCCL: what only moves goes as bytes, sums and maxima as numbers. */
import { elementBytes, type ElementType, type View } from '../../device/view.js';
import type { Address } from '../../device/cuda/bindings/index.js';
import { at } from '../at.js';
import { starts } from '../blocks.js';
import { bytesOf, type Extent, type Operation } from '../operation.js';
import { nccl, type NcclLibrary } from './bindings.js';

/** Where an operation runs. */
export interface Channel {
  readonly library: NcclLibrary;
  readonly communicator: Address;
  readonly stream: Address;
  /** This rank's place, and the number of members. */
  readonly place: number;
  readonly size: number;
  /** Four bytes for a barrier. */
  readonly scratch: View;
}

const { u8 } = nccl.types;
/** The first version with an all_to_all of its own. */
const allToAllVersion = 22800;

/** Hands an operation to NCCL, in one group of calls. It is on the stream once the communicator has settled. */
export function enqueue(channel: Channel, operation: Operation): void {
  const { library } = channel;
  library.ncclGroupStart();
  calls[operation.kind](channel, operation);
  library.ncclGroupEnd();
}

type Enqueue = (channel: Channel, operation: Operation) => void;

const calls: { readonly [Kind in Operation['kind']]: Enqueue } = {
  all_to_all: (channel, operation) => {
    const { library, communicator, stream } = channel;
    const { send, receive, counts, receiveCounts, type } = operation;
    const first = at(counts, 0);
    const equal = [...counts, ...receiveCounts].every((count) => count === first);
    if (equal && first > 0 && library.version() >= allToAllVersion)
      library.ncclAlltoAll(send.byteOffset, receive.byteOffset, bytesOf(type, first), u8, communicator, stream);
    else exchange(channel, blocksOf(operation, send, counts), blocksOf(operation, receive, receiveCounts));
  },
  all_gather: (channel, operation) => {
    const { library, communicator, stream, place, size } = channel;
    const { send, receive, counts, type } = operation;
    const own = at(counts, place);
    const mine: Block = { address: send.byteOffset, bytes: bytesOf(type, own) };
    if (counts.every((count) => count === own))
      library.ncclAllGather(mine.address, receive.byteOffset, mine.bytes, u8, communicator, stream);
    else
      exchange(
        channel,
        Array.from({ length: size }, () => mine),
        blocksOf(operation, receive, counts),
      );
  },
  reduce_scatter: (channel, operation) => {
    const { library, communicator, stream, place } = channel;
    const { send, receive, counts, type, reduction } = operation;
    const own = at(counts, place);
    const [kind, how] = [numbersOf(operation), nccl.reductions[reduction]];
    if (counts.every((count) => count === own)) {
      library.ncclReduceScatter(send.byteOffset, receive.byteOffset, own, kind, how, communicator, stream);
      return;
    }
    for (const [member, { address, bytes }] of blocksOf(operation, send, counts).entries())
      if (bytes > 0)
        library.ncclReduce(
          address,
          receive.byteOffset,
          bytes / elementBytes[type],
          kind,
          how,
          member,
          communicator,
          stream,
        );
  },
  all_reduce: ({ library, communicator, stream }, operation) => {
    const { send, reduction } = operation;
    const [kind, how] = [numbersOf(operation), nccl.reductions[reduction]];
    if (send.length > 0)
      library.ncclAllReduce(send.byteOffset, send.byteOffset, send.length, kind, how, communicator, stream);
  },
  broadcast: ({ library, communicator, stream }, { send, type, peer }) => {
    const bytes = bytesOf(type, send.length);
    if (bytes > 0) library.ncclBroadcast(send.byteOffset, send.byteOffset, bytes, u8, peer, communicator, stream);
  },
  // A message has a channel of its own, of sender and receiver.
  send: (channel, { send, type }) => point(channel, 'ncclSend', send, type),
  receive: (channel, { receive, type }) => point(channel, 'ncclRecv', receive, type),
  barrier: ({ library, communicator, stream, scratch }) => {
    const { byteOffset } = scratch;
    library.ncclAllReduce(byteOffset, byteOffset, 1, nccl.types.i32, nccl.reductions.max, communicator, stream);
  },
};

interface Block {
  readonly address: Address;
  readonly bytes: number;
}

function blocksOf({ type }: Operation, { byteOffset }: Extent, counts: Int32Array): Block[] {
  const first = starts(counts);
  return Array.from(counts, (count, member) => ({
    address: byteOffset + bytesOf(type, at(first, member)),
    bytes: bytesOf(type, count),
  }));
}

/** Block j goes to member j, and comes from it. */
function exchange({ library, communicator, stream }: Channel, send: readonly Block[], receive: readonly Block[]): void {
  for (const [member, { address, bytes }] of send.entries())
    if (bytes > 0) library.ncclSend(address, bytes, u8, member, communicator, stream);
  for (const [member, { address, bytes }] of receive.entries())
    if (bytes > 0) library.ncclRecv(address, bytes, u8, member, communicator, stream);
}

function point(
  { library, communicator, stream, place, size }: Channel,
  call: 'ncclSend' | 'ncclRecv',
  extent: Extent,
  type: Operation['type'],
): void {
  const peer = size - 1 - place;
  if (extent.length > 0) library[call](extent.byteOffset, bytesOf(type, extent.length), u8, peer, communicator, stream);
}

/** Of what NCCL takes sums and maxima; those of bf16 and f16 are rounded after every addition. */
export const numberTypes = ['f32', 'i32', 'bf16', 'f16'] as const satisfies readonly ElementType[];

function numbersOf({ type, kind }: Operation): number {
  const known = numberTypes.find((one) => one === type);
  if (known === undefined) throw new RangeError(`${kind} of ${type}`);
  return nccl.types[known];
}
