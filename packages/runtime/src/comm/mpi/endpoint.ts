/**
 * A rank's endpoint over Open MPI. MPI runs on the rank's own thread: it moves bytes while the rank waits, asks, or
 * calls `progress` between tiles of a product, and Open MPI's TCP thread takes in what arrives in between.
 */
import type { Companion } from '../../device/cpu/companion.js';
import type { CpuDevice } from '../../device/cpu/cpu-device.js';
import type { DeviceEvent, Queue } from '../../device/device.js';
import { JobAborted, type Communicator, type Endpoint, type TransferRecord } from '../communicator.js';
import { CheckedCommunicator, cpuReduces, type SubmittedOperation } from '../checked-communicator.js';
import { CommunicationError } from '../communication-error.js';
import { Communicators } from '../communicators.js';
import type { Party } from '../party.js';
import { machineSeconds } from '../machine-clock.js';
import { clockIdentity, estimateOffset, type ClockOffset } from './clock.js';
import { Engine } from './engine.js';
import type { Handle, Mpi } from './ffi.js';
import { Groups, type Group } from './group.js';
import { Patience } from '../patience.js';
import { Requests } from './requests.js';
import { Staging } from './staging.js';
import type { Transfer } from './transfer.js';

export interface MpiEndpointOptions {
  readonly mpi: Mpi;
  /** Its memory is the host's, so that Open MPI can send from it and receive into it. */
  readonly device: CpuDevice;
  /** Ranks on this host, which share its cores. */
  readonly localRanks: number;
  readonly trace?: boolean;
  /** A rank that keeps this one waiting in one operation for longer ends the job. Default: 10 minutes. */
  readonly stuckAfterSeconds?: number;
  /** Why the job ends, once somebody has ended it. */
  readonly aborted?: () => string | undefined;
}

const defaultStuckSeconds = 600;
/** How often a waiting rank looks for peers that will not come. */
const checkMilliseconds = 50;
const clockRounds = 16;
const clockTag = 1;
const clockBytes = 16;
const identityBytes = 64;

/** Makes the endpoint of this process. MPI must be initialised; all ranks call it together. */
export function createMpiEndpoint(options: MpiEndpointOptions): MpiEndpoint {
  return new MpiEndpoint(options);
}

export class MpiEndpoint implements Endpoint, Companion {
  readonly backend = 'mpi';
  readonly device: CpuDevice;
  readonly rank: number;
  readonly size: number;
  /** How well the shared clock is known here. */
  readonly clock: ClockOffset;
  readonly sentBytes: Float64Array;
  private readonly requests: Requests;
  private readonly groups: Groups;
  private readonly engine: Engine;
  private readonly patience: Patience;
  private readonly communicators: Communicators;
  private readonly records: TransferRecord[] = [];
  private readonly epoch: number;
  private readonly stuckSeconds: number;
  private closed = false;

  constructor(private readonly options: MpiEndpointOptions) {
    const { mpi, device, localRanks } = options;
    this.device = device;
    device.accompany(this);
    this.patience = new Patience(localRanks);
    this.stuckSeconds = options.stuckAfterSeconds ?? defaultStuckSeconds;
    this.rank = mpi.rank(mpi.world);
    this.size = mpi.size(mpi.world);
    this.sentBytes = new Float64Array(this.size);
    this.communicators = new Communicators(this.rank, this.size);
    const own: Handle = mpi.duplicate(mpi.world);
    this.requests = new Requests(mpi, own);
    const clock = this.synchronise();
    this.clock = clock.offset;
    this.epoch = clock.epoch - clock.offset.seconds;
    this.groups = new Groups(this.requests, this.rank, this.size);
    this.engine = new Engine({
      mpi,
      memory: device.memory,
      requests: this.requests,
      staging: new Staging(),
      sentBytes: this.sentBytes,
      groups: this.groups,
      now: () => this.now(),
      eventDone: (event) => this.device.events.done(event),
      ended: (transfer) => this.ended(transfer),
    });
  }

  communicator(name: string, members: readonly number[], queue: Queue): Communicator {
    return this.communicators.get(queue, name, members, (title) => {
      const group = this.groups.make(title, [...members]);
      return new CheckedCommunicator({
        backend: this.backend,
        reduces: cpuReduces,
        name,
        id: group.number,
        members,
        rank: this.rank,
        memory: { bytes: () => this.device.memory.buffer.byteLength },
        submit: (operation, label) => this.submit(operation, label, group),
      });
    });
  }

  check(): void {
    const reason = this.options.aborted?.();
    if (reason !== undefined) throw new JobAborted(reason);
  }

  completed(): void {
    this.progress();
  }

  progress(): void {
    if (!this.closed) this.engine.advance();
  }

  now(): number {
    return machineSeconds() - this.epoch;
  }

  takeRecords(): TransferRecord[] {
    return this.records.splice(0);
  }

  /** Completes what was submitted, and tells the other ranks that nothing more comes. MPI itself stays initialised. */
  close(): void {
    if (this.closed) return;
    this.waitUntil(() => this.engine.idle && this.groups.quiet);
    this.groups.goodbye();
    this.waitUntil(() => this.groups.quiet);
    this.closed = true;
    this.groups.close();
  }

  waitUntil(over: () => boolean): void {
    this.patience.reset();
    const began = this.now();
    let checked = began;
    while (!over()) {
      this.check();
      if (this.engine.advance()) {
        this.patience.reset();
        continue;
      }
      const now = this.now();
      if (now - checked > checkMilliseconds / 1000) {
        checked = now;
        this.engine.checkForMissing(this.stuckSeconds);
        if (now - began > 2 * this.stuckSeconds) {
          throw new CommunicationError(
            this.rank,
            `rank ${this.rank} has waited for ${Math.round(now - began)} s for events that no operation ends (do ` +
              'they come after an event that nobody completes?)',
          );
        }
      }
      this.patience.idle();
    }
  }

  private submit(operation: SubmittedOperation, label: string, group: Group): DeviceEvent {
    if (this.closed) throw new Error(`rank ${this.rank} submitted ${operation.kind} after closing its endpoint`);
    const event = this.device.events.create();
    this.device.announce(operation.after);
    const party: Party = {
      rank: this.rank,
      place: group.place,
      label,
      issued: -1,
      operation: { ...operation, event: event.id, label: 0 },
    };
    this.engine.submit(party, group);
    this.engine.advance();
    return event;
  }

  private ended(transfer: Transfer): void {
    const { party, ready, bytes } = transfer;
    this.device.events.finish(party.operation.event);
    if (this.options.trace !== true) return;
    const { issued, label, operation } = party;
    this.records.push({ event: operation.event, label, issued, ready, end: this.now(), bytes });
  }

  /** Rank 0 tells when the job began on its clock; ranks of other machines measure how far their clock is from it. */
  private synchronise(): { readonly epoch: number; readonly offset: ClockOffset } {
    const exact: ClockOffset = { seconds: 0, errorSeconds: 0 };
    const epoch = machineSeconds();
    const identity = new Uint8Array(new ArrayBuffer(identityBytes));
    identity.set(new TextEncoder().encode(clockIdentity()).subarray(0, identityBytes));
    if (this.rank === 0) {
      for (let other = 1; other < this.size; other++) {
        const asks = new Uint8Array(new ArrayBuffer(identityBytes));
        this.receiveNow(asks, other);
        this.sendNow(reading(epoch, asks.join() === identity.join() ? 1 : 0), other);
        if (asks.join() === identity.join()) continue;
        for (let round = 0; round < clockRounds; round++) {
          const asked = reading(0, 0);
          this.receiveNow(asked, other);
          this.sendNow(reading(machineSeconds(), 0), other);
        }
      }
      return { epoch, offset: exact };
    }
    this.sendNow(identity, 0);
    const answer = reading(0, 0);
    this.receiveNow(answer, 0);
    const [theirEpoch = 0, same = 0] = new Float64Array(answer.buffer);
    if (same === 1) return { epoch: theirEpoch, offset: exact };
    const samples = Array.from({ length: clockRounds }, () => {
      const asked = machineSeconds();
      this.sendNow(reading(0, 0), 0);
      this.receiveNow(answer, 0);
      const [theirs = 0] = new Float64Array(answer.buffer);
      return { asked, theirs, answered: machineSeconds() };
    });
    return { epoch: theirEpoch, offset: estimateOffset(samples) };
  }

  private sendNow(buffer: Uint8Array, peer: number): void {
    this.finishNow((done) => this.requests.send(buffer, peer, clockTag, done));
  }

  private receiveNow(buffer: Uint8Array, peer: number): void {
    this.finishNow((done) => this.requests.receive(buffer, peer, clockTag, done));
  }

  private finishNow(post: (done: () => void) => void): void {
    const state = { over: false };
    post(() => {
      state.over = true;
    });
    this.patience.reset();
    while (!state.over) {
      this.check();
      if (!this.requests.poll()) this.patience.idle();
    }
  }
}

function reading(seconds: number, second: number): Uint8Array {
  const buffer = new ArrayBuffer(clockBytes);
  new Float64Array(buffer).set([seconds, second]);
  return new Uint8Array(buffer);
}
