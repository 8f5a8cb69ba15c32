import { describe, expect, it } from 'vitest';
import { CpuDevice } from '../device/cpu/cpu-device.js';
import type { ElementType } from '../device/view.js';
import type { Endpoint } from './communicator.js';
import { CheckedCommunicator, cpuReduces, type SubmittedOperation } from './checked-communicator.js';
import { Communicators } from './communicators.js';

function communicator(backend: Endpoint['backend'], submitted: SubmittedOperation[] = []): CheckedCommunicator {
  return new CheckedCommunicator({
    backend,
    name: 'tp 4 5',
    id: 3,
    members: [4, 5],
    rank: 5,
    memory: { bytes: () => 1024 },
    reduces: cpuReduces,
    submit: (operation) => {
      submitted.push(operation);
      return { id: 0 };
    },
  });
}

describe('what is wrong with a submission is said before it leaves the rank', () => {
  it.each(['local', 'mpi'] as const)('names the backend that runs, here %s', (backend) => {
    const halves = { type: 'bf16', byteOffset: 0, length: 8 } as const;
    expect(() => communicator(backend).allReduce(halves)).toThrow(
      `all_reduce on communicator tp 4 5, rank 5: the ${backend} backend reduces f32 and i32, not bf16`,
    );
  });

  it('numbers collectives and the messages of each pair and direction apart', () => {
    const submitted: SubmittedOperation[] = [];
    const group = communicator('local', submitted);
    const view = { type: 'f32', byteOffset: 0, length: 4 } as const;
    group.send(view, 0);
    group.allReduce(view);
    group.send(view, 0);
    group.receive(view, 0);
    group.barrier();
    expect(submitted.map(({ kind, sequence }) => `${kind} ${sequence}`)).toEqual([
      'send 0',
      'all_reduce 0',
      'send 1',
      'receive 0',
      'barrier 1',
    ]);
  });

  const at = (byteOffset: number, length: number, type: ElementType = 'f32') => ({ type, byteOffset, length });
  const counts = (...of: number[]) => Int32Array.from(of);
  const wrong: readonly (readonly [said: RegExp, submit: (on: CheckedCommunicator) => unknown])[] = [
    [/5 elements do not split into 2 blocks/, (on) => on.allToAll(at(0, 5), at(64, 5))],
    [/send has 4 elements, receive 6/, (on) => on.allToAll(at(0, 4), at(64, 6))],
    [/send and receive have types f32 and i32/, (on) => on.allToAll(at(0, 4), at(64, 4, 'i32'))],
    [/send and receive overlap/, (on) => on.allToAll(at(0, 4), at(12, 4))],
    [/send and receive overlap/, (on) => on.allGather(at(0, 4), at(0, 8))],
    [/send and receive overlap/, (on) => on.reduceScatter(at(0, 8), at(0, 4))],
    [
      /this rank contributes 3 elements, send has 2/,
      (on) => on.allGather(at(0, 2), at(64, 4), { counts: counts(1, 3) }),
    ],
    [
      /this rank gets 3 elements, receive has 2/,
      (on) => on.reduceScatter(at(0, 4), at(64, 2), { counts: counts(1, 3) }),
    ],
    [/7 elements do not split/, (on) => on.reduceScatter(at(0, 7), at(64, 4))],
    [/receive has 3 counts for 2 members/, (on) => on.allGather(at(0, 4), at(64, 9), { counts: counts(3, 3, 3) })],
    [
      /send counts must not be negative, got 2 -1/,
      (on) => on.allToAllV({ view: at(0, 4), counts: counts(2, -1) }, { view: at(64, 4), counts: counts(2, 2) }),
    ],
    [
      /receive counts sum to 5, the view has 4 elements/,
      (on) => on.allToAllV({ view: at(0, 4), counts: counts(2, 2) }, { view: at(64, 4), counts: counts(2, 3) }),
    ],
    [/place 2 is not in the group of 2/, (on) => on.broadcast(at(0, 4), 2)],
    [/place -1 is not in the group of 2/, (on) => on.receive(at(0, 4), -1)],
    [/byte offset 2 is not a multiple of 4/, (on) => on.send(at(2, 4), 0)],
  ];

  it.each(wrong)('%s', (said, submit) => {
    const submitted: SubmittedOperation[] = [];
    expect(() => submit(communicator('local', submitted))).toThrow(said);
    expect(submitted).toEqual([]);
  });

  it('takes what lies side by side, what is empty, and the own block in its place', () => {
    const submitted: SubmittedOperation[] = [];
    const group = communicator('local', submitted);
    group.allToAll(at(0, 4), at(16, 4));
    group.allToAll(at(16, 4), at(0, 4));
    group.allToAll(at(0, 0), at(0, 0));
    // This rank is the second of the group.
    group.allGather(at(16, 4), at(0, 8));
    group.reduceScatter(at(0, 8), at(16, 4));
    group.reduceScatter(at(0, 8), at(20, 3), { counts: counts(5, 3) });
    expect(submitted).toHaveLength(6);
  });

  it('refuses views outside the memory', () => {
    expect(() => communicator('mpi').allReduce({ type: 'f32', byteOffset: 1000, length: 7 })).toThrow(
      /lies outside the rank's memory of 1024 bytes/,
    );
  });
});

describe('communicators of a rank', () => {
  it('are made once, and refuse members that make no sense or differ', () => {
    const table = new Communicators(5, 8);
    const inter = CpuDevice.create({ bytes: 0 }).queue('inter');
    let made = 0;
    const get = (members: readonly number[]): unknown =>
      table.get(inter, 'tp', members, (title) => {
        expect(title).toBe('inter/tp');
        made += 1;
        return communicator('local');
      });
    expect(get([4, 5])).toBe(get([4, 5]));
    expect(made).toBe(1);
    expect(() => get([5, 6])).toThrow(/exists on rank 5 with members 4 5; it cannot be made again with 5 6/);
    const fresh = new Communicators(5, 8);
    for (const members of [[4], [5, 5], [5, 8], [5, -1], [5, 1.5]])
      expect(() => fresh.get(inter, 'tp', members, () => communicator('local'))).toThrow(/different ranks of 0\.\.7/);
  });
});
