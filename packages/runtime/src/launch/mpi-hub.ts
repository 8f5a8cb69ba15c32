/**
 * The launcher's side of a job over MPI: admits the ranks, hears their beats, and finds out who ended the job and why.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { FrameReader } from '../comm/frames.js';
import type { PortableError } from './failure.js';
import {
  beatMilliseconds,
  isFromRank,
  sendFrame,
  type FromLauncher,
  type FromRank,
  type MpiJobDescription,
  type WatchedJob,
} from './mpi-frames.js';

export interface HubOptions<Job extends WatchedJob> {
  readonly ranks: number;
  /** Ranks that do not come: the launcher's own. */
  readonly absent?: readonly number[];
  /** An address to listen on, or the path of a socket. */
  readonly address: { readonly host: string; readonly port?: number } | { readonly path: string };
  readonly token: string;
  readonly version: string;
  readonly job: Job;
  readonly startSeconds: number;
  readonly onMessage?: (rank: number, message: unknown) => void;
  readonly onEvent: (event: HubEvent) => void;
}

/** What can decide the job. */
export type HubEvent =
  | { readonly kind: 'all returned' }
  /** `certain`: the rank itself says so. Else a sign, of which another rank may be the cause. */
  | {
      readonly kind: 'failed';
      readonly rank: number;
      readonly reason: string;
      readonly certain: boolean;
      readonly error?: PortableError;
    };

interface Peer {
  readonly socket: Socket;
  readonly host: string;
  heard: number;
}

/** Ranks come by the hundred, but each introduces itself at once. */
const mostStrangers = 256;
const introductionMilliseconds = 10_000;

export class Hub<Job extends WatchedJob = MpiJobDescription> {
  readonly results: unknown[];
  private readonly server: Server;
  private readonly peers = new Map<number, Peer>();
  private readonly sockets = new Set<Socket>();
  private readonly returned = new Set<number>();
  /** Where ranks listen, as they say so. */
  private readonly listening = new Map<number, string>();
  /** Connections that have not shown the token yet. */
  private strangers = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly began = performance.now();
  private over = false;

  constructor(private readonly options: HubOptions<Job>) {
    this.results = Array.from({ length: options.ranks });
    this.server = createServer((socket) => this.admit(socket));
  }

  /** Resolves with what ranks connect to: the path of a socket, or host:port. */
  async listen(): Promise<string> {
    const { address } = this.options;
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen('path' in address ? address : { host: address.host, port: address.port ?? 0 }, resolve);
    });
    this.timer = setInterval(() => this.watch(), beatMilliseconds);
    if ('path' in address) return address.path;
    return `${address.host}:${(this.server.address() as AddressInfo).port}`;
  }

  abort(reason: string): void {
    this.over = true;
    this.send({ kind: 'abort', reason });
  }

  close(): void {
    this.over = true;
    clearInterval(this.timer);
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  /** To one rank. */
  tell(rank: number, message: unknown): void {
    const socket = this.peers.get(rank)?.socket;
    if (socket?.writable === true) sendFrame(socket, { kind: 'told', message });
  }

  private send(frame: FromLauncher<Job>): void {
    for (const { socket } of this.peers.values()) if (socket.writable) sendFrame(socket, frame);
  }

  /** Anybody may connect; who does not show the token soon, or comes in a crowd, is sent away. */
  private admit(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.strangers >= mostStrangers) {
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    this.strangers += 1;
    let known = false;
    const introduced = (): void => {
      if (known) return;
      known = true;
      this.strangers -= 1;
      clearTimeout(patience);
    };
    const patience = setTimeout(() => socket.destroy(), introductionMilliseconds);
    socket.setNoDelay(true);
    let rank = -1;
    const reader = new FrameReader<FromRank>({
      token: this.options.token,
      isFrame: isFromRank,
      receive: (frame) => {
        introduced();
        if (frame.kind === 'hello') rank = rank < 0 && this.welcome(socket, frame) ? frame.rank : rank;
        else if (rank >= 0) this.hear(rank, frame);
      },
      refused: () => socket.destroy(),
    });
    socket.on('data', (piece) => reader.push(piece));
    socket.on('close', () => {
      introduced();
      this.sockets.delete(socket);
      if (rank < 0 || this.returned.has(rank)) return;
      this.failed(rank, 'its process ended before it returned', false);
    });
  }

  private welcome(socket: Socket, hello: Extract<FromRank, { kind: 'hello' }>): boolean {
    const { rank, size, host, version } = hello;
    const { ranks, job } = this.options;
    const refuse = (reason: string): false => {
      sendFrame(socket, { kind: 'abort', reason });
      this.failed(rank, reason, true);
      return false;
    };
    if (version !== this.options.version) {
      return refuse(
        `on host ${host} it runs Monta ${version}, the launcher runs ${this.options.version}: install the same ` +
          'version on all hosts',
      );
    }
    if (size !== ranks || !Number.isInteger(rank) || rank < 0 || rank >= ranks || !this.awaits(rank)) {
      return refuse(`host ${host} started rank ${rank} of ${size} ranks, expected one of 0..${ranks - 1}, each once`);
    }
    this.peers.set(rank, { socket, host, heard: performance.now() });
    sendFrame(socket, { kind: 'welcome', job });
    return true;
  }

  private awaits(rank: number): boolean {
    return !this.peers.has(rank) && !(this.options.absent ?? []).includes(rank);
  }

  private hear(rank: number, frame: Exclude<FromRank, { kind: 'hello' }>): void {
    const peer = this.peers.get(rank);
    if (peer !== undefined) peer.heard = performance.now();
    switch (frame.kind) {
      case 'beat':
        return;
      case 'message':
        this.options.onMessage?.(rank, frame.message);
        return;
      case 'listening':
        this.listening.set(rank, frame.address);
        this.introduceRanks();
        return;
      case 'result':
        this.results[rank] = frame.result;
        this.returned.add(rank);
        if (this.returned.size === this.expected.length) this.options.onEvent({ kind: 'all returned' });
        return;
      case 'failed': {
        // MPI's own errors are mostly about somebody else's death.
        const certain = frame.error.name !== 'JobAborted' && frame.error.name !== 'MpiError';
        if (frame.error.name !== 'JobAborted') this.failed(frame.rank, frame.error.message, certain, frame.error);
      }
    }
  }

  /** Once all listen, all are told where. */
  private introduceRanks(): void {
    if (this.listening.size < this.expected.length) return;
    const addresses = Array.from({ length: this.options.ranks }, (_, rank) => this.listening.get(rank) ?? '');
    this.send({ kind: 'peers', addresses });
  }

  private get expected(): number[] {
    const { ranks, absent = [] } = this.options;
    return Array.from({ length: ranks }, (_, rank) => rank).filter((rank) => !absent.includes(rank));
  }

  private watch(): void {
    if (this.over) return;
    this.send({ kind: 'beat' });
    const now = performance.now();
    const limit = this.options.job.lostAfterSeconds;
    const lost = [...this.peers].filter(([rank, { heard }]) => !this.returned.has(rank) && now - heard > limit * 1000);
    const [first] = lost;
    if (first !== undefined) {
      const [rank, { host }] = first;
      const others =
        lost.length > 1
          ? ` (nor have ranks ${lost
              .slice(1)
              .map(([other]) => other)
              .join(', ')})`
          : '';
      this.failed(
        rank,
        `not heard from for ${limit} s on host ${host}${others}: the host is down, cut off, or its process is stopped`,
        true,
      );
      return;
    }
    if (this.peers.size < this.expected.length && now - this.began > this.options.startSeconds * 1000) {
      const absent = this.expected.filter((rank) => !this.peers.has(rank));
      const which = absent.length === 1 ? 'it' : `ranks ${absent.join(', ')}`;
      this.failed(absent[0] ?? -1, `${which} did not start within ${this.options.startSeconds} s`, true);
    }
  }

  private failed(rank: number, reason: string, certain: boolean, error?: PortableError): void {
    if (this.over) return;
    this.options.onEvent({ kind: 'failed', rank, reason, certain, ...(error === undefined ? {} : { error }) });
  }
}
