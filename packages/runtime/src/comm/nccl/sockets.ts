/**
 * Sockets of this machine that work without an event loop: a rank's thread sends and asks while it waits for its card,
 * and never returns to Node meanwhile. Calls of the C library, none of which blocks.
 */
import koffi from 'koffi';

const numbers = {
  unixFamily: 1,
  /** SOCK_STREAM, non-blocking, closed in child processes. */
  streamSocket: 1 | 0x800 | 0x80000,
  nonBlocking: 0x800 | 0x80000,
  /** MSG_DONTWAIT and MSG_NOSIGNAL. */
  quietly: 0x40 | 0x4000,
  backlog: 1024,
  /** Bytes of sockaddr_un's path. */
  pathBytes: 108,
} as const;

type Native = (...values: readonly unknown[]) => number;
let functions: Readonly<
  Record<'socket' | 'bind' | 'listen' | 'accept' | 'connect' | 'send' | 'recv' | 'close', Native>
>;

function libc(): typeof functions {
  if (functions === undefined) {
    const library = koffi.load(null);
    const bind = (declaration: string): Native => library.func(declaration) as Native;
    functions = {
      socket: bind('int socket(int, int, int)'),
      bind: bind('int bind(int, const void *, unsigned int)'),
      listen: bind('int listen(int, int)'),
      accept: bind('int accept4(int, void *, void *, int)'),
      connect: bind('int connect(int, const void *, unsigned int)'),
      send: bind('int64_t send(int, const void *, size_t, int)'),
      recv: bind('int64_t recv(int, void *, size_t, int)'),
      close: bind('int close(int)'),
    };
  }
  return functions;
}

/** Nothing to do at present, as errno says it. */
const again = (): boolean => {
  const code = koffi.errno();
  return code === koffi.os.errno.EAGAIN || code === koffi.os.errno.EINTR;
};

const failure = (what: string): Error => new Error(`${what}: errno ${koffi.errno()}`);

function addressOf(path: string): Buffer {
  const text = Buffer.from(path);
  if (text.length >= numbers.pathBytes)
    throw new RangeError(
      `the path of a socket has ${text.length} bytes, at most ${numbers.pathBytes - 1} are possible: ${path}`,
    );
  const address = Buffer.alloc(2 + numbers.pathBytes);
  address.writeUInt16LE(numbers.unixFamily);
  address.set(text, 2);
  return address;
}

/** One end of a connection. */
export class Connection {
  #waiting: Buffer[] = [];

  constructor(private readonly descriptor: number) {}

  /** Sends when there is room, in order; `flush` sends what is left. */
  send(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.flush();
  }

  /** True when nothing is left to send. A connection that the other side closed takes everything. */
  flush(): boolean {
    for (let first = this.#waiting.at(0); first !== undefined; first = this.#waiting.at(0)) {
      const sent = libc().send(this.descriptor, first, first.length, numbers.quietly);
      if (sent < 0 && again()) return false;
      if (sent < 0 || sent === first.length) this.#waiting.shift();
      else this.#waiting[0] = first.subarray(sent);
    }
    return true;
  }

  /** What has come, undefined when nothing has; 'closed' when nothing more can come. */
  receive(into: Buffer): Buffer | 'closed' | undefined {
    const length = libc().recv(this.descriptor, into, into.length, numbers.quietly);
    if (length > 0) return Buffer.from(into.subarray(0, length));
    return length < 0 && again() ? undefined : 'closed';
  }

  close(): void {
    libc().close(this.descriptor);
  }
}

/** Connects to a listener; undefined when none is there yet. */
export function connectTo(path: string): Connection | undefined {
  const descriptor = libc().socket(numbers.unixFamily, numbers.streamSocket, 0);
  if (descriptor < 0) throw failure('socket');
  const address = addressOf(path);
  if (libc().connect(descriptor, address, address.length) === 0) return new Connection(descriptor);
  libc().close(descriptor);
  return undefined;
}

export class Listener {
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = libc().socket(numbers.unixFamily, numbers.streamSocket, 0);
    if (this.#descriptor < 0) throw failure('socket');
    const address = addressOf(path);
    if (libc().bind(this.#descriptor, address, address.length) !== 0) throw failure(`bind ${path}`);
    if (libc().listen(this.#descriptor, numbers.backlog) !== 0) throw failure(`listen ${path}`);
  }

  /** Somebody who has connected, if anybody has. */
  accept(): Connection | undefined {
    const descriptor = libc().accept(this.#descriptor, null, null, numbers.nonBlocking);
    if (descriptor >= 0) return new Connection(descriptor);
    if (again()) return undefined;
    throw failure('accept4');
  }

  close(): void {
    libc().close(this.#descriptor);
  }
}
