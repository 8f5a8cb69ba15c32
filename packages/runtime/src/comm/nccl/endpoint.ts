/**
 * A rank's endpoint over NCCL: every communicator is one of NCCL's, on a stream of its own. Ranks are processes, which
 * agree over sockets on what runs; the card orders it with its kernels by events.
 */
import type { Companion } from '../../device/cpu/companion.js';
import type { CudaDevice } from '../../device/cuda/cuda-device.js';
import { ofLane } from '../../device/cuda/lane-priorities.js';
import type { DeviceEvent, Queue } from '../../device/device.js';
import type { View } from '../../device/view.js';
import { CheckedCommunicator, type SubmittedOperation } from '../checked-communicator.js';
import { CommunicationError } from '../communication-error.js';
import { JobAborted, type Communicator, type Endpoint, type TransferRecord } from '../communicator.js';
import { Communicators } from '../communicators.js';
import { machineSeconds } from '../machine-clock.js';
import { decodeOperation, encodeOperation } from '../operation-words.js';
import { Patience } from '../patience.js';
import type { NcclLibrary } from './bindings.js';
import { NcclChannel } from './channel.js';
import { numberTypes } from './collective.js';
import type { Meeting } from './meeting.js';
import { Mesh } from './mesh.js';
import type { Message } from './messages.js';

export interface NcclEndpointOptions {
  readonly rank: number;
  readonly size: number;
  readonly device: CudaDevice;
  readonly library: NcclLibrary;
  /** Where the job's ranks meet. */
  readonly meeting: Meeting;
  readonly token: string;
  readonly trace?: boolean;
  /** Multiprocessors that collectives take at most, by lane; NCCL's choice where a lane has none. */
  readonly multiprocessors?: Readonly<Record<string, number>>;
  /** A rank that keeps this one waiting in one operation for longer ends the job. Default: 10 minutes. */
  readonly stuckAfterSeconds?: number;
  /** Why the job ends, once somebody has ended it. */
  readonly aborted?: () => string | undefined;
}

const defaultStuckSeconds = 600;
/** How often a waiting rank looks for peers that will not come. */
const checkSeconds = 0.05;
/** How long a rank whose peer is gone waits for the launcher to say why. */
const explanationSeconds = 3;

export class NcclEndpoint implements Endpoint, Companion {
  readonly backend = 'nccl';
  readonly rank: number;
  readonly size: number;
  readonly #options: NcclEndpointOptions;
  readonly #mesh: Mesh;
  readonly #patience: Patience;
  readonly #communicators: Communicators;
  readonly #channels = new Map<string, NcclChannel>();
  /** What was said of channels that this rank has not made yet. */
  readonly #early = new Map<string, { readonly from: number; readonly message: Message }[]>();
  readonly #left = new Set<number>();
  readonly #scratch: View;
  #epoch: number | undefined;
  #checked = 0;
  #closedSince: number | undefined;
  #nextCommunicator = 0;
  #closing = false;

  /** All ranks of the job make theirs together. */
  constructor(options: NcclEndpointOptions) {
    const { rank, size, device, meeting, token, stuckAfterSeconds: startSeconds = defaultStuckSeconds } = options;
    this.#options = options;
    this.rank = rank;
    this.size = size;
    this.#communicators = new Communicators(rank, size);
    // A card that waits for its host costs more than the core that looks after it.
    this.#patience = new Patience(size, Infinity);
    if (rank === 0) this.#epoch = machineSeconds();
    const early: { readonly from: number; readonly message: Message }[] = [];
    let hear = (from: number, message: Message): void => void early.push({ from, message });
    const check = (): void => this.#checkAborted();
    this.#mesh = new Mesh({ rank, size, meeting, token, check, startSeconds }, (from, message) => hear(from, message));
    hear = (from, message) => this.#hear(from, message);
    for (const { from, message } of early) hear(from, message);
    if (this.#epoch !== undefined)
      for (let other = 1; other < size; other++) this.#mesh.send(other, { kind: 'epoch', seconds: this.#epoch });
    while (this.#epoch === undefined) {
      this.#checkAborted();
      if (!this.#mesh.poll()) this.#patience.idle();
    }
    device.accompany(this);
    this.#scratch = device.allocate('i32', 1);
    device.write(this.#scratch, Int32Array.of(0));
  }

  communicator(name: string, members: readonly number[], queue: Queue): Communicator {
    return this.#communicators.get(queue, name, members, (title, lane) => {
      const group = [...members];
      return new CheckedCommunicator({
        backend: this.backend,
        reduces: numberTypes,
        name,
        id: this.#nextCommunicator++,
        members,
        rank: this.rank,
        // Views are addresses of the card.
        memory: { bytes: () => Number.MAX_SAFE_INTEGER },
        submit: (operation, label) => this.#submit({ title, lane, members: group }, operation, label),
      });
    });
  }

  check(): void {
    this.#checkAborted();
    const now = this.now();
    if (now - this.#checked < checkSeconds) return;
    this.#checked = now;
    this.#checkPeers(now);
    const { stuckAfterSeconds = defaultStuckSeconds, device } = this.#options;
    for (const channel of this.#channels.values())
      channel.checkForMissing(stuckAfterSeconds, this.#left, (event) => device.done(event));
  }

  completed(): void {
    this.progress();
  }

  progress(): void {
    for (const { idle } of this.#channels.values())
      if (!idle) {
        this.#advance();
        return;
      }
  }

  waitUntil(over: () => boolean): void {
    this.#patience.reset();
    while (!over()) {
      this.check();
      if (this.#advance()) this.#patience.reset();
      else this.#patience.idle();
    }
  }

  now(): number {
    return machineSeconds() - (this.#epoch ?? 0);
  }

  /**
   * Those of operations of which every member has told when it started: after `completeRecords` and after `close`, of
   * all.
   */
  takeRecords(): TransferRecord[] {
    if (this.#options.trace !== true) return [];
    if (!this.#closing) {
      this.#tellStarts();
      this.#mesh.poll();
    }
    return [...this.#channels.values()].flatMap((channel) => channel.takeRecords());
  }

  completeRecords(): void {
    if (this.#options.trace !== true || this.#closing) return;
    const { stuckAfterSeconds = defaultStuckSeconds } = this.#options;
    const begun = this.now();
    this.waitUntil(() => {
      this.#tellStarts();
      const untold = new Set([...this.#channels.values()].flatMap((channel) => channel.untold()));
      if (untold.size > 0 && this.now() - begun > stuckAfterSeconds)
        throw new CommunicationError(
          [...untold][0] ?? this.rank,
          `a trace waits for when collectives started: ${untold.size === 1 ? 'rank' : 'ranks'} ` +
            `${[...untold].join(', ')} did not say, awaited by rank ${this.rank}`,
        );
      return untold.size === 0;
    });
  }

  /**
   * Completes what was submitted, tells the others that nothing more comes, and leaves NCCL with them. The device is
   * still open.
   */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    const channels = [...this.#channels.values()];
    this.waitUntil(() => channels.every(({ idle }) => idle));
    this.#options.device.finish();
    if (this.#options.trace === true) this.#tellStarts();
    this.#tell(this.#everyone, { kind: 'leaving' });
    this.waitUntil(() => this.#left.size === this.size - 1 && this.#mesh.quiet);
    this.waitUntil(() => channels.map((channel) => channel.leave()).every(Boolean));
    this.#mesh.close();
  }

  /** Ends NCCL's work at once, for a job that has failed. */
  abort(): void {
    for (const channel of this.#channels.values()) channel.abort();
  }

  get #everyone(): number[] {
    return Array.from({ length: this.size }, (_, other) => other);
  }

  #tellStarts(): void {
    for (const [title, channel] of this.#channels)
      for (const { sequence, seconds } of channel.takeStarts())
        this.#tell(channel.members, { kind: 'started', channel: title, sequence, seconds });
  }

  #tell(members: readonly number[], message: Message): void {
    for (const member of members) if (member !== this.rank) this.#mesh.send(member, message);
  }

  #checkAborted(): void {
    const reason = this.#options.aborted?.();
    if (reason !== undefined) throw new JobAborted(reason);
  }

  /** A rank that ended without a word ends the job, named, unless the launcher knows better. */
  #checkPeers(now: number): void {
    const gone = [...this.#mesh.closed].find((other) => !this.#left.has(other));
    if (gone === undefined) return;
    this.#closedSince ??= now;
    if (now - this.#closedSince > explanationSeconds)
      throw new CommunicationError(gone, `rank ${gone} is gone, says rank ${this.rank}`);
  }

  #submit(
    { title, lane, members }: { readonly title: string; readonly lane: string; readonly members: readonly number[] },
    operation: SubmittedOperation,
    label: string,
  ): DeviceEvent {
    if (this.#closing) throw new Error(`rank ${this.rank} submitted ${operation.kind} after closing its endpoint`);
    const { kind, peer } = operation;
    const other = members[peer] ?? this.rank;
    const ends = kind === 'send' ? [this.rank, other] : [other, this.rank];
    const message = kind === 'send' || kind === 'receive';
    const name = message ? `${title} ${ends.join(' to ')}` : title;
    const channel = this.#channel(name, message ? ends : members, lane);
    const whole = { ...operation, event: 0, label: 0 };
    this.#tell(channel.members, { kind: 'operation', channel: name, words: encodeOperation(whole), label });
    const event = channel.submit(whole, label);
    this.#advance();
    return event;
  }

  #channel(title: string, members: readonly number[], lane: string): NcclChannel {
    const known = this.#channels.get(title);
    if (known !== undefined) return known;
    const { device, library, trace = false, multiprocessors } = this.#options;
    const maximumMultiprocessors = ofLane(multiprocessors, lane);
    const channel = new NcclChannel({
      title,
      members,
      rank: this.rank,
      library,
      stream: device.transferStream(title, lane),
      scratch: this.#scratch,
      settings: maximumMultiprocessors === undefined ? {} : { maximumMultiprocessors },
      trace,
      now: () => this.now(),
      introduce: (identity) => this.#tell(members, { kind: 'identity', channel: title, identity }),
    });
    this.#channels.set(title, channel);
    const early = this.#early.get(title) ?? [];
    this.#early.delete(title);
    for (const { from, message } of early) this.#hear(from, message);
    return channel;
  }

  #hear(from: number, message: Message): void {
    if (message.kind === 'leaving') {
      this.#left.add(from);
      return;
    }
    if (message.kind === 'epoch') {
      this.#epoch = message.seconds;
      return;
    }
    if (message.kind === 'hello') return;
    const channel = this.#channels.get(message.channel);
    if (channel === undefined) {
      this.#early.set(message.channel, [...(this.#early.get(message.channel) ?? []), { from, message }]);
      return;
    }
    switch (message.kind) {
      case 'operation':
        channel.hear(from, decodeOperation(message.words), message.label);
        return;
      case 'identity':
        channel.learn(message.identity);
        return;
      case 'started':
        channel.hearStart(from, message);
    }
  }

  #advance(): boolean {
    let happened = this.#mesh.poll();
    for (const channel of this.#channels.values()) if (channel.advance()) happened = true;
    return happened;
  }
}
