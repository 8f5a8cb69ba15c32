/** Conformance cases: queues, events and lanes. */
import type { Communicator } from '#runtime/comm/communicator.js';
import type { DeviceEvent } from '#runtime/device/device.js';
import type { ConformanceCase, ConformanceContext } from './conformance-cases.js';
import {
  blank,
  dawdle,
  expectEqual,
  expectReduced,
  filled,
  hash,
  range,
  value,
  values,
  waitAll,
  world,
} from './conformance-helpers.js';

/** An operation reads its buffer only after the event it waits for. */
function waitsForEvent(context: ConformanceContext): void {
  const { endpoint, device } = context;
  const group = world(context);
  const send = blank(context, 'f32', 8);
  const receive = blank(context, 'f32', 8 * group.size);
  const written = device.createEvent();
  const gathered = group.allGather(send, receive, { after: [written], label: 'after the write' });
  dawdle(endpoint, group.rank);
  if (device.query(gathered)) throw new Error('an operation ended before the event that it waits for');
  context.write(send, values('f32', 8, group.rank, 9));
  device.complete(written);
  device.wait(gathered);
  if (!device.query(gathered) || !device.query(written)) throw new Error('an event became undone');
  expectEqual(
    context,
    'gather after an event',
    receive,
    range(group.size).flatMap((j) => values('f32', 8, j, 9)),
  );
}

/** Operations on different lanes that depend on each other, submitted at once. */
function chainsAcrossLanes(context: ConformanceContext): void {
  const [inter, intra] = [world(context, 'inter'), world(context, 'intra')];
  const { rank, size } = inter;
  let current = filled(context, 'i32', values('i32', size * 4, rank));
  let last: DeviceEvent[] = [];
  for (const step of range(10)) {
    const target = blank(context, 'i32', size * 4);
    last = [(step % 2 === 0 ? inter : intra).allToAll(current, target, { after: last, label: `step ${step}` })];
    current = target;
  }
  waitAll(context.device, last);
  // All_to_all is a transposition: an even number of them restores what there was.
  expectEqual(context, 'ten transpositions', current, values('i32', size * 4, rank));
}

/** A lane whose head waits for an event does not hold up another lane of the same group. */
function lanesAreIndependent(context: ConformanceContext): void {
  const { device } = context;
  const [blocked, free] = [world(context, 'inter'), world(context, 'intra')];
  const gate = device.createEvent();
  const slow = filled(context, 'f32', values('f32', 10, blocked.rank, 1));
  const fast = filled(context, 'f32', values('f32', 10, blocked.rank, 2));
  const held = blocked.allReduce(slow, { after: [gate] });
  device.wait(free.allReduce(fast));
  if (device.query(held)) throw new Error('an operation ended before the event that it waits for');
  expectReduced(
    context,
    'the free lane',
    fast,
    'sum',
    range(free.size).map((j) => values('f32', 10, j, 2)),
  );
  device.complete(gate);
  device.wait(held);
  expectReduced(
    context,
    'the blocked lane',
    slow,
    'sum',
    range(free.size).map((j) => values('f32', 10, j, 1)),
  );
}

/** Operations of one communicator keep their order even when only the first waits. */
function keepsOrder(context: ConformanceContext): void {
  const { endpoint, device } = context;
  const group = world(context);
  const gate = device.createEvent();
  const buffer = filled(context, 'i32', [group.rank + 1]);
  const sum = (group.size * (group.size + 1)) / 2;
  const first = group.allReduce(buffer, { after: [gate] });
  const second = group.allReduce(buffer);
  dawdle(endpoint, 2);
  if (device.query(second)) throw new Error('an operation overtook the one before it');
  device.complete(gate);
  waitAll(device, [second]);
  if (!device.query(first)) throw new Error('the second of two operations ended first');
  expectEqual(context, 'two sums in a row', buffer, [sum * group.size]);
}

function manyOutstanding(context: ConformanceContext): void {
  const group = world(context);
  const results = range(300).map((round) => {
    const send = filled(context, 'i32', values('i32', group.size * 2, group.rank, round));
    const receive = blank(context, 'i32', group.size * 2);
    return { round, receive, event: group.allToAll(send, receive, { label: `round ${round % 10}` }) };
  });
  for (const { round, receive, event } of results) {
    context.device.wait(event);
    const expected = range(group.size).flatMap((j) =>
      range(2).map((index) => value('i32', group.rank * 2 + index, j, round)),
    );
    expectEqual(context, `round ${round} of many`, receive, expected);
  }
}

const unrounded = (member: number): number[] => values('f32', 500, member, 4);

/** The same sum in runs in which ranks arrive in different orders, compared bit by bit between members and runs. */
function sumsAreDeterministic(context: ConformanceContext): void {
  const { endpoint, device } = context;
  const group = world(context);
  let before: number[] | undefined;
  for (const run of range(5)) {
    const buffer = filled(context, 'f32', unrounded(group.rank));
    dawdle(endpoint, hash(group.rank, run) % 3);
    device.wait(group.allReduce(buffer));
    expectReduced(context, 'all_reduce', buffer, 'sum', range(group.size).map(unrounded));
    const sums = context.read(buffer);
    before ??= sums;
    const same = before.every((sum, index) => Object.is(sum, sums[index]));
    if (!same) throw new Error(`run ${run} gave other sums than the run before`);
    const everyone = blank(context, 'f32', 500 * group.size);
    device.wait(group.allGather(buffer, everyone));
    expectEqual(
      context,
      'the sums of all members',
      everyone,
      range(group.size).flatMap(() => sums),
    );
  }
}

/** Several groups on several lanes at once, in an order of submission that differs between ranks. */
function manyGroupsAtOnce(context: ConformanceContext): void {
  const { endpoint, device } = context;
  const { rank, size } = endpoint;
  const all = range(size);
  const half = all.filter((other) => Math.floor((other * 2) / size) === Math.floor((rank * 2) / size));
  const parity = all.filter((other) => other % 2 === rank % 2);
  const groups = (
    [
      ['world', all, 'inter'],
      ['world', all, 'intra'],
      ['world', all, 'copy'],
      ['half', half, 'intra'],
      ['half', half, 'inter'],
      ['parity', parity, 'inter'],
    ] as const
  ).map(([name, members, lane]) => endpoint.communicator(name, members, device.queue(lane)));
  const rounds = groups.map(() => 0);
  const checks: (() => void)[] = [];
  const events: DeviceEvent[] = [];
  const submit = (group: Communicator, which: number, round: number): void => {
    const contribution = (place: number): number[] =>
      values('f32', 20 + round, group.members[place] ?? -1, which, round);
    const own = filled(context, 'f32', contribution(group.rank));
    if (round % 2 === 0) {
      events.push(group.allReduce(own));
      checks.push(() => expectReduced(context, 'all_reduce', own, 'sum', range(group.size).map(contribution)));
    } else {
      const receive = blank(context, 'f32', own.length * group.size);
      events.push(group.allGather(own, receive));
      checks.push(() => expectEqual(context, 'all_gather', receive, range(group.size).flatMap(contribution)));
    }
  };
  for (let step = 0; checks.length < groups.length * 8; step++) {
    const which = hash(rank, step) % groups.length;
    const round = rounds[which] ?? 0;
    const group = groups[which];
    if (round === 8 || group === undefined) continue;
    rounds[which] = round + 1;
    submit(group, which, round);
  }
  waitAll(device, events);
  for (const check of checks) check();
}

function waitsForAny(context: ConformanceContext): void {
  const { device } = context;
  const group = world(context);
  const never = device.createEvent();
  const barrier = group.barrier();
  device.waitAny([never, barrier]);
  if (device.query(never) || !device.query(barrier)) throw new Error('waitAny returned without a reason');
  device.complete(never);
  device.waitAny([barrier, never]);
  device.waitAny([]);
}

/** A rank that is late delays an operation, not its own memory: the early ranks' other lanes go on. */
function lateMember(context: ConformanceContext): void {
  const { endpoint, device } = context;
  const group = world(context);
  for (const late of range(Math.min(3, group.size))) {
    if (group.rank === late) dawdle(endpoint, 4);
    const buffer = filled(context, 'f32', values('f32', 64, group.rank, late));
    device.wait(group.allReduce(buffer));
    expectReduced(
      context,
      `rank ${late} late`,
      buffer,
      'sum',
      range(group.size).map((j) => values('f32', 64, j, late)),
    );
  }
}

export const orderCases: readonly ConformanceCase[] = [
  { name: 'an operation waits for the event it comes after', run: waitsForEvent },
  { name: 'operations chained across lanes', run: chainsAcrossLanes },
  { name: 'a blocked lane does not block another', run: lanesAreIndependent },
  { name: 'operations of one communicator keep their order', run: keepsOrder },
  { name: 'hundreds of outstanding operations', run: manyOutstanding },
  { name: 'sums are the same bits everywhere and always', run: sumsAreDeterministic },
  { name: 'many groups and lanes at once', run: manyGroupsAtOnce },
  { name: 'waiting for any of several events', run: waitsForAny },
  { name: 'a late member', run: lateMember },
];
