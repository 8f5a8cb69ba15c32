/** A rank's line to its launcher, as the rank's thread sees it. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { builtModule } from './built-module.js';
import type { FromRank, MpiJobDescription } from './mpi-frames.js';

const textBytes = 8192;

/** What the line's thread gets. */
export interface LinkData {
  /** Of the launcher: the path of its socket, or host:port. */
  readonly address: string;
  readonly token: string;
  readonly hello: Extract<FromRank, { kind: 'hello' }>;
  /** [the job is over, bytes of the reason]. */
  readonly state: SharedArrayBuffer;
  readonly text: SharedArrayBuffer;
}

export type LinkNote =
  | { readonly kind: 'welcome'; readonly job: MpiJobDescription }
  | { readonly kind: 'sent'; readonly what: FromRank['kind'] }
  | { readonly kind: 'aborted'; readonly reason: string };

export class Link {
  private readonly worker: Worker;
  private readonly state: Int32Array;
  private readonly text: SharedArrayBuffer;

  constructor(address: string, token: string, hello: LinkData['hello']) {
    const state = new SharedArrayBuffer(8);
    this.state = new Int32Array(state);
    this.text = new SharedArrayBuffer(textBytes);
    const workerData: LinkData = {
      address,
      token,
      hello,
      state,
      text: this.text,
    };
    this.worker = new Worker(builtModule('./mpi-link.worker.js', import.meta.url), { workerData, name: 'link' });
  }

  /** Resolves with the job once the launcher has admitted this rank; rejects with its refusal. */
  async job(): Promise<MpiJobDescription> {
    for (;;) {
      const [note] = (await once(this.worker, 'message')) as [LinkNote];
      if (note.kind === 'welcome') return note.job;
      if (note.kind === 'aborted') throw new Error(note.reason);
    }
  }

  post(frame: Exclude<FromRank, { kind: 'hello' | 'beat' }>): void {
    this.worker.postMessage(frame);
  }

  /** Resolves when the launcher's machine has taken a frame of this kind, or the job is over. */
  async sent(what: FromRank['kind']): Promise<void> {
    for (;;) {
      if (this.aborted() !== undefined) return;
      const [note] = (await once(this.worker, 'message')) as [LinkNote];
      if (note.kind === 'aborted' || (note.kind === 'sent' && note.what === what)) return;
    }
  }

  /** Why the job is over, once it is. Cheap. */
  aborted(): string | undefined {
    if (Atomics.load(this.state, 0) === 0) return undefined;
    return new TextDecoder().decode(new Uint8Array(this.text).slice(0, Atomics.load(this.state, 1)));
  }

  /** Closes the line at the end of the job. */
  leave(): void {
    this.worker.postMessage({ kind: 'leave' });
  }
}
