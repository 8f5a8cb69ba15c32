/**
 * Timed transfers of a probe: every rank runs the same list of experiments and learns the same times, so that all
 * decide alike what comes next.
 */
import type { MeasuredOp } from '@monta/core';
import type { Communicator } from '../comm/communicator.js';
import type { DeviceEvent } from '../device/device.js';
import { readFloats } from '../device/host-array.js';
import { part, type View } from '../device/view.js';
import type { RankContext } from '../launch/index.js';
import { maxOf } from '@monta/core/units';
import { checkOf, countWrong } from './collective-check.js';

/** Collectives that start together. Ranks of no group only take part in the barrier before. */
export interface Experiment {
  readonly op: MeasuredOp;
  /** Global ranks; of `send` and `broadcast` the first sends. */
  readonly groups: readonly (readonly number[])[];
  /** Total buffer of each group, as nccl-tests counts it; rounded up to whole elements on every rank. */
  readonly bytes: number;
  /** That they run on; `inter` unless given. */
  readonly lane?: string;
}

const elementBytes = 4;
/** Offsets up to this are exact to a quarter of a microsecond in float32. */
const recentSeconds = 4;
/** Below any offset of a clock, exact in float32. */
const nothing = -1e9;

/** Bytes that an experiment of `ranks` ranks really takes for a wish. */
export function wholeBytes(bytes: number, ranks: number): number {
  const unit = elementBytes * ranks;
  return Math.max(unit, Math.ceil(bytes / unit) * unit);
}

export class Laboratory {
  readonly #world: Communicator;
  readonly #send: View;
  readonly #receive: View;
  readonly #times: View;
  #count = 0;
  #base = 0;
  /** Latest offset from the base that all ranks know of. */
  #offset = Infinity;

  constructor(
    private readonly context: RankContext,
    readonly repetitions: number,
    /** Largest total buffer of an experiment. */
    readonly maximumBytes: number,
  ) {
    const { endpoint, size, device } = context;
    this.#world = endpoint.communicator(
      'probe',
      Array.from({ length: size }, (_, rank) => rank),
      device.queue('inter'),
    );
    this.#send = device.allocate('f32', maximumBytes / elementBytes);
    this.#receive = device.allocate('f32', maximumBytes / elementBytes);
    this.#times = device.allocate('f32', 2 * repetitions + 1);
  }

  /** Waits for all ranks. */
  barrier(): void {
    this.context.device.wait(this.#world.barrier());
  }

  /**
   * Seconds from the moment when all groups could start to the end of the last, for every repetition; the same on all
   * ranks. Times are the backend's own (its records), so that a rank that is slow to wake does not count.
   */
  run(experiment: Experiment): number[] {
    const { endpoint, device } = this.context;
    const base = this.#agreeOnSecond();
    const values = new Float32Array(2 * this.repetitions).fill(nothing);
    endpoint.takeRecords();
    for (let repetition = 0; repetition < this.repetitions; repetition++) {
      const label = `probe ${(this.#count += 1)}`;
      // They all come after one barrier whose end the backend itself sees, so that they start together.
      const start = this.#world.barrier();
      const events = this.#submit(experiment, label, start);
      device.wait(start);
      for (const event of events) device.wait(event);
      for (const record of this.#records(label, events.length)) {
        values[2 * repetition] = Math.max(values[2 * repetition] ?? 0, record.end - base);
        values[2 * repetition + 1] = Math.max(values[2 * repetition + 1] ?? 0, base - record.ready);
      }
    }
    const agreed = this.#maximum(values);
    this.#offset = maxOf(agreed);
    return Array.from({ length: this.repetitions }, (_, i) => (agreed[2 * i] ?? 0) + (agreed[2 * i + 1] ?? 0));
  }

  /**
   * Runs an experiment once while the rank does something else until it is done; seconds of the rank's own part,
   * undefined for ranks outside.
   */
  beside(experiment: Experiment, work: (done: () => boolean) => void): number | undefined {
    const { endpoint, device } = this.context;
    endpoint.takeRecords();
    const label = `probe ${(this.#count += 1)}`;
    const start = this.#world.barrier();
    const events = this.#submit(experiment, label, start);
    device.wait(start);
    work(() => events.every((event) => device.query(event)));
    for (const event of events) device.wait(event);
    const [record] = this.#records(label, events.length);
    return record === undefined ? undefined : record.end - record.ready;
  }

  /** Runs an experiment once on known numbers; how many of the elements looked at are wrong, of all ranks. */
  wrong(experiment: Experiment): number {
    const { device, rank } = this.context;
    const { op, groups, bytes } = experiment;
    const members = groups.find((one) => one.includes(rank));
    let wrong = 0;
    if (members !== undefined) {
      const size = members.length;
      const total = wholeBytes(bytes, size) / elementBytes;
      const check = checkOf(op, { place: members.indexOf(rank), size, total });
      device.write(part(this.#send, 0, total), check.given);
      const label = `check ${(this.#count += 1)}`;
      for (const event of this.#submit(experiment, label, this.#world.barrier())) device.wait(event);
      const result = check.inPlace ? this.#send : this.#receive;
      wrong = countWrong(check, (start, length) => readFloats(device, part(result, start, length)));
    } else device.wait(this.#world.barrier());
    return this.#agree(Float32Array.of(wrong), 'sum')[0] ?? 0;
  }

  /** Whether it holds on any rank; the same answer on all. */
  any(holds: boolean): boolean {
    return this.#maximum(Float32Array.of(holds ? 1 : 0))[0] === 1;
  }

  /** Of every rank's values, on all ranks. */
  #agree(values: Float32Array, reduction: 'max' | 'sum'): Float32Array {
    const { device } = this.context;
    const view = part(this.#times, 0, values.length);
    device.write(view, values);
    device.wait(this.#world.allReduce(view, { reduction }));
    return readFloats(device, view);
  }

  #maximum(values: Float32Array): Float32Array {
    return this.#agree(values, 'max');
  }

  /**
   * A whole second of the shared clock, close enough that offsets from it are fine in float32. Asked anew only now and
   * then.
   */
  #agreeOnSecond(): number {
    if (this.#offset < recentSeconds) return this.#base;
    this.#base = this.#maximum(Float32Array.of(Math.floor(this.context.endpoint.now())))[0] ?? 0;
    return this.#base;
  }

  #submit({ op, groups, bytes, lane = 'inter' }: Experiment, label: string, start: DeviceEvent): DeviceEvent[] {
    const { endpoint, device, rank } = this.context;
    return groups
      .filter((members) => members.includes(rank))
      .map((members) => {
        const group = endpoint.communicator(`probe ${members.join(' ')}`, members, device.queue(lane));
        const n = members.length;
        const total = wholeBytes(bytes, n) / elementBytes;
        const share = total / n;
        const whole = part(this.#send, 0, total);
        const options = { after: [start], label };
        switch (op) {
          case 'all_to_all':
            return group.allToAll(whole, part(this.#receive, 0, total), options);
          case 'all_gather':
            return group.allGather(part(this.#send, 0, share), part(this.#receive, 0, total), options);
          case 'reduce_scatter':
            return group.reduceScatter(whole, part(this.#receive, 0, share), options);
          case 'all_reduce':
            return group.allReduce(whole, options);
          case 'broadcast':
            return group.broadcast(whole, 0, options);
          case 'send':
            return group.rank === 0 ? group.send(whole, 1, options) : group.receive(whole, 0, options);
        }
      });
  }

  /** Records may come a moment after the event. */
  #records(label: string, count: number): { readonly ready: number; readonly end: number }[] {
    const { endpoint } = this.context;
    const found = [];
    for (let attempt = 0; found.length < count && attempt < 1000; attempt++) {
      for (const record of endpoint.takeRecords()) if (record.label === label) found.push(record);
      if (found.length < count) Atomics.wait(pause, 0, 0, 1);
    }
    if (found.length < count) throw new Error('the backend gave no record of an operation that ended');
    return found;
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));
