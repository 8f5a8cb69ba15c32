/**
 * Serves the studio on loopback: files of the page, and of one run what the person named. Every address begins with a
 * token, so that other users and pages of this machine read nothing; nothing is written.
 */
import { InputError } from '@monta/core/units';
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { followLines, whenThere } from './follow-lines.js';

/** What is served beside the page. */
export interface Served {
  /** Lines of a training, which may still grow. */
  readonly metrics?: string;
  /** A trace, or where a training will write one. */
  readonly trace?: string;
}

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
};

/** Nothing from elsewhere, nothing inline. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; worker-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const headers = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

/** Names of the page's files: only these are read, whatever is asked for. */
function filesOf(folder: string): Set<string> {
  const inside = readdirSync(folder, { recursive: true, withFileTypes: true });
  return new Set(
    inside
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(join(folder, '/').length)),
  );
}

export class StudioServer {
  readonly #folder: string;
  readonly #files: ReadonlySet<string>;
  readonly #served: Served;
  readonly #token = randomBytes(16).toString('base64url');
  readonly #server: Server;
  /** Ends what follows a file. */
  readonly #ending = new AbortController();

  constructor(folder: string, served: Served) {
    this.#folder = folder;
    this.#files = filesOf(folder);
    this.#served = served;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  /** Listens on a port, 0 for a free one; the address of the page. Throws `InputError` where it is taken. */
  async listen(port: number): Promise<string> {
    this.#server.listen(port, '127.0.0.1');
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      const { code = 'unknown' } = error as NodeJS.ErrnoException;
      throw new InputError(`port ${port} cannot be listened on (${code})`, {
        file: '--port',
        expected: 'a free port; left out, one is found',
      });
    }
    const address = this.#server.address();
    const bound = typeof address === 'object' && address !== null ? address.port : port;
    return `http://127.0.0.1:${bound}/${this.#token}/`;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const refuse = (status: number): void => {
      response.writeHead(status, headers).end();
    };
    if (request.method !== 'GET') return refuse(405);
    // A page elsewhere that has found a name for this machine sends that name.
    if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/u.test(request.headers.host ?? '')) return refuse(403);
    const [, token = '', name] = /^\/([^/?]*)\/([^?]*)/u.exec(request.url ?? '') ?? [];
    if (!this.#isToken(token) || name === undefined) return refuse(404);
    const { metrics, trace } = this.#served;
    if (name === 'events' && metrics !== undefined) return this.#stream(metrics, trace, response);
    if (name === 'opened' && trace !== undefined) return this.#send(trace, 'application/json', response);
    const file = name === '' ? 'index.html' : name;
    if (!this.#files.has(file)) return refuse(404);
    const type = types[file.slice(file.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
    return this.#send(join(this.#folder, file), type, response);
  }

  #isToken(token: string): boolean {
    const [given, own] = [Buffer.from(token), Buffer.from(this.#token)];
    return given.length === own.length && timingSafeEqual(given, own);
  }

  #send(path: string, type: string, response: ServerResponse): void {
    if (!existsSync(path)) {
      response.writeHead(404, headers).end();
      return;
    }
    response.writeHead(200, { ...headers, 'content-type': type });
    createReadStream(path)
      .on('error', () => response.destroy())
      .pipe(response);
  }

  /** Lines as server-sent events, the old ones first; an event of its own once there is a trace. */
  #stream(path: string, trace: string | undefined, response: ServerResponse): void {
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' });
    response.flushHeaders();
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.#ending.signal]);
    void followLines(path, (line) => response.write(`data: ${line}\n\n`), signal);
    if (trace !== undefined) void whenThere(trace, () => response.write('event: trace\ndata: {}\n\n'), signal);
  }
}
