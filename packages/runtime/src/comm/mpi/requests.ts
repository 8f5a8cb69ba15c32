/** MPI requests under way: one array for MPI_Testsome, and beside it what keeps each buffer alive and whom to tell. */
import { at } from '../at.js';
import { statusErrorInt, statusInts, type Handle, type Mpi } from './ffi.js';

/** Told when a request is done; `error` is an MPI code, 0 when all went well. */
export type Completion = (error: number) => void;

interface InFlight {
  /** MPI reads or writes it until the request is done: this reference keeps it from being collected. */
  readonly buffer: Uint8Array;
  readonly completed: Completion;
}

/** Counts of MPI calls are ints: longer buffers go in pieces. */
const pieceBytes = 2 ** 30;
const firstCapacity = 64;

export class Requests {
  private handles = new BigUint64Array(0);
  /** Each handle alone, into which MPI writes a new request. */
  private cells: BigUint64Array[] = [];
  private places = new Int32Array(0);
  private statuses = new Int32Array(0);
  private readonly inFlight: (InFlight | undefined)[] = [];
  private readonly free: number[] = [];

  constructor(
    private readonly mpi: Mpi,
    private readonly communicator: Handle,
  ) {
    this.grow(firstCapacity);
  }

  /** Number of MPI messages that `bytes` take. */
  static pieces(bytes: number): number {
    return Math.ceil(bytes / pieceBytes);
  }

  /** `completed` is called once for every piece. */
  send(buffer: Uint8Array, peer: number, tag: number, completed: Completion): void {
    for (const piece of cut(buffer)) {
      const slot = this.take(piece, completed);
      this.mpi.send({ buffer: piece, peer, tag, communicator: this.communicator }, at(this.cells, slot));
    }
  }

  /** `completed` is called once for every piece. Returns the slot of the last, for `cancel`. */
  receive(buffer: Uint8Array, peer: number, tag: number, completed: Completion): number {
    let slot = -1;
    for (const piece of cut(buffer)) {
      slot = this.take(piece, completed);
      this.mpi.receive({ buffer: piece, peer, tag, communicator: this.communicator }, at(this.cells, slot));
    }
    return slot;
  }

  cancel(slot: number): void {
    this.mpi.cancel(at(this.cells, slot));
    this.release(slot);
  }

  /** Lets MPI work; true when any request was done. */
  poll(): boolean {
    const { done, failed } = this.mpi.testSome(this.inFlight.length, this.handles, this.places, this.statuses);
    if (done === 0) return false;
    // Completions post new requests, which may take the slots and the arrays.
    const finished: (InFlight | undefined)[] = [];
    const errors: number[] = [];
    for (let index = 0; index < done; index++) {
      const slot = at(this.places, index);
      finished.push(at(this.inFlight, slot));
      errors.push(failed ? at(this.statuses, index * statusInts + statusErrorInt) : 0);
      this.release(slot);
    }
    finished.forEach((entry, index) => entry?.completed(at(errors, index)));
    return true;
  }

  private take(buffer: Uint8Array, completed: Completion): number {
    const slot = this.free.pop() ?? this.inFlight.length;
    if (slot >= this.handles.length) this.grow(2 * this.handles.length);
    this.inFlight[slot] = { buffer, completed };
    return slot;
  }

  private release(slot: number): void {
    this.inFlight[slot] = undefined;
    this.free.push(slot);
  }

  private grow(capacity: number): void {
    const handles = new BigUint64Array(capacity).fill(this.mpi.nullRequest);
    handles.set(this.handles);
    this.handles = handles;
    this.cells = Array.from(handles, (_, slot) => handles.subarray(slot, slot + 1));
    this.places = new Int32Array(capacity);
    this.statuses = new Int32Array(capacity * statusInts);
  }
}

function cut(buffer: Uint8Array): Uint8Array[] {
  if (buffer.length <= pieceBytes) return buffer.length === 0 ? [] : [buffer];
  return Array.from({ length: Requests.pieces(buffer.length) }, (_, index) =>
    buffer.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  );
}
