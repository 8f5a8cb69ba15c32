/**
 * What ranks and their launcher say to each other over a socket: structured clones with a length before them. Nothing is decoded before
 * the other side has shown the job's token.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { deserialize, serialize } from 'node:v8';
import type { PortableError } from './failure.js';

/** The job, as every rank gets it. */
export interface MpiJobDescription {
  readonly workerModule: string;
  readonly data: unknown;
  readonly memoryBytes: number;
  readonly maximumMemoryBytes: number | undefined;
  readonly trace: boolean;
  readonly stuckAfterSeconds: number | undefined;
  readonly lostAfterSeconds: number;
}

export type FromRank =
  | {
      readonly kind: 'hello';
      readonly rank: number;
      readonly size: number;
      readonly host: string;
      readonly pid: number;
      readonly version: string;
    }
  | { readonly kind: 'beat' }
  | { readonly kind: 'message'; readonly message: unknown }
  | { readonly kind: 'result'; readonly result: unknown }
  /** `rank`: who caused it, where the rank knows. */
  | { readonly kind: 'failed'; readonly rank: number; readonly error: PortableError };

export type FromLauncher =
  | { readonly kind: 'welcome'; readonly job: MpiJobDescription }
  | { readonly kind: 'beat' }
  | { readonly kind: 'abort'; readonly reason: string };

/** Environment of a rank: where its launcher listens, and the token (on no command line, where other users could read it). */
export const launcherVariable = 'MONTA_MPI_LAUNCHER';
export const tokenVariable = 'MONTA_MPI_TOKEN';

export const beatMilliseconds = 1000;
const tokenBytes = 32;
const greeting = Buffer.from('monta-1 ');
const lengthBytes = 4;
const largestFrameBytes = 2 ** 30;

export function makeToken(): string {
  return randomBytes(tokenBytes).toString('hex');
}

/** The first thing a rank sends. */
export function sendToken(socket: Socket, token: string): void {
  socket.write(Buffer.concat([greeting, Buffer.from(token)]));
}

export function sendFrame(socket: Socket, frame: FromRank | FromLauncher, sent?: () => void): void {
  const body = serialize(frame);
  if (body.length > largestFrameBytes) throw new RangeError(`a message of ${body.length} bytes is too long to send`);
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32LE(body.length);
  socket.write(Buffer.concat([length, body]), sent);
}

const hasKind = (value: unknown): value is { readonly kind: string } =>
  typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string';

const areText = (...values: unknown[]): boolean => values.every((value) => typeof value === 'string');

/** Whether a decoded value is something that a rank says. */
export function isFromRank(value: unknown): value is FromRank {
  if (!hasKind(value)) return false;
  const frame = value as Readonly<Record<string, unknown>>;
  switch (value.kind) {
    case 'hello':
      return areText(frame['host'], frame['version']) && [frame['rank'], frame['size']].every(Number.isSafeInteger);
    case 'failed': {
      const error = frame['error'] as Partial<PortableError> | null | undefined;
      return Number.isSafeInteger(frame['rank']) && areText(error?.name, error?.message, error?.stack);
    }
    default:
      return ['beat', 'message', 'result'].includes(value.kind);
  }
}

/** Whether a decoded value is something that a launcher says. */
export const isFromLauncher = (value: unknown): value is FromLauncher =>
  hasKind(value) && ['welcome', 'beat', 'abort'].includes(value.kind);

export interface FrameReading<Frame> {
  /** The greeting with it must come first. */
  readonly token?: string;
  readonly isFrame: (value: unknown) => value is Frame;
  readonly receive: (frame: Frame) => void;
  /** Called once when something else comes than should; nothing is read after it. */
  readonly refused: (reason: string) => void;
}

/** Puts bytes together to frames. */
export class FrameReader<Frame> {
  private pieces: Buffer[] = [];
  private bytes = 0;
  private greeted: boolean;
  private broken = false;

  constructor(private readonly reading: FrameReading<Frame>) {
    this.greeted = reading.token === undefined;
  }

  push(piece: Buffer): void {
    if (this.broken) return;
    this.pieces.push(piece);
    this.bytes += piece.length;
    if (!this.greeted && !this.greet()) return;
    for (;;) {
      if (this.bytes < lengthBytes) return;
      const buffer = this.joined();
      const length = buffer.readUInt32LE(0);
      if (length > largestFrameBytes) {
        this.refuse(`a message of ${length} bytes`);
        return;
      }
      if (this.bytes < lengthBytes + length) return;
      this.keep(buffer.subarray(lengthBytes + length));
      const frame = this.decode(buffer.subarray(lengthBytes, lengthBytes + length));
      if (frame === undefined) return;
      this.reading.receive(frame);
    }
  }

  private decode(body: Buffer): Frame | undefined {
    let value: unknown;
    try {
      value = deserialize(body);
    } catch {
      value = undefined;
    }
    if (this.reading.isFrame(value)) return value;
    this.refuse('a message that is none');
    return undefined;
  }

  private greet(): boolean {
    const expected = Buffer.concat([greeting, Buffer.from(this.reading.token ?? '')]);
    const given = this.joined();
    const compared = Math.min(given.length, expected.length);
    if (!timingSafeEqual(given.subarray(0, compared), expected.subarray(0, compared))) {
      this.refuse("it did not show the job's token");
      return false;
    }
    if (compared < expected.length) return false;
    this.keep(given.subarray(expected.length));
    this.greeted = true;
    return true;
  }

  private joined(): Buffer {
    const [first] = this.pieces;
    if (first !== undefined && this.pieces.length === 1) return first;
    const joined = Buffer.concat(this.pieces);
    this.pieces = [joined];
    return joined;
  }

  private keep(rest: Buffer): void {
    this.pieces = [rest];
    this.bytes = rest.length;
  }

  private refuse(reason: string): void {
    this.broken = true;
    this.pieces = [];
    this.reading.refused(reason);
  }
}
