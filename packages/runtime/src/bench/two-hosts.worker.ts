/** A rank of the two-host bench: what the line gives, and the exchanges of a dispatch half between and inside hosts. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Endpoint } from '../comm/communicator.js';
import type { Device, DeviceEvent } from '../device/device.js';
import { readFloats, readInts } from '../device/host-array.js';
import { part, type View } from '../device/view.js';
import { runRank } from '../launch/rank.js';
import type { Exchange, ExchangeRun, TwoHostsJob, TwoHostsRankResult } from './two-hosts-types.js';

const ceilingRounds = 6;
const warmUpBytes = 1 << 18;
const warmUpRounds = 12;

const range = (size: number): number[] => Array.from({ length: size }, (_, index) => index);

runRank<TwoHostsJob>(async ({ size, endpoint, device, data: job }): Promise<TwoHostsRankResult> => {
  const world = endpoint.communicator('world', range(size), device.queue('control'));
  const barrier = (): void => device.wait(world.barrier());
  const tp = size / 2;
  barrier();
  // The best of a few: what disturbs them says nothing about the line.
  let [tcp, mpi] = [0, 0];
  for (let round = 0; round < ceilingRounds; round++) {
    tcp = Math.max(tcp, await tcpCeiling(endpoint, device, job, tp));
    barrier();
    mpi = Math.max(mpi, mpiCeiling({ endpoint, device, job, tp, barrier }));
  }
  // Code that runs for the first time is compiled on the cores that all ranks share: small exchanges come first, which
  // are not looked at.
  for (const exchange of job.exchanges)
    runExchange({
      endpoint,
      device,
      exchange: { ...exchange, bytes: warmUpBytes },
      repetitions: warmUpRounds,
      barrier,
    });
  const exchanges = job.exchanges.map((exchange) =>
    runExchange({ endpoint, device, exchange, repetitions: job.repetitions, barrier }),
  );
  return { tcpBytesPerSecond: tcp, mpiBytesPerSecond: mpi, exchanges };
});

/** Bytes a second that one connection carries each way while the other way is busy too; 0 on ranks that look on. */
async function tcpCeiling(endpoint: Endpoint, device: Device, job: TwoHostsJob, tp: number): Promise<number> {
  if (endpoint.rank % tp !== 0) return 0;
  const pair = endpoint.communicator('first of hosts', [0, tp], device.queue('control'));
  const port = device.allocate('i32', 1);
  let socket: Socket;
  if (endpoint.rank === 0) {
    const server = createServer();
    server.listen(0, job.address);
    await once(server, 'listening');
    device.write(port, Int32Array.of((server.address() as AddressInfo).port));
    const accepted = once(server, 'connection');
    device.wait(pair.broadcast(port, 0));
    [socket] = (await accepted) as [Socket];
    server.close();
  } else {
    device.wait(pair.broadcast(port, 0));
    socket = connect(readInts(device, port)[0] ?? 0, job.address);
    await once(socket, 'connect');
  }
  device.free(port);
  let received = 0;
  const all = new Promise<void>((resolve) => {
    socket.on('data', (piece) => {
      received += piece.length;
      if (received >= job.ceilingBytes) resolve();
    });
  });
  const start = endpoint.now();
  const piece = Buffer.alloc(1 << 20, 1);
  for (let sent = 0; sent < job.ceilingBytes; sent += piece.length) {
    if (!socket.write(piece)) await once(socket, 'drain');
  }
  await all;
  const seconds = endpoint.now() - start;
  socket.end();
  return job.ceilingBytes / seconds;
}

/** The same through the communicator: an exchange of one pair, all others idle. */
function mpiCeiling({
  endpoint,
  device,
  job,
  tp,
  barrier,
}: {
  readonly endpoint: Endpoint;
  readonly device: Device;
  readonly job: TwoHostsJob;
  readonly tp: number;
  readonly barrier: () => void;
}): number {
  let rate = 0;
  if (endpoint.rank % tp === 0) {
    const pair = endpoint.communicator('first of hosts', [0, tp], device.queue('inter'));
    // Half of what each of the two holds crosses the line.
    const elements = (2 * job.ceilingBytes) / 4;
    const [send, receive] = [device.allocate('f32', elements), device.allocate('f32', elements)];
    device.fill(send, 1);
    device.wait(pair.allToAll(send, receive));
    const start = endpoint.now();
    device.wait(pair.allToAll(send, receive));
    rate = job.ceilingBytes / (endpoint.now() - start);
    for (const view of [send, receive]) device.free(view);
  }
  barrier();
  return rate;
}

/** An element tells its sender's host and its place among the replica's rows; exact in float32. */
const value = (from: number, index: number): number => (from + 1) * 2 ** 23 - 1 - (index % 2 ** 22);

/**
 * A dispatch half without its kernels: each rank holds its replica's rows, half of which belong to the other replica's
 * experts. `duplicated` exchanges all rows with the rank's partner on the other host; else each rank exchanges its
 * slice, and slices are gathered inside the host, in `chunks` pieces on two lanes; or one of the two alone.
 */
function runExchange({
  endpoint,
  device,
  exchange: { strategy, bytes, chunks },
  repetitions,
  barrier,
}: {
  readonly endpoint: Endpoint;
  readonly device: Device;
  readonly exchange: Exchange;
  readonly repetitions: number;
  readonly barrier: () => void;
}): ExchangeRun {
  const { rank, size } = endpoint;
  const tp = size / 2;
  const [host, place] = [Math.floor(rank / tp), rank % tp];
  const between = endpoint.communicator('between hosts', [place, place + tp], device.queue('inter'));
  const inside = endpoint.communicator(
    'inside host',
    range(tp).map((i) => host * tp + i),
    device.queue('intra'),
  );
  const elements = bytes / 4;
  const views = [device.allocate('f32', elements), device.allocate('f32', elements), device.allocate('f32', elements)];
  const [send, exchanged, gathered] = views;
  const slice = elements / tp;
  const piece = slice / chunks;
  const first = strategy === 'duplicated' ? 0 : place * slice;
  device.write(
    send,
    new Float32Array(elements).map((_, index) => value(host, first + index)),
  );
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
  const times = range(repetitions).map(() => {
    device.fill(exchanged, 0);
    device.fill(gathered, 0);
    if (strategy === 'all_gather') waitFor(submit.all_to_all());
    barrier();
    const start = endpoint.now();
    waitFor(submit[strategy]());
    return { start, end: endpoint.now() };
  });
  /** Element `index` of what an exchange over `length` elements from `start` of the sender's rows brings. */
  const brought = (start: number, length: number, index: number): number => {
    const from = index < length / 2 ? 0 : 1;
    return value(from, start + host * (length / 2) + (index % (length / 2)));
  };
  let wrong = 0;
  const expect = (view: View, expected: (index: number) => number): void =>
    readFloats(device, view).forEach((got, index) => (wrong += got === expected(index) ? 0 : 1));
  if (strategy === 'duplicated') {
    expect(exchanged, (index) => brought(0, elements, index));
  } else if (strategy === 'all_to_all') {
    for (const chunk of pieces) expect(arrived(chunk), (index) => brought(first + chunk * piece, piece, index));
  } else {
    expect(gathered, (index) => {
      const chunk = Math.floor(index / (piece * tp));
      const within = index % (piece * tp);
      const start = Math.floor(within / piece) * slice + chunk * piece;
      return brought(start, piece, within % piece);
    });
  }
  for (const view of views) device.free(view);
  return { times, wrong };
}
