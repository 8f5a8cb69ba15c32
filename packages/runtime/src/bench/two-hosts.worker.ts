/** A rank of the two-host bench: what the line gives, and the exchanges of a dispatch half between and inside hosts. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { groupMembers, sliceIndex, type Layout } from '@monta/core/layout';
import type { Endpoint } from '../comm/communicator.js';
import type { Device } from '../device/device.js';
import { readInts } from '../device/host-array.js';
import { runRank } from '../launch/rank.js';
import { prepareExchange, replicaPerHost } from './exchange.js';
import type { Exchange, ExchangeRun, TwoHostsJob, TwoHostsRankResult } from './two-hosts-types.js';

const ceilingRounds = 6;
const warmUpBytes = 1 << 18;
const warmUpRounds = 12;

const range = (size: number): number[] => Array.from({ length: size }, (_, index) => index);

runRank<TwoHostsJob>(async ({ size, endpoint, device, data: job }): Promise<TwoHostsRankResult> => {
  const world = endpoint.communicator('world', range(size), device.queue('control'));
  const barrier = (): void => device.wait(world.barrier());
  const layout = replicaPerHost(size);
  barrier();
  // The best of a few: what disturbs them says nothing about the line.
  let [tcp, mpi] = [0, 0];
  for (let round = 0; round < ceilingRounds; round++) {
    tcp = Math.max(tcp, await tcpCeiling(endpoint, device, job, layout));
    barrier();
    mpi = Math.max(mpi, mpiCeiling({ endpoint, device, job, layout, barrier }));
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
async function tcpCeiling(endpoint: Endpoint, device: Device, job: TwoHostsJob, layout: Layout): Promise<number> {
  if (sliceIndex(layout, endpoint.rank) !== 0) return 0;
  const pair = endpoint.communicator('first of hosts', groupMembers(layout, 'dp', 0), device.queue('control'));
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
  layout,
  barrier,
}: {
  readonly endpoint: Endpoint;
  readonly device: Device;
  readonly job: TwoHostsJob;
  readonly layout: Layout;
  readonly barrier: () => void;
}): number {
  let rate = 0;
  if (sliceIndex(layout, endpoint.rank) === 0) {
    const pair = endpoint.communicator('first of hosts', groupMembers(layout, 'dp', 0), device.queue('inter'));
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

/** Runs an exchange a few times in a row. */
function runExchange({
  endpoint,
  device,
  exchange,
  repetitions,
  barrier,
}: {
  readonly endpoint: Endpoint;
  readonly device: Device;
  readonly exchange: Exchange;
  readonly repetitions: number;
  readonly barrier: () => void;
}): ExchangeRun {
  const prepared = prepareExchange(endpoint, device, exchange);
  const times = range(repetitions).map(() => prepared.run(barrier));
  const wrong = prepared.wrong();
  prepared.close();
  return { times, wrong };
}
