/** Who may read what of the studio's server. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { StudioServer } from './server.js';

let folder = '';
let server: StudioServer;
let address = '';

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'monta-studio-'));
  writeFileSync(join(folder, 'index.html'), '<p>page</p>');
  writeFileSync(join(folder, 'metrics.jsonl'), '{"kind":"step","step":1}\n');
  server = new StudioServer(folder, { metrics: join(folder, 'metrics.jsonl'), trace: join(folder, 'trace.json') });
  address = await server.listen(0);
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

/** The status of a request as anybody may make it. */
const statusOf = (path: string, options: { method?: string; host?: string } = {}): Promise<number> =>
  new Promise((resolve, reject) => {
    const { port, host } = new URL(address);
    const headers = { host: options.host ?? host };
    request({ host: '127.0.0.1', port, path, method: options.method ?? 'GET', headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });

it('serves the page under its token alone', async () => {
  const { pathname } = new URL(address);
  expect(await (await fetch(address)).text()).toBe('<p>page</p>');
  expect((await fetch(address)).headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(await statusOf('/')).toBe(404);
  expect(await statusOf('/index.html')).toBe(404);
  expect(await statusOf(`/${'x'.repeat(pathname.length - 2)}/`)).toBe(404);
});

it('reads nothing beside the files of the page', async () => {
  const { pathname } = new URL(address);
  for (const path of ['../../etc/passwd', '%2e%2e/metrics', '..%2f..%2fetc/passwd', 'opened'])
    expect(`${path} ${await statusOf(pathname + path)}`).toBe(`${path} 404`);
});

it('answers neither other methods nor other names of this machine', async () => {
  const { pathname } = new URL(address);
  expect(await statusOf(pathname, { method: 'POST' })).toBe(405);
  expect(await statusOf(pathname, { host: 'rebound.example' })).toBe(403);
});

it('listens on the loopback interface alone', () => {
  expect(new URL(address).hostname).toBe('127.0.0.1');
  const own = [...readFileSync('/proc/net/tcp', 'utf8').matchAll(/: (\w{8}):(\w{4}) 00000000:0000 0A/gu)];
  const { port } = new URL(address);
  const bound = own.flatMap(([, ip = '', hex = '']) => (Number.parseInt(hex, 16) === Number(port) ? [ip] : []));
  expect(bound).toEqual(['0100007F']);
});

it('streams the lines that are there, and those that come', async () => {
  const response = await fetch(`${address}events`);
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = '';
  const until = async (wanted: string): Promise<void> => {
    while (!text.includes(wanted)) text += decoder.decode((await reader?.read())?.value);
  };
  await until('data: {"kind":"step","step":1}\n\n');
  appendFileSync(join(folder, 'metrics.jsonl'), '{"kind":"step",');
  appendFileSync(join(folder, 'metrics.jsonl'), '"step":2}\n');
  await until('data: {"kind":"step","step":2}\n\n');
  expect(text.match(/^data: /gmu)).toHaveLength(2);
  writeFileSync(join(folder, 'trace.json'), '{}');
  await until('event: trace\n');
  expect(await (await fetch(`${address}opened`)).text()).toBe('{}');
  await reader?.cancel();
});
