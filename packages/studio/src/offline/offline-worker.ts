/** Keeps the page's own files, so that it opens without a network. Dropped files and runs never come here. */

/** What a service worker offers of what is needed here. */
interface OfflineScope {
  readonly registration: { readonly scope: string };
  addEventListener(type: 'install' | 'activate', listener: (event: LongEvent) => void): void;
  addEventListener(type: 'fetch', listener: (event: AskedEvent) => void): void;
  skipWaiting(): Promise<void>;
  readonly clients: { claim(): Promise<void> };
}

interface LongEvent {
  waitUntil(what: Promise<unknown>): void;
}

interface AskedEvent extends LongEvent {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

const offline = globalThis as unknown as OfflineScope;

/** The files of this build, put here by it. */
declare const pageFiles: readonly string[];

const { scope } = offline.registration;
/** Another build has other names of files. */
const cacheName = `${scope} ${pageFiles.join(' ')}`;
const known = new Set(['index.html', ...pageFiles].map((name) => new URL(name, scope).href));

async function keepAll(): Promise<void> {
  const cache = await caches.open(cacheName);
  await cache.addAll([scope, ...known]);
  await offline.skipWaiting();
}

/** Drops what earlier builds kept of this page. */
async function dropOld(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(`${scope} `) && name !== cacheName);
  await Promise.all(old.map((name) => caches.delete(name)));
  await offline.clients.claim();
}

/** The page itself as its host has it now, where there is a host; other files never change under their names. */
async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (request.mode !== 'navigate' && kept !== undefined) return kept;
  return fetch(request).catch((error: unknown) => {
    if (kept === undefined) throw error;
    return kept;
  });
}

offline.addEventListener('install', (event) => event.waitUntil(keepAll()));
offline.addEventListener('activate', (event) => event.waitUntil(dropOld()));
offline.addEventListener('fetch', (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const address = origin + pathname;
  if (event.request.method === 'GET' && (address === scope || known.has(address)))
    event.respondWith(answer(event.request));
});
