/** Transfer records on their way from the mover to a rank's thread. */
import { RingReader, RingWriter, type WordRing } from './ring.js';

export interface RawRecord {
  readonly event: number;
  readonly issued: number;
  readonly ready: number;
  readonly end: number;
  readonly bytes: number;
}

/** The mover's side: keeps what does not fit until the rank has taken some, so none is lost. */
export class RecordWriter {
  private readonly ring: RingWriter;
  private readonly backlog: Int32Array[] = [];

  constructor(ring: WordRing) {
    this.ring = new RingWriter(ring);
  }

  write(record: RawRecord): void {
    const fields = Float64Array.of(record.event, record.issued, record.ready, record.end, record.bytes);
    this.backlog.push(new Int32Array(fields.buffer));
    this.flush();
  }

  /** Call now and then while the backlog is not empty. */
  flush(): void {
    let written = 0;
    for (const message of this.backlog) {
      if (!this.ring.write(message)) break;
      written += 1;
    }
    this.backlog.splice(0, written);
  }
}

/** The rank's side. */
export class RecordReader {
  private readonly ring: RingReader;

  constructor(ring: WordRing) {
    this.ring = new RingReader(ring);
  }

  *read(): Generator<RawRecord> {
    for (;;) {
      const message = this.ring.read();
      if (message === undefined) return;
      const [event = 0, issued = 0, ready = 0, end = 0, bytes = 0] = new Float64Array(message.buffer, 0, 5);
      yield { event, issued, ready, end, bytes };
    }
  }
}
