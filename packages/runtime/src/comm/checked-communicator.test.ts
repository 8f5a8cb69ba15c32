import { describe, expect, it } from 'vitest';
import { CpuDevice } from '../device/cpu/cpu-device.js';
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
