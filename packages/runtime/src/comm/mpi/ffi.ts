/**
 * The few MPI calls that the backend needs, one to one, through koffi. Handles are pointers, which is Open MPI's binary
 * interface (MPICH's handles are integers). Nothing here keeps buffers alive: `requests.ts` does.
 */
import koffi from 'koffi';
import { InputError } from '@monta/core/units';

const defaultNames = ['libmpi.so.40', 'libmpi.so', 'libmpi.dylib'];

export const anySource = -1;
const errInStatus = 18;
const threadMultiple = 3;
/** MPI_MAX_ERROR_STRING and MPI_MAX_LIBRARY_VERSION_STRING of Open MPI. */
const textBytes = 512;

/** Open MPI's MPI_Status: source, tag, error, cancelled (int), then a size_t. */
export const statusInts = 6;
export const statusErrorInt = 2;

export type Handle = bigint;

/** An MPI call returned an error code. */
export class MpiError extends Error {
  override readonly name = 'MpiError';
  constructor(
    readonly call: string,
    readonly code: number,
    text: string,
  ) {
    super(`${call}: ${text}`);
  }
}

export interface Message {
  readonly buffer: Uint8Array;
  readonly peer: number;
  readonly tag: number;
  readonly communicator: Handle;
}

export interface Mpi {
  readonly world: Handle;
  readonly nullRequest: Handle;
  /** The library's own words, first line. */
  readonly version: string;
  initialise(): void;
  finalise(): void;
  /** Ends the job with an exit code. */
  abort(code: number): void;
  rank(communicator: Handle): number;
  size(communicator: Handle): number;
  /** A communicator of the same ranks whose messages meet no others; errors come back as codes. Collective. */
  duplicate(communicator: Handle): Handle;
  /** Writes the request into `cell`, an array of one. The buffer must stay reachable until the request is done. */
  send(message: Message, cell: BigUint64Array): void;
  receive(message: Message, cell: BigUint64Array): void;
  /**
   * Lets MPI work, and finds requests that are done among the first `count`: their places go to `places`, their
   * statuses to `statuses`. Returns how many; `failed` when some carry an error in their status.
   */
  testSome(
    count: number,
    requests: BigUint64Array,
    places: Int32Array,
    statuses: Int32Array,
  ): { readonly done: number; readonly failed: boolean };
  /** Takes back a receive that was never matched. */
  cancel(cell: BigUint64Array): void;
  errorText(code: number): string;
  /** memcpy; ranges must not overlap. */
  copy(target: Uint8Array, source: Uint8Array): void;
}

let loaded: Mpi | undefined;

/** Loads Open MPI. Throws `InputError` that says what to install when there is none. */
export function loadMpi(): Mpi {
  loaded ??= bind(open());
  return loaded;
}

/** Whether Open MPI's library can be loaded here. */
export function mpiLibraryAvailable(): boolean {
  try {
    open();
    return true;
  } catch {
    return false;
  }
}

type Library = ReturnType<typeof koffi.load>;

function open(): Library {
  const override = process.env['MONTA_MPI_LIBRARY'];
  const names = override === undefined || override === '' ? defaultNames : [override];
  const reasons: string[] = [];
  for (const name of names) {
    try {
      const library = koffi.load(name, { global: true });
      if (hasSymbol(library, 'ompi_mpi_comm_world')) return library;
      reasons.push(`${name} is not Open MPI (it has no ompi_mpi_comm_world)`);
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new InputError(
    `Open MPI could not be loaded: ${reasons.join('; ')}. Install it (Debian: openmpi-bin libopenmpi3), or name ` +
      'its library in MONTA_MPI_LIBRARY',
    override === undefined ? {} : { path: 'MONTA_MPI_LIBRARY' },
  );
}

function hasSymbol(library: Library, name: string): boolean {
  try {
    library.symbol(name);
    return true;
  } catch {
    return false;
  }
}

type Call = (...values: (number | bigint | null | NodeJS.TypedArray)[]) => number;

/** A text that MPI writes with its length. */
function text(read: (buffer: Uint8Array, length: Int32Array) => number): string {
  const buffer = new Uint8Array(2 * textBytes);
  const length = new Int32Array(1);
  read(buffer, length);
  // Open MPI counts the final zero of its version, and not that of its errors.
  const zero = buffer.indexOf(0);
  return new TextDecoder().decode(buffer.subarray(0, Math.min(length[0] ?? 0, zero < 0 ? Infinity : zero))).trim();
}

const messageParameters = '(void *buffer, int count, void *type, int peer, int tag, void *comm, void *request)';

/** MPI's functions, and memcpy of the C library on which it depends. */
function functionsOf(library: Library) {
  const declare = (definition: string): Call => library.func(definition);
  return {
    initThread: declare('int MPI_Init_thread(void *argc, void *argv, int required, void *provided)'),
    finalize: declare('int MPI_Finalize()'),
    abort: declare('int MPI_Abort(void *comm, int code)'),
    commRank: declare('int MPI_Comm_rank(void *comm, void *rank)'),
    commSize: declare('int MPI_Comm_size(void *comm, void *size)'),
    commDup: declare('int MPI_Comm_dup(void *comm, void *made)'),
    setErrhandler: declare('int MPI_Comm_set_errhandler(void *comm, void *handler)'),
    errorString: declare('int MPI_Error_string(int code, void *text, void *length)'),
    libraryVersion: declare('int MPI_Get_library_version(void *text, void *length)'),
    isend: declare(`int MPI_Isend${messageParameters}`),
    irecv: declare(`int MPI_Irecv${messageParameters}`),
    testsome: declare('int MPI_Testsome(int count, void *requests, void *done, void *places, void *statuses)'),
    cancel: declare('int MPI_Cancel(void *request)'),
    wait: declare('int MPI_Wait(void *request, void *status)'),
    memcpy: declare('void *memcpy(void *target, void *source, size_t bytes)'),
  };
}

/** Throws `MpiError` for codes other than 0, with MPI's own text. */
type Check = (call: string, code: number) => void;

/** What a rank does at the start and the end, and with communicators. */
function jobCalls(mpi: ReturnType<typeof functionsOf>, symbol: (name: string) => Handle, check: Check) {
  const world = symbol('ompi_mpi_comm_world');
  const errorsReturn = symbol('ompi_mpi_errors_return');
  const number = (call: string, read: (cell: Int32Array) => number): number => {
    const cell = new Int32Array(1);
    check(call, read(cell));
    return cell[0] ?? 0;
  };
  const returnErrors = (communicator: Handle): void =>
    check('MPI_Comm_set_errhandler', mpi.setErrhandler(communicator, errorsReturn));
  return {
    world,
    initialise: (): void => {
      const provided = number('MPI_Init_thread', (cell) => mpi.initThread(null, null, threadMultiple, cell));
      // Open MPI's TCP thread works inside the library while this thread calls it.
      if (provided < threadMultiple) throw new Error(`this Open MPI has no thread support (level ${provided} of 3)`);
      returnErrors(world);
    },
    finalise: (): void => check('MPI_Finalize', mpi.finalize()),
    abort: (code: number): void => check('MPI_Abort', mpi.abort(world, code)),
    rank: (communicator: Handle): number => number('MPI_Comm_rank', (cell) => mpi.commRank(communicator, cell)),
    size: (communicator: Handle): number => number('MPI_Comm_size', (cell) => mpi.commSize(communicator, cell)),
    duplicate: (communicator: Handle): Handle => {
      const cell = new BigUint64Array(1);
      check('MPI_Comm_dup', mpi.commDup(communicator, cell));
      const made = cell[0] ?? 0n;
      returnErrors(made);
      return made;
    },
  };
}

function bind(library: Library): Mpi {
  const mpi = functionsOf(library);
  const symbol = (name: string): Handle => BigInt(library.symbol(name) as bigint | number);
  const bytes = symbol('ompi_mpi_byte');
  const errorText = (code: number): string => text((buffer, length) => mpi.errorString(code, buffer, length));
  const check: Check = (call, code) => {
    if (code !== 0) throw new MpiError(call, code, errorText(code));
  };
  const done = new Int32Array(1);
  return {
    ...jobCalls(mpi, symbol, check),
    nullRequest: symbol('ompi_request_null'),
    version: text(mpi.libraryVersion).split('\n', 1).join(''),
    send: ({ buffer, peer, tag, communicator }, cell) =>
      check('MPI_Isend', mpi.isend(buffer, buffer.length, bytes, peer, tag, communicator, cell)),
    receive: ({ buffer, peer, tag, communicator }, cell) =>
      check('MPI_Irecv', mpi.irecv(buffer, buffer.length, bytes, peer, tag, communicator, cell)),
    testSome: (count, requests, places, statuses) => {
      const code = mpi.testsome(count, requests, done, places, statuses);
      if (code !== errInStatus) check('MPI_Testsome', code);
      // MPI_UNDEFINED, a negative number, when nothing is under way.
      return { done: Math.max(0, done[0] ?? 0), failed: code === errInStatus };
    },
    cancel: (cell) => {
      check('MPI_Cancel', mpi.cancel(cell));
      check('MPI_Wait', mpi.wait(cell, null));
    },
    errorText,
    copy: (target, source) => {
      if (source.length > 0) mpi.memcpy(target, source, source.length);
    },
  };
}
