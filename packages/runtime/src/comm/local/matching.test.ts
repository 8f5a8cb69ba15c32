import { describe, expect, it } from 'vitest';
import { CommunicationError } from '../communication-error.js';
import type { Operation } from '../operation.js';
import { Matching, type ReadyOperation } from './matching.js';
import { operationOf } from '../../../testing/comm/turned-clock.js';

const buffer = { byteOffset: 0, length: 8 };
const operation = (changes: Partial<Operation>): Operation =>
  operationOf({ send: buffer, receive: buffer, ...changes });

/** A matching among `size` ranks that are all members of one communicator, and what it has started. */
function world(size: number): { matching: Matching; started: ReadyOperation[]; done: Set<string> } {
  const started: ReadyOperation[] = [];
  const done = new Set<string>();
  const matching = new Matching(size, {
    eventDone: (rank, event) => done.has(`${rank}:${event}`),
    now: () => 0,
    start: (ready) => started.push(ready),
  });
  const members = Array.from({ length: size }, (_, rank) => rank);
  for (const rank of members)
    matching.submit(rank, { what: 'communicator', id: 0, name: 'tp', lane: 'intra', members });
  return { matching, started, done };
}

function submit(matching: Matching, rank: number, changes: Partial<Operation>): void {
  matching.submit(rank, { what: 'operation', operation: operation(changes) });
  matching.advance();
}

const int = (...counts: number[]): Int32Array => Int32Array.from(counts);

describe('mismatches between ranks 0 and 1', () => {
  const cases: [string, Partial<Operation>, Partial<Operation>, RegExp][] = [
    ['kind', {}, { kind: 'barrier' }, /rank 0 submitted all_reduce, rank 1 barrier/],
    ['type', {}, { type: 'i32' }, /element type f32 on rank 0, i32 on rank 1/],
    ['reduction', {}, { reduction: 'max' }, /reduction sum on rank 0, max on rank 1/],
    ['length', {}, { send: { byteOffset: 0, length: 9 } }, /8 elements on rank 0, 9 on rank 1/],
    ['root', { kind: 'broadcast' }, { kind: 'broadcast', peer: 1 }, /root 0 on rank 0, root 1 on rank 1/],
    [
      'gathered counts',
      { kind: 'all_gather', counts: int(4, 5) },
      { kind: 'all_gather', counts: int(4, 6) },
      /block 1 has 5 elements on rank 0, 6 on rank 1/,
    ],
    [
      'exchanged counts',
      { kind: 'all_to_all', counts: int(1, 2), receiveCounts: int(1, 3) },
      { kind: 'all_to_all', counts: int(3, 1), receiveCounts: int(7, 1) },
      /rank 0 sends 2 elements to rank 1, which expects 7/,
    ],
    [
      'message length',
      { kind: 'send', peer: 1 },
      { kind: 'receive', peer: 0, receive: { byteOffset: 0, length: 9 } },
      /rank 0 sends 8 elements to rank 1, which receives 9/,
    ],
  ];
  it.each(cases)('%s', (_, first, second, message) => {
    const { matching } = world(2);
    submit(matching, 0, first);
    expect(() => submit(matching, 1, second)).toThrow(message);
    expect(() => submit(world(2).matching, 0, first)).not.toThrow();
  });

  it('are reported with communicator, operation and labels', () => {
    const { matching } = world(2);
    for (const rank of [0, 1]) matching.submit(rank, { what: 'label', id: 1, text: `of ${rank}` });
    submit(matching, 0, { label: 1 });
    const expected = new CommunicationError(
      1,
      'mismatch on communicator intra/tp, operation 0: rank 0 submitted all_reduce, rank 1 barrier (rank 0: ' +
        'all_reduce "of 0"; rank 1: barrier "of 1")',
    );
    expect(() => submit(matching, 1, { label: 1, kind: 'barrier' })).toThrow(expected);
  });
});

describe('order', () => {
  it('starts an operation when all have issued it, and the next of a rank when its own part has ended', () => {
    const { matching, started } = world(2);
    for (const sequence of [0, 1]) submit(matching, 0, { sequence });
    expect(started).toHaveLength(0);
    for (const sequence of [0, 1]) submit(matching, 1, { sequence });
    expect(started).toHaveLength(1);
    const [zero, one] = started[0].parties;
    matching.end(zero);
    matching.advance();
    expect(started).toHaveLength(1);
    matching.end(one);
    matching.advance();
    expect(started).toHaveLength(2);
    for (const party of started[1].parties) matching.end(party);
    expect(matching.idle).toBe(true);
  });

  it('issues only when the events that it comes after are done', () => {
    const { matching, started, done } = world(2);
    submit(matching, 0, { after: [3, 4] });
    submit(matching, 1, {});
    done.add('0:3');
    matching.advance();
    expect([...matching.pending()]).toMatchObject([{ missing: [], unissued: [0], present: [1] }]);
    done.add('0:4');
    matching.advance();
    expect(started).toHaveLength(1);
  });

  it('lets messages of different pairs and directions pass each other, and collectives', () => {
    const { matching, started } = world(3);
    submit(matching, 0, { kind: 'barrier' });
    submit(matching, 0, { kind: 'send', peer: 1 });
    submit(matching, 0, { kind: 'receive', peer: 2 });
    submit(matching, 2, { kind: 'send', peer: 0 });
    submit(matching, 1, { kind: 'receive', peer: 0 });
    const pairs = started.map(({ parties }) => parties.map(({ rank }) => rank));
    expect(pairs).toEqual([
      [2, 0],
      [0, 1],
    ]);
    expect([...matching.pending()]).toMatchObject([{ missing: [1, 2], present: [0] }]);
  });
});
