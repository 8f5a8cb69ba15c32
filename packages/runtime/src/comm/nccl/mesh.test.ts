/** Sockets and the mesh in one thread: who calls has called before the rank listens to anybody. */
import { mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { frameBytes, greetingBytes } from '../frames.js';
import { Mesh } from './mesh.js';
import type { Message } from './messages.js';
import { connectTo, Listener, type Connection } from './sockets.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-mesh-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Some machines have no IPv6. */
const hasIp6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
const kinds: readonly (readonly [string, () => string])[] = [
  ['a path', () => join(folder, 'socket')],
  ['TCP', () => '127.0.0.1:0'],
  ...(hasIp6 ? [['TCP over IPv6', () => '::1:0'] as const] : []),
];

/** What comes next: text, or that the connection was closed. Nothing ends a loop that hangs but its own bound. */
function heard(connection: Connection): string | undefined {
  const end = performance.now() + 120_000;
  const buffer = Buffer.alloc(1 << 16);
  while (performance.now() < end) {
    const piece = connection.receive(buffer);
    if (piece !== undefined) return piece === 'closed' ? piece : piece.toString();
  }
  return undefined;
}

function call(address: string, ...bytes: Buffer[]): Connection {
  const connection = connectTo(address);
  if (connection === undefined) throw new Error(`nobody listens at ${address}`);
  for (const piece of bytes) connection.send(piece);
  return connection;
}

describe('sockets without an event loop', () => {
  it.each(kinds)('carry bytes both ways over %s, and tell the end', (_, address) => {
    const listener = new Listener(address());
    const calling = call(listener.address, Buffer.from('to'));
    let called: Connection | undefined;
    while (called === undefined) called = listener.accept();
    expect(heard(called)).toBe('to');
    called.send(Buffer.from('and back'));
    expect(heard(calling)).toBe('and back');
    called.close();
    expect(heard(calling)).toBe('closed');
    calling.close();
    listener.close();
    rmSync(join(folder, 'socket'), { force: true });
  });

  it('are refused what is no address', () => {
    for (const address of ['', 'host:80', '127.0.0.1', '127.0.0.1:65536', `/${'long'.repeat(40)}`])
      expect(() => new Listener(address)).toThrow(RangeError);
  });
});

describe('the mesh of ranks', () => {
  const token = 'shared by the ranks';
  const hello = (rank: number): Buffer => frameBytes({ kind: 'hello', rank } satisfies Message);
  const options = { rank: 0, size: 2, token, check: () => undefined };

  it.each(kinds)('takes the rank that shows the token and is awaited, and no stranger, over %s', (_, address) => {
    const listener = new Listener(address());
    const greeting = greetingBytes(token);
    const strangers = [
      call(listener.address, Buffer.from('GET / HTTP/1.1\r\n\r\n'.padEnd(64))),
      call(listener.address, greetingBytes(token.replace('s', 'S')), hello(1)),
      call(listener.address, greeting, hello(0)),
      call(listener.address, greeting, hello(2)),
      call(listener.address, greeting, frameBytes({ kind: 'leaving' } satisfies Message), hello(1)),
    ];
    const said: Message = { kind: 'epoch', seconds: 7 };
    const own = call(listener.address, greeting, hello(1), frameBytes(said));
    const told: (readonly [number, Message])[] = [];
    const meeting = { listener, addresses: [listener.address, ''] };
    const mesh = new Mesh({ ...options, meeting, startSeconds: 120 }, (from, message) => told.push([from, message]));
    while (told.length === 0) mesh.poll();
    expect(told).toEqual([[1, said]]);
    for (const stranger of strangers) {
      expect(heard(stranger)).toBe('closed');
      stranger.close();
    }
    mesh.close();
    expect(heard(own)).toBe('closed');
    own.close();
    rmSync(join(folder, 'socket'), { force: true });
  });

  it('names the ranks that do not come', () => {
    const listener = new Listener('127.0.0.1:0');
    const meeting = { listener, addresses: [listener.address, '', ''] };
    const make = (): Mesh => new Mesh({ ...options, size: 3, meeting, startSeconds: 0.02 }, () => undefined);
    expect(make).toThrow('ranks 1, 2 did not connect to rank 0 within 0.02 s');
  });
});
