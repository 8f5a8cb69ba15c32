/**
 * A connection between every two ranks, over which they agree on what NCCL is to run: sockets of this machine, or TCP
 * where ranks are on several hosts.
 */
import { CommunicationError } from '../communication-error.js';
import { FrameReader, frameBytes, greetingBytes } from '../frames.js';
import { Patience } from '../patience.js';
import { isMessage, type Message } from './messages.js';
import type { Meeting } from './meeting.js';
import { connectTo, type Connection } from './sockets.js';

export interface MeshOptions {
  readonly rank: number;
  readonly size: number;
  readonly meeting: Meeting;
  readonly token: string;
  /** All must have come by then. */
  readonly startSeconds: number;
  /** Throws when the job is over. */
  readonly check: () => void;
}

const bufferBytes = 1 << 16;
/** Connections that have not shown the token yet; who comes in a crowd is sent away. */
const mostStrangers = 256;

interface Peer {
  readonly connection: Connection;
  readonly reader: FrameReader<Message>;
}

export class Mesh {
  readonly #options: MeshOptions;
  readonly #peers = new Map<number, Peer>();
  readonly #buffer = Buffer.alloc(bufferBytes);
  /** Ranks whose connection has ended. */
  readonly closed = new Set<number>();
  #receive: (from: number, message: Message) => void = () => undefined;

  /** Waits for all ranks. `receive` gets what they say. */
  constructor(options: MeshOptions, receive: (from: number, message: Message) => void) {
    this.#options = options;
    this.#receive = receive;
    this.#connect();
  }

  send(to: number, message: Message): void {
    this.#peers.get(to)?.connection.send(frameBytes(message));
  }

  /** Takes what has come and sends what had no room. True when something came. */
  poll(): boolean {
    let happened = false;
    for (const [rank, { connection, reader }] of this.#peers) {
      if (this.closed.has(rank)) continue;
      connection.flush();
      for (;;) {
        const piece = connection.receive(this.#buffer);
        if (piece === undefined) break;
        happened = true;
        if (piece === 'closed') {
          this.closed.add(rank);
          break;
        }
        reader.push(piece);
        if (piece.length < bufferBytes) break;
      }
    }
    return happened;
  }

  /** Whether everything said has been sent. */
  get quiet(): boolean {
    return [...this.#peers.values()].every(({ connection }) => connection.flush());
  }

  close(): void {
    for (const { connection } of this.#peers.values()) connection.close();
    this.#peers.clear();
  }

  /** Connects to the ranks before this one, and is called by those after it. */
  #connect(): void {
    const { rank, size, meeting, token, check, startSeconds } = this.#options;
    const { listener, addresses } = meeting;
    const patience = new Patience(size);
    const wanted = new Set(Array.from({ length: rank }, (_, other) => other));
    const end = performance.now() + startSeconds * 1e3;
    try {
      while (this.#peers.size < size - 1) {
        check();
        for (const other of wanted) {
          const connection = connectTo(addresses[other] ?? '');
          if (connection === undefined) continue;
          wanted.delete(other);
          connection.send(Buffer.concat([greetingBytes(token), frameBytes({ kind: 'hello', rank })]));
          this.#add(other, connection, undefined);
        }
        for (let one = listener.accept(); one !== undefined; one = listener.accept())
          if (this.#unknown.size < mostStrangers) this.#introduce(one);
          else one.close();
        this.#hearStrangers();
        this.poll();
        if (performance.now() > end) this.#givenUp(startSeconds);
        patience.idle();
      }
    } finally {
      listener.close();
      for (const connection of this.#unknown.keys()) connection.close();
      this.#unknown.clear();
    }
  }

  #givenUp(seconds: number): never {
    const { rank, size } = this.#options;
    const absent = Array.from({ length: size }, (_, other) => other).filter(
      (other) => other !== rank && !this.#peers.has(other),
    );
    throw new CommunicationError(
      absent[0] ?? rank,
      `${absent.length === 1 ? 'rank' : 'ranks'} ${absent.join(', ')} did not connect to rank ${rank} within ` +
        `${seconds} s`,
    );
  }

  readonly #unknown = new Map<Connection, FrameReader<Message>>();

  /** Somebody says who they are, after the token. */
  #introduce(connection: Connection): void {
    let from: number | undefined;
    const reader = new FrameReader<Message>({
      token: this.#options.token,
      isFrame: isMessage,
      receive: (message) => {
        if (from !== undefined) this.#receive(from, message);
        else if (message.kind === 'hello' && this.#unknown.has(connection) && this.#isAwaited(message.rank)) {
          from = message.rank;
          this.#unknown.delete(connection);
          this.#add(from, connection, reader);
        } else this.#sendAway(connection);
      },
      refused: () => this.#sendAway(connection),
    });
    this.#unknown.set(connection, reader);
  }

  /** Ranks after this one call it, each once. */
  #isAwaited(rank: number): boolean {
    return Number.isInteger(rank) && rank > this.#options.rank && rank < this.#options.size && !this.#peers.has(rank);
  }

  /** It may be asked no more: its reader is gone with it. */
  #sendAway(connection: Connection): void {
    if (this.#unknown.delete(connection)) connection.close();
  }

  #hearStrangers(): void {
    for (const [connection, reader] of this.#unknown) {
      const piece = connection.receive(this.#buffer);
      if (piece === 'closed') this.#sendAway(connection);
      else if (piece !== undefined) reader.push(piece);
    }
  }

  #add(rank: number, connection: Connection, reader: FrameReader<Message> | undefined): void {
    const own = new FrameReader<Message>({
      isFrame: isMessage,
      receive: (message) => this.#receive(rank, message),
      refused: () => this.closed.add(rank),
    });
    this.#peers.set(rank, { connection, reader: reader ?? own });
  }
}
