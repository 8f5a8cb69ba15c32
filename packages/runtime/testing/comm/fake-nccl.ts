/**
 * NCCL as far as the endpoint needs it, for ranks that are threads with cards of the test's making (`FakeCuda`): work
 * on streams that waits for all members' calls, then reads from their memory. Like NCCL it does not check that members
 * agree, and a communicator settles late.
 */
import koffi from 'koffi';
import { Random } from '@monta/core/units';
import { nccl, type NcclLibrary } from '#runtime/comm/nccl/bindings.js';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '#runtime/device/half.js';
import type { FakeCuda } from '../device/fake-cuda.js';

/** Names of calls that move data. */
const names = [
  'send',
  'receive',
  'allToAll',
  'allGather',
  'broadcast',
  'allReduce',
  'reduceScatter',
  'reduce',
] as const;
type Name = (typeof names)[number];

interface Call {
  readonly name: Name;
  readonly from: number;
  readonly to: number;
  readonly elements: number;
  readonly type: number;
  readonly reduction: number;
  /** Peer or root. */
  readonly peer: number;
}

const mostRanks = 16;
const mostCalls = 2 * mostRanks;
const callWords = 7;
const mostCommunicators = 512;
/** A member's counters: joined, posted, computed, done; then its calls. */
const counters = 4;
const [joined, posted, computed, done] = [0, 1, 2, 3] as const;
const memberNumbers = 1 + mostCalls * callWords;

/** What the fakes of one job share: counters, and calls with their addresses. */
export interface FakeNcclTable {
  readonly states: SharedArrayBuffer;
  readonly numbers: SharedArrayBuffer;
}

export function fakeNcclTable(): FakeNcclTable {
  return {
    states: new SharedArrayBuffer(4 * (1 + mostCommunicators * mostRanks * counters)),
    numbers: new SharedArrayBuffer(8 * mostCommunicators * mostRanks * memberNumbers),
  };
}

interface Communicator {
  readonly index: number;
  readonly place: number;
  readonly size: number;
  /** Operations put on the stream so far. */
  operations: number;
}

const { u8, f16, bf16 } = nccl.types;
const bytesOf = (type: number): number => (type === u8 ? 1 : type === f16 || type === bf16 ? 2 : 4);
const memory = (address: number, bytes: number): Uint8Array => new Uint8Array(koffi.view(BigInt(address), bytes));

function unused(): never {
  throw new Error('the endpoint does not call this');
}

export class FakeNccl {
  readonly #states: Int32Array;
  readonly #numbers: Float64Array;
  readonly #random: Random;
  readonly #communicators = new Map<number, Communicator>();
  #group: { readonly call: Call; readonly communicator: number; readonly stream: number }[] = [];
  /** Communicators made and not destroyed. */
  open = 0;

  constructor(
    private readonly cuda: FakeCuda,
    table: FakeNcclTable,
    seed: number,
  ) {
    this.#states = new Int32Array(table.states);
    this.#numbers = new Float64Array(table.numbers);
    this.#random = new Random(seed);
  }

  /** `newest`: has an all_to_all of its own. */
  library(newest: boolean): NcclLibrary {
    const add =
      (name: Name) =>
      (from: number, to: number, elements: number, type: number, communicator: number, stream: number): void =>
        this.#add({ name, from, to, elements, type, reduction: 0, peer: 0 }, communicator, stream);
    const reduce =
      (name: Name) =>
      (from: number, to: number, elements: number, type: number, reduction: number, ...at: [number, number]): void =>
        this.#add({ name, from, to, elements, type, reduction, peer: 0 }, ...at);
    const give = (): void => void this.open--;
    return {
      version: () => (newest ? 22809 : 21805),
      uniqueId: () => {
        const identity = new Uint8Array(128);
        new Int32Array(identity.buffer)[0] = Atomics.add(this.#states, 0, 1);
        return identity;
      },
      join: ({ rank, size }, identity) => {
        const index = new Int32Array(identity.slice().buffer)[0];
        if (index >= mostCommunicators) throw new Error('more communicators than the test has room for');
        this.open += 1;
        this.#communicators.set(index + 1, { index, place: rank, size, operations: 0 });
        Atomics.store(this.#states, this.#at(index, rank, joined), 1);
        return index + 1;
      },
      settled: (communicator) => {
        const { index, size } = this.#of(communicator);
        return this.#all(index, size, joined, 1) && this.#random.uniform() < 0.5;
      },
      ncclGroupStart: () => undefined,
      ncclGroupEnd: () => this.#issue(),
      ncclSend: (from, elements, type, peer, communicator, stream) =>
        this.#add({ name: 'send', from, to: 0, elements, type, reduction: 0, peer }, communicator, stream),
      ncclRecv: (to, elements, type, peer, communicator, stream) =>
        this.#add({ name: 'receive', from: 0, to, elements, type, reduction: 0, peer }, communicator, stream),
      ncclAlltoAll: add('allToAll'),
      ncclAllGather: add('allGather'),
      ncclBroadcast: (from, to, elements, type, peer, communicator, stream) =>
        this.#add({ name: 'broadcast', from, to, elements, type, reduction: 0, peer }, communicator, stream),
      ncclAllReduce: reduce('allReduce'),
      ncclReduceScatter: reduce('reduceScatter'),
      ncclReduce: (from, to, elements, type, reduction, peer, communicator, stream) =>
        this.#add({ name: 'reduce', from, to, elements, type, reduction, peer }, communicator, stream),
      ncclCommFinalize: () => undefined,
      ncclCommDestroy: give,
      ncclCommAbort: give,
      ncclGetVersion: unused,
      ncclGetUniqueId: unused,
      ncclCommGetAsyncError: unused,
    };
  }

  #of(communicator: number): Communicator {
    const known = this.#communicators.get(communicator);
    if (known === undefined) throw new Error(`no communicator ${communicator}`);
    return known;
  }

  #at(index: number, place: number, counter: number): number {
    return 1 + (index * mostRanks + place) * counters + counter;
  }

  /** Whether all members have come to `value` at a counter. */
  #all(index: number, size: number, counter: number, value: number): boolean {
    return Array.from({ length: size }).every(
      (_, place) => Atomics.load(this.#states, this.#at(index, place, counter)) >= value,
    );
  }

  #add(call: Call, communicator: number, stream: number): void {
    this.#group.push({ call, communicator, stream });
  }

  /** Puts the group on its stream. */
  #issue(): void {
    const group = this.#group;
    this.#group = [];
    const [first] = group;
    if (first === undefined) return;
    const communicator = this.#of(first.communicator);
    const number = ++communicator.operations;
    const calls = group.map(({ call }) => call);
    const { index, place, size } = communicator;
    let stage: 'posting' | 'computing' | 'writing' = 'posting';
    let outputs: (() => void)[] = [];
    const reach = (counter: number): void => void Atomics.store(this.#states, this.#at(index, place, counter), number);
    const run = (): boolean => {
      if (stage === 'posting') {
        if (!this.#all(index, size, done, number - 1)) return false;
        this.#post(index, place, calls);
        reach(posted);
        stage = 'computing';
      }
      if (stage === 'computing') {
        if (!this.#all(index, size, posted, number)) return false;
        const all = Array.from({ length: size }, (_, member) => this.#posted(index, member));
        outputs = calls.map((call, which) => this.#compute(call, which, place, all));
        reach(computed);
        stage = 'writing';
      }
      // In place, a result would overwrite what others still read.
      if (!this.#all(index, size, computed, number)) return false;
      for (const write of outputs) write();
      reach(done);
      return true;
    };
    const work = this.cuda.streams.get(first.stream);
    if (work === undefined) throw new Error(`stream ${first.stream} does not exist`);
    work.push({ run });
  }

  #post(index: number, place: number, calls: readonly Call[]): void {
    if (calls.length > mostCalls) throw new Error(`${calls.length} calls in a group`);
    const start = (index * mostRanks + place) * memberNumbers;
    this.#numbers[start] = calls.length;
    calls.forEach(({ name, from, to, elements, type, reduction, peer }, which) =>
      this.#numbers.set(
        [names.indexOf(name), from, to, elements, type, reduction, peer],
        start + 1 + which * callWords,
      ),
    );
  }

  #posted(index: number, place: number): Call[] {
    const start = (index * mostRanks + place) * memberNumbers;
    return Array.from({ length: this.#numbers[start] }, (_, which) => {
      const at = start + 1 + which * callWords;
      const [name, from, to, elements, type, reduction, peer] = this.#numbers.subarray(at, at + callWords);
      return { name: names[name], from, to, elements, type, reduction, peer };
    });
  }

  /** Reads what a call needs from all members; what is returned writes its result. */
  #compute(call: Call, which: number, place: number, all: readonly (readonly Call[])[]): () => void {
    const { name, to, elements, type, peer } = call;
    const bytes = elements * bytesOf(type);
    const same = all.map((calls) => calls.at(which) ?? call);
    const copy = (from: number, into: number): (() => void) => {
      const taken = memory(from, bytes).slice();
      return () => memory(into, bytes).set(taken);
    };
    switch (name) {
      case 'send':
        return () => undefined;
      case 'receive': {
        const sends = (all[peer] ?? []).filter((one) => one.name === 'send' && one.peer === place);
        const earlier = (all[place] ?? []).slice(0, which).filter((one) => one.name === 'receive' && one.peer === peer);
        const send = sends.at(earlier.length);
        if (send === undefined) throw new Error('nobody sends what is received');
        return copy(send.from, to);
      }
      case 'allToAll':
        return join(same.map(({ from }, member) => copy(from + place * bytes, to + member * bytes)));
      case 'allGather':
        return join(same.map(({ from }, member) => copy(from, to + member * bytes)));
      case 'broadcast':
        return copy(same[peer]?.from ?? 0, to);
      case 'allReduce':
        return this.#reduce(call, same, 0);
      case 'reduceScatter':
        return this.#reduce(call, same, place * bytes);
      case 'reduce':
        return peer === place ? this.#reduce(call, same, 0) : () => undefined;
    }
  }

  /** From the last member to the first: in a fixed order, not that of the ranks. */
  #reduce({ to, elements, type, reduction }: Call, same: readonly Call[], offset: number): () => void {
    const size = bytesOf(type) * elements;
    const { read, write } = elementsOf(type);
    const rows = same.map(({ from }) => read(memory(from + offset, size).slice().buffer)).reverse();
    const [total = [], ...others] = rows;
    for (const row of others)
      for (let i = 0; i < elements; i++) {
        const [a, b] = [total[i] ?? 0, row[i] ?? 0];
        total[i] = reduction === nccl.reductions.max ? Math.max(a, b) : a + b;
      }
    return () => memory(to, size).set(new Uint8Array(write(total)));
  }
}

/** How numbers of a type are read from bytes and rounded to them. */
function elementsOf(type: number): {
  readonly read: (bytes: ArrayBuffer) => ArrayLike<number> & { [index: number]: number };
  readonly write: (values: ArrayLike<number>) => ArrayBuffer;
} {
  if (type === f16 || type === bf16) {
    const [from, to] = type === bf16 ? [fromBfloat16, toBfloat16] : [fromFloat16, toFloat16];
    return {
      read: (bytes) => Array.from(new Uint16Array(bytes), from),
      write: (values) => Uint16Array.from(values, to).buffer,
    };
  }
  const make = type === nccl.types.f32 ? Float32Array : Int32Array;
  return { read: (bytes) => new make(bytes), write: (values) => make.from(values).buffer };
}

function join(writes: readonly (() => void)[]): () => void {
  return () => {
    for (const write of writes) write();
  };
}
