/** The page's side of the worker. */
import type { ShownError } from '../base/shown-error.js';
import type { Exchanges, FromWorker, Kind, ToWorker } from './messages.js';

/** A complaint that the worker answered with. */
export class WorkerComplaint extends Error {
  override readonly name = 'WorkerComplaint';
  readonly shown: ShownError;

  constructor(shown: ShownError) {
    super(shown.message);
    this.shown = shown;
  }
}

interface Waiting {
  readonly progress: (value: unknown) => void;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Long work beside what people wait for has a worker of its own. */
const beside: readonly Kind[] = ['map', 'paper'];
const workers = new Map<boolean, Worker>();
let lastId = 0;
const waiting = new Map<number, Waiting>();

function workerFor(kind: Kind): Worker {
  const known = workers.get(beside.includes(kind));
  if (known !== undefined) return known;
  const worker = new Worker(new URL('./studio-worker.ts', import.meta.url), { type: 'module' });
  worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
    const one = waiting.get(data.id);
    if (data.kind === 'progress') one?.progress(data.value);
    else {
      waiting.delete(data.id);
      if (data.kind === 'answer') one?.resolve(data.value);
      else one?.reject(new WorkerComplaint(data.error));
    }
  });
  worker.addEventListener('error', ({ message }) => {
    for (const one of waiting.values()) one.reject(new Error(message));
    waiting.clear();
  });
  workers.set(beside.includes(kind), worker);
  return worker;
}

export interface AskOptions<K extends Kind> {
  readonly onProgress?: (value: Exchanges[K]['progress']) => void;
  /** Ends the work early: a plan is answered with the best so far. */
  readonly signal?: AbortSignal;
  readonly transfer?: readonly Transferable[];
}

/** Asks the worker. Rejects with `WorkerComplaint` for bad input. */
export function ask<K extends Kind>(
  kind: K,
  what: Exchanges[K]['ask'],
  options: AskOptions<K> = {},
): Promise<Exchanges[K]['answer']> {
  lastId += 1;
  const id = lastId;
  const { onProgress, signal, transfer = [] } = options;
  const stop = { id, kind: 'stop' } satisfies ToWorker;
  const worker = workerFor(kind);
  signal?.addEventListener('abort', () => worker.postMessage(stop), { once: true });
  return new Promise((resolve, reject) => {
    waiting.set(id, {
      progress: (value) => onProgress?.(value as Exchanges[K]['progress']),
      resolve: (value) => resolve(value as Exchanges[K]['answer']),
      reject,
    });
    worker.postMessage({ id, kind, ask: what }, [...transfer]);
  });
}
