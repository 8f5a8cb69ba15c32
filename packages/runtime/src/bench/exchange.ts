/**
 * The exchange of a dispatch half without its kernels, on the ranks of two hosts or nodes: the AllToAll between them
 * and the AllGather inside, in chunks on two lanes, or one of the two alone.
 */
import { coordinates, groupMembers, resolveLayout, type Layout } from '@monta/core/layout';
import type { Endpoint } from '../comm/communicator.js';
import type { Device, DeviceEvent } from '../device/device.js';
import { readFloats } from '../device/host-array.js';
import { part, type View } from '../device/view.js';
import type { Exchange } from './two-hosts-types.js';

/** An element tells its sender's host and its place among the replica's rows; exact in float32. */
const value = (from: number, index: number): number => (from + 1) * 2 ** 23 - 1 - (index % 2 ** 22);

const range = (size: number): number[] => Array.from({ length: size }, (_, index) => index);

/** Ranks of two hosts: a replica on each. */
export const replicaPerHost = (ranks: number): Layout => resolveLayout({ tp: ranks / 2, dp: 2, ep: 2 }, ranks);

export interface ExchangeTime {
  readonly start: number;
  readonly end: number;
}

/** An exchange on this rank, ready to run again and again. */
export interface PreparedExchange {
  /** Runs it behind `barrier`; seconds on the clock that all ranks share. */
  run(barrier: () => void): ExchangeTime;
  /** Elements that hold another value than the last run should have left. */
  wrong(): number;
  close(): void;
}

/**
 * Each rank holds its replica's rows, half of which belong to the other replica's experts. `duplicated` exchanges all
 * rows with the rank's partner on the other host; else each rank exchanges its slice, and slices are gathered inside
 * the host, in `chunks` pieces on two lanes; or one of the two alone.
 */
export function prepareExchange(
  endpoint: Endpoint,
  device: Device,
  { strategy, bytes, chunks }: Exchange,
): PreparedExchange {
  const { rank, size } = endpoint;
  const layout = replicaPerHost(size);
  const { tp } = layout;
  const { tp: place, dp: host } = coordinates(layout, rank);
  const between = endpoint.communicator('between hosts', groupMembers(layout, 'dp', rank), device.queue('inter'));
  const inside = endpoint.communicator('inside host', groupMembers(layout, 'tp', rank), device.queue('intra'));
  const elements = bytes / 4;
  const views = [device.allocate('f32', elements), device.allocate('f32', elements), device.allocate('f32', elements)];
  const [send, exchanged, gathered] = views;
  const slice = elements / tp;
  const piece = slice / chunks;
  const first = strategy === 'duplicated' ? 0 : place * slice;
  const values = new Float32Array(elements);
  for (let index = 0; index < elements; index++) values[index] = value(host, first + index);
  device.write(send, values);
  const arrived = (chunk: number): View => part(exchanged, chunk * piece, piece);
  const exchange = (chunk: number): DeviceEvent =>
    between.allToAll(part(send, chunk * piece, piece), arrived(chunk), { label: `exchange ${chunk}` });
  const gather = (chunk: number, after: readonly DeviceEvent[]): DeviceEvent =>
    inside.allGather(arrived(chunk), part(gathered, chunk * piece * tp, piece * tp), {
      after,
      label: `gather ${chunk}`,
    });
  const pieces = range(chunks);
  const submit: Record<Exchange['strategy'], () => DeviceEvent[]> = {
    duplicated: () => [between.allToAll(send, exchanged)],
    sliced: () => pieces.map((chunk) => gather(chunk, [exchange(chunk)])),
    all_to_all: () => pieces.map(exchange),
    all_gather: () => pieces.map((chunk) => gather(chunk, [])),
  };
  const waitFor = (events: readonly DeviceEvent[]): void => {
    for (const event of events) device.wait(event);
  };
  return {
    run: (barrier) => {
      device.fill(exchanged, 0);
      device.fill(gathered, 0);
      if (strategy === 'all_gather') waitFor(submit.all_to_all());
      barrier();
      const start = endpoint.now();
      waitFor(submit[strategy]());
      return { start, end: endpoint.now() };
    },
    wrong: () => wrongElements({ device, exchanged, gathered }, { strategy, host, first, elements, slice, chunks }),
    close: () => {
      for (const view of views) device.free(view);
    },
  };
}

/** Which rows a rank has sent, and to where. */
interface Sent {
  readonly strategy: Exchange['strategy'];
  readonly host: number;
  /** Of its replica's elements, the first that this rank sends. */
  readonly first: number;
  readonly elements: number;
  /** Elements of a rank of the replica. */
  readonly slice: number;
  readonly chunks: number;
}

/** Elements that are not what their sender put there. */
function wrongElements(
  { device, exchanged, gathered }: { readonly device: Device; readonly exchanged: View; readonly gathered: View },
  { strategy, host, first, elements, slice, chunks }: Sent,
): number {
  const piece = slice / chunks;
  /** Element `index` of what an exchange over `length` elements from `start` of the sender's rows brings. */
  const brought = (start: number, length: number, index: number): number => {
    const from = index < length / 2 ? 0 : 1;
    return value(from, start + host * (length / 2) + (index % (length / 2)));
  };
  const differing = (view: View, expected: (index: number) => number): number => {
    const got = readFloats(device, view);
    let wrong = 0;
    for (let index = 0; index < got.length; index++) if (got[index] !== expected(index)) wrong += 1;
    return wrong;
  };
  if (strategy === 'duplicated') return differing(exchanged, (index) => brought(0, elements, index));
  if (strategy === 'all_to_all') {
    const arrived = (chunk: number): View => part(exchanged, chunk * piece, piece);
    const wrong = (chunk: number): number =>
      differing(arrived(chunk), (index) => brought(first + chunk * piece, piece, index));
    return range(chunks).reduce((sum, chunk) => sum + wrong(chunk), 0);
  }
  const across = elements / chunks;
  return differing(gathered, (index) => {
    const chunk = Math.floor(index / across);
    const within = index % across;
    const start = Math.floor(within / piece) * slice + chunk * piece;
    return brought(start, piece, within % piece);
  });
}
