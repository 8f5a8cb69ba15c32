/**
 * Sockets that work without an event loop: a rank's thread sends and asks while it waits for its card, and never
 * returns to Node meanwhile. Calls of the C library, none of which blocks. An address is the path of a socket of this
 * machine, or `ip:port`.
 */
import { isIP } from 'node:net';
import koffi from 'koffi';

const numbers = {
  unixFamily: 1,
  ipFamily: 2,
  ip6Family: 10,
  /** SOCK_STREAM, non-blocking, closed in child processes. */
  streamSocket: 1 | 0x800 | 0x80000,
  nonBlocking: 0x800 | 0x80000,
  /** MSG_DONTWAIT and MSG_NOSIGNAL. */
  quietly: 0x40 | 0x4000,
  backlog: 1024,
  /** Bytes of sockaddr_un's path, of sockaddr_in and of sockaddr_in6. */
  pathBytes: 108,
  ipBytes: 16,
  ip6Bytes: 28,
  /** IPPROTO_TCP and TCP_NODELAY. */
  tcp: 6,
  noDelay: 1,
} as const;

type Native = (...values: readonly unknown[]) => number;
const names = ['socket', 'bind', 'listen', 'accept', 'connect', 'send', 'recv', 'close', 'name', 'option'] as const;
let functions: Readonly<Record<(typeof names)[number], Native>> | undefined;

function libc(): Readonly<Record<(typeof names)[number], Native>> {
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
      name: bind('int getsockname(int, void *, void *)'),
      option: bind('int setsockopt(int, int, int, const void *, unsigned int)'),
    };
  }
  return functions;
}

const isError = (...codes: (number | undefined)[]): boolean => codes.includes(koffi.errno());

/** Nothing to do at present, as errno says it. */
const again = (): boolean => isError(koffi.os.errno.EAGAIN, koffi.os.errno.EINTR);

const failure = (what: string): Error => new Error(`${what}: errno ${koffi.errno()}`);

interface NativeAddress {
  readonly family: number;
  readonly bytes: Buffer;
}

function nativeAddress(address: string): NativeAddress {
  if (address.startsWith('/')) return { family: numbers.unixFamily, bytes: unixAddress(address) };
  const cut = address.lastIndexOf(':');
  const [ip, port] = [address.slice(0, cut), Number(address.slice(cut + 1))];
  const version = isIP(ip);
  if (version === 0 || !Number.isInteger(port) || port < 0 || port > 0xffff)
    throw new RangeError(`"${address}" is no path and no ip:port`);
  const bytes = Buffer.alloc(version === 4 ? numbers.ipBytes : numbers.ip6Bytes);
  const family = version === 4 ? numbers.ipFamily : numbers.ip6Family;
  bytes.writeUInt16LE(family);
  bytes.writeUInt16BE(port, 2);
  if (version === 4) bytes.set(ip.split('.').map(Number), 4);
  else bytes.set(ip6Bytes(ip), 8);
  return { family, bytes };
}

/** Sixteen bytes of an address that `isIP` takes for version 6. */
function ip6Bytes(ip: string): number[] {
  const words = (text: string): number[] =>
    text === '' ? [] : text.split(':').flatMap((word) => (word.includes('.') ? dotted(word) : [parseInt(word, 16)]));
  const [head = '', tail] = ip.split('::');
  const [first, last] = [words(head), tail === undefined ? [] : words(tail)];
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => 0);
  return [...first, ...zeros, ...last].flatMap((word) => [word >> 8, word & 0xff]);
}

function dotted(text: string): number[] {
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number);
  return [a * 256 + b, c * 256 + d];
}

function unixAddress(path: string): Buffer {
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

/** Small messages go at once. */
function promptly(descriptor: number, family: number): void {
  if (family === numbers.unixFamily) return;
  const on = Buffer.alloc(4);
  on.writeInt32LE(1);
  libc().option(descriptor, numbers.tcp, numbers.noDelay, on, on.length);
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

/**
 * Connects to a listener; undefined when none is there yet. Over TCP the connection may still be on its way: it takes
 * what is sent, and is closed where nobody listens.
 */
export function connectTo(address: string): Connection | undefined {
  const { family, bytes } = nativeAddress(address);
  const descriptor = libc().socket(family, numbers.streamSocket, 0);
  if (descriptor < 0) throw failure('socket');
  promptly(descriptor, family);
  if (libc().connect(descriptor, bytes, bytes.length) === 0 || isError(koffi.os.errno.EINPROGRESS))
    return new Connection(descriptor);
  libc().close(descriptor);
  return undefined;
}

export class Listener {
  readonly #descriptor: number;
  readonly #family: number;
  /** What others connect to: of port 0, the port that was free. */
  readonly address: string;

  constructor(address: string) {
    const { family, bytes } = nativeAddress(address);
    this.#family = family;
    this.#descriptor = libc().socket(family, numbers.streamSocket, 0);
    if (this.#descriptor < 0) throw failure('socket');
    if (libc().bind(this.#descriptor, bytes, bytes.length) !== 0) throw failure(`bind ${address}`);
    if (libc().listen(this.#descriptor, numbers.backlog) !== 0) throw failure(`listen ${address}`);
    this.address = family === numbers.unixFamily ? address : this.#bound(address);
  }

  /** Somebody who has connected, if anybody has. */
  accept(): Connection | undefined {
    const descriptor = libc().accept(this.#descriptor, null, null, numbers.nonBlocking);
    if (descriptor >= 0) {
      promptly(descriptor, this.#family);
      return new Connection(descriptor);
    }
    // Who gave up before being accepted is nobody.
    if (again() || isError(koffi.os.errno.ECONNABORTED)) return undefined;
    throw failure('accept4');
  }

  close(): void {
    libc().close(this.#descriptor);
  }

  #bound(address: string): string {
    const own = Buffer.alloc(numbers.ip6Bytes);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(own.length);
    if (libc().name(this.#descriptor, own, length) !== 0) throw failure(`getsockname ${address}`);
    return `${address.slice(0, address.lastIndexOf(':'))}:${own.readUInt16BE(2)}`;
  }
}
