/** A rank's line to its launcher, as the rank's thread sees it. */
import { Worker } from 'node:worker_threads';
import { builtModule } from './built-module.js';
import type { FromRank, MpiJobDescription, WatchedJob } from './mpi-frames.js';

const textBytes = 8192;

/** What the line's thread gets. */
export interface LinkData {
  /** Of the launcher: the path of its socket, or host:port. */
  readonly address: string;
  readonly token: string;
  readonly hello: Extract<FromRank, { kind: 'hello' }>;
  /** Whether the process is ended when the job is over and it does not leave by itself: its thread may be waiting. */
  readonly endsProcess: boolean;
  /** [the job is over, bytes of the reason]. */
  readonly state: SharedArrayBuffer;
  readonly text: SharedArrayBuffer;
}

export type LinkNote<Job extends WatchedJob> =
  /** `ownAddress`: of this machine, on the way to the launcher; none on a socket of one machine. */
  | { readonly kind: 'welcome'; readonly job: Job; readonly ownAddress: string }
  | { readonly kind: 'told'; readonly message: unknown }
  | { readonly kind: 'peers'; readonly addresses: readonly string[] }
  | { readonly kind: 'sent'; readonly what: FromRank['kind'] }
  | { readonly kind: 'aborted'; readonly reason: string };

export interface LinkOptions {
  /** Of the launcher: the path of its socket, or host:port. */
  readonly address: string;
  readonly token: string;
  readonly hello: LinkData['hello'];
  /** Default: true. */
  readonly endsProcess?: boolean;
}

export class Link<Job extends WatchedJob = MpiJobDescription> {
  private readonly worker: Worker;
  private readonly state: Int32Array;
  private readonly text: SharedArrayBuffer;
  /** Heard, and not taken by anybody yet. */
  private readonly notes: LinkNote<Job>[] = [];
  private wake: () => void = () => undefined;

  constructor(options: LinkOptions) {
    const state = new SharedArrayBuffer(8);
    this.state = new Int32Array(state);
    this.text = new SharedArrayBuffer(textBytes);
    const workerData: LinkData = { endsProcess: true, ...options, state, text: this.text };
    this.worker = new Worker(builtModule('./mpi-link.worker.js', import.meta.url), { workerData, name: 'link' });
    this.worker.on('message', (note: LinkNote<Job>) => {
      this.notes.push(note);
      this.wake();
    });
  }

  /** Resolves with the job once the launcher has admitted this rank; rejects with its refusal. */
  async job(): Promise<{ readonly job: Job; readonly ownAddress: string }> {
    return await this.take('welcome');
  }

  /** Resolves with where all ranks listen, once all have said so; rejects when the job is over. */
  async peers(): Promise<readonly string[]> {
    const { addresses } = await this.take('peers');
    return addresses;
  }

  /** Resolves with the launcher's next word to this rank alone; rejects when the job is over. */
  async told(): Promise<unknown> {
    const { message } = await this.take('told');
    return message;
  }

  post(frame: Exclude<FromRank, { kind: 'hello' | 'beat' }>): void {
    this.worker.postMessage(frame);
  }

  /** Resolves when the launcher's machine has taken a frame of this kind, or the job is over. */
  async sent(what: FromRank['kind']): Promise<void> {
    await this.first((note) => note.kind === 'sent' && note.what === what);
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

  private async take<Kind extends LinkNote<Job>['kind']>(
    kind: Kind,
  ): Promise<Extract<LinkNote<Job>, { readonly kind: Kind }>> {
    const isOfKind = (note: LinkNote<Job>): note is Extract<LinkNote<Job>, { readonly kind: Kind }> =>
      note.kind === kind;
    const note = await this.first(isOfKind);
    if (note !== undefined && isOfKind(note)) return note;
    throw new Error(this.aborted() ?? 'the job is over');
  }

  /** The first note that is wanted; undefined when the job is over before it comes. One waits at a time. */
  private async first(wanted: (note: LinkNote<Job>) => boolean): Promise<LinkNote<Job> | undefined> {
    for (;;) {
      const at = this.notes.findIndex(wanted);
      if (at >= 0) return this.notes.splice(at, 1)[0];
      if (this.aborted() !== undefined) return undefined;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
