/**
 * Messages over a stream of bytes: structured clones with a length before them. Nothing is decoded before the other
 * side has shown the job's token.
 */
import { timingSafeEqual } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';

const greeting = Buffer.from('monta-1 ');
const lengthBytes = 4;
const largestFrameBytes = 2 ** 30;

/** What shows that one belongs to the job: the first bytes of a connection. */
export function greetingBytes(token: string): Buffer {
  return Buffer.concat([greeting, Buffer.from(token)]);
}

/** A message as it travels. Throws `RangeError` when it is too long. */
export function frameBytes(message: unknown): Buffer {
  const body = serialize(message);
  if (body.length > largestFrameBytes) throw new RangeError(`a message of ${body.length} bytes is too long to send`);
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
}

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
    const expected = greetingBytes(this.reading.token ?? '');
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
