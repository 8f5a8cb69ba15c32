/** Conformance cases: every collective gives the right values, for all shapes of counts and groups. */
import type { Communicator } from '#runtime/comm/communicator.js';
import { toBfloat16, toFloat16 } from '#runtime/device/half.js';
import type { ConformanceCase, ConformanceContext } from './conformance-cases.js';
import {
  background,
  blank,
  expectEqual,
  expectReduced,
  filled,
  range,
  transportedTypes,
  value,
  values,
  waitAll,
  world,
} from './conformance-helpers.js';

/** Elements that member i sends to member j: small, with many zeros. */
const variable = (i: number, j: number): number => [0, 3, 1, 0, 8, 5, 2][(i * 5 + j * 3) % 7] ?? 0;

function sum(counts: ArrayLike<number>): number {
  return Array.from(counts).reduce((a, b) => a + b, 0);
}

function allToAllEqual(context: ConformanceContext): void {
  const group = world(context);
  for (const type of transportedTypes) {
    for (const block of [1, 7, 64]) {
      const send = filled(context, type, values(type, block * group.size, group.rank));
      const receive = blank(context, type, block * group.size);
      context.device.wait(group.allToAll(send, receive, { label: `equal ${block}` }));
      const expected = range(group.size).flatMap((j) =>
        range(block).map((index) => value(type, group.rank * block + index, j)),
      );
      expectEqual(context, `all_to_all of ${block} ${type}`, receive, expected);
    }
  }
}

function exchange(context: ConformanceContext, group: Communicator, counts: (i: number, j: number) => number): void {
  const me = group.rank;
  for (const type of transportedTypes) {
    const sendCounts = Int32Array.from(range(group.size), (j) => counts(me, j));
    const receiveCounts = Int32Array.from(range(group.size), (j) => counts(j, me));
    const contents = range(group.size).flatMap((j) => values(type, counts(me, j), me, j));
    const send = filled(context, type, contents);
    // A few elements more than needed: they must stay as they are.
    const receive = blank(context, type, sum(receiveCounts) + 2);
    context.device.wait(group.allToAllV({ view: send, counts: sendCounts }, { view: receive, counts: receiveCounts }));
    const expected = range(group.size).flatMap((j) => values(type, counts(j, me), j, me));
    expectEqual(context, `all_to_all with counts, ${type}`, receive, [...expected, background, background]);
  }
}

function allGatherCases(context: ConformanceContext): void {
  const group = world(context);
  for (const type of transportedTypes) {
    const equal = blank(context, type, 5 * group.size);
    const mine = filled(context, type, values(type, 5, group.rank));
    context.device.wait(group.allGather(mine, equal));
    expectEqual(
      context,
      `all_gather ${type}`,
      equal,
      range(group.size).flatMap((j) => values(type, 5, j)),
    );

    const counts = Int32Array.from(range(group.size), (j) => variable(j, 2));
    const uneven = blank(context, type, sum(counts));
    const own = filled(context, type, values(type, counts[group.rank] ?? 0, group.rank));
    context.device.wait(group.allGather(own, uneven, { counts }));
    const expected = range(group.size).flatMap((j) => values(type, counts[j] ?? 0, j));
    expectEqual(context, `all_gather with counts, ${type}`, uneven, expected);
  }
}

function allGatherInPlace(context: ConformanceContext): void {
  const group = world(context);
  const buffer = blank(context, 'f32', 6 * group.size);
  const own = { ...buffer, byteOffset: buffer.byteOffset + group.rank * 6 * 4, length: 6 };
  context.write(own, values('f32', 6, group.rank));
  context.device.wait(group.allGather(own, buffer));
  expectEqual(
    context,
    'all_gather in place',
    buffer,
    range(group.size).flatMap((j) => values('f32', 6, j)),
  );
}

function reduceScatterCases(context: ConformanceContext): void {
  const group = world(context);
  for (const type of ['f32', 'i32'] as const) {
    for (const reduction of ['sum', 'max'] as const) {
      for (const counts of [range(group.size).map(() => 9), range(group.size).map((j) => variable(j, 1))]) {
        const contribution = (member: number): number[] => values(type, sum(counts), member, 31);
        const send = filled(context, type, contribution(group.rank));
        const mine = counts[group.rank] ?? 0;
        const receive = blank(context, type, mine);
        context.device.wait(group.reduceScatter(send, receive, { counts: Int32Array.from(counts), reduction }));
        const start = sum(counts.slice(0, group.rank));
        const blocks = range(group.size).map((member) => contribution(member).slice(start, start + mine));
        expectReduced(context, `reduce_scatter ${reduction} ${type}`, receive, reduction, blocks);
        expectEqual(context, 'the contribution to a reduce_scatter', send, contribution(group.rank));
      }
    }
  }
}

function reduceScatterInPlace(context: ConformanceContext): void {
  const group = world(context);
  const contribution = (member: number): number[] => values('f32', 4 * group.size, member, 32);
  const send = filled(context, 'f32', contribution(group.rank));
  const receive = { ...send, byteOffset: send.byteOffset + group.rank * 16, length: 4 };
  context.device.wait(group.reduceScatter(send, receive));
  const blocks = range(group.size).map((member) => contribution(member).slice(group.rank * 4, group.rank * 4 + 4));
  expectReduced(context, 'reduce_scatter in place', receive, 'sum', blocks);
}

function allReduceCases(context: ConformanceContext): void {
  const group = world(context);
  for (const type of ['f32', 'i32'] as const) {
    for (const reduction of ['sum', 'max'] as const) {
      for (const length of [1, 5, 100, 4099]) {
        const contribution = (member: number): number[] => values(type, length, member, length);
        const buffer = filled(context, type, contribution(group.rank));
        context.device.wait(group.allReduce(buffer, { reduction }));
        const all = range(group.size).map(contribution);
        expectReduced(context, `all_reduce ${reduction} of ${length} ${type}`, buffer, reduction, all);
      }
    }
  }
}

/** Small whole numbers, whose sums 16-bit floats hold exactly; only cards take sums of those. */
function shortSums(context: ConformanceContext): void {
  if (context.device.kind !== 'cuda') return;
  const group = world(context);
  const each = 5;
  for (const [type, bitsOf] of [['bf16', toBfloat16] as const, ['f16', toFloat16] as const]) {
    const number = (member: number, index: number): number => member + (index % 7);
    const bits = (of: (index: number) => number): number[] =>
      range(each * group.size).map((index) => bitsOf(of(index)));
    const own = bits((index) => number(group.rank, index));
    const sums = bits((index) => range(group.size).reduce((total, member) => total + number(member, index), 0));
    const whole = filled(context, type, own);
    context.device.wait(group.allReduce(whole));
    expectEqual(context, `all_reduce of ${type}`, whole, sums);
    const block = blank(context, type, each);
    context.device.wait(group.reduceScatter(filled(context, type, own), block));
    expectEqual(context, `reduce_scatter of ${type}`, block, sums.slice(group.rank * each, (group.rank + 1) * each));
  }
}

function broadcastCases(context: ConformanceContext): void {
  const group = world(context);
  for (const root of range(group.size)) {
    for (const type of transportedTypes) {
      const contents = values(type, 33, root, 5);
      const buffer = group.rank === root ? filled(context, type, contents) : blank(context, type, 33);
      context.device.wait(group.broadcast(buffer, root));
      expectEqual(context, `broadcast from ${root}, ${type}`, buffer, contents);
    }
  }
}

/** Everyone sends before it receives, to both neighbours, several messages each. */
function messages(context: ConformanceContext): void {
  const group = world(context);
  const me = group.rank;
  const next = (me + 1) % group.size;
  const previous = (me + group.size - 1) % group.size;
  if (group.size === 1) return;
  const events = [];
  const checks: (() => void)[] = [];
  for (const round of range(4)) {
    for (const [direction, to, from] of [
      [0, next, previous],
      [1, previous, next],
    ] as const) {
      const length = round * 10;
      events.push(group.send(filled(context, 'f32', values('f32', length, me, to, round, direction)), to));
      const into = blank(context, 'f32', length);
      events.push(group.receive(into, from));
      // With two members both directions are the same pair, and messages keep their order.
      const expected = values('f32', length, from, me, round, direction);
      checks.push(() => expectEqual(context, `message ${round} from ${from}`, into, expected));
    }
  }
  waitAll(context.device, events);
  for (const check of checks) check();
}

function barrierHolds(context: ConformanceContext): void {
  const { endpoint, device } = context;
  const group = world(context);
  for (const late of range(group.size)) {
    const entered = blank(context, 'i32', 1);
    if (group.rank === late) {
      const until = endpoint.now() + 0.003;
      while (endpoint.now() < until) endpoint.progress();
      context.write(entered, [Math.floor(endpoint.now() * 1e6)]);
    }
    device.wait(group.barrier());
    const left = Math.ceil(endpoint.now() * 1e6);
    device.wait(group.broadcast(entered, late));
    const [when = 0] = context.read(entered);
    if (left < when)
      throw new Error(`rank ${endpoint.rank} left a barrier ${when - left} us before rank ${late} entered`);
  }
}

function emptyBuffers(context: ConformanceContext): void {
  const group = world(context);
  const none = context.allocate('f32', 0);
  const zeros = new Int32Array(group.size);
  waitAll(context.device, [
    group.allToAll(none, none),
    group.allToAllV({ view: none, counts: zeros }, { view: none, counts: zeros }),
    group.allGather(none, none),
    group.reduceScatter(none, none),
    group.allReduce(none),
    group.broadcast(none, group.size - 1),
  ]);
}

function groupsOfOne(context: ConformanceContext): void {
  const { endpoint, device } = context;
  const alone = endpoint.communicator(`alone`, [endpoint.rank], device.queue('intra'));
  const contents = values('f32', 12, endpoint.rank);
  const send = filled(context, 'f32', contents);
  const [exchanged, gathered, scattered] = range(3).map(() => blank(context, 'f32', 12)) as [
    typeof send,
    typeof send,
    typeof send,
  ];
  const counts = Int32Array.of(12);
  waitAll(device, [
    alone.allToAllV({ view: send, counts }, { view: exchanged, counts }),
    alone.allGather(send, gathered),
    alone.reduceScatter(send, scattered),
    alone.allReduce(send),
    alone.broadcast(send, 0),
    alone.barrier(),
  ]);
  for (const view of [send, exchanged, gathered, scattered]) expectEqual(context, 'group of one', view, contents);
}

/** Groups of different sizes whose order is not that of the ranks. */
function groupOrders(context: ConformanceContext): void {
  const { rank, size } = context.endpoint;
  const reversed = range(size).reverse();
  const odd = range(size).filter((other) => other % 2 === rank % 2);
  const rotated = [...range(size).slice(size >> 1), ...range(size).slice(0, size >> 1)];
  for (const [name, members] of [
    ['reversed', reversed],
    ['parity', odd],
    ['rotated', rotated],
  ] as const) {
    const group = context.endpoint.communicator(name, members, context.device.queue('inter'));
    exchange(context, group, (i, j) => variable(i, j + 1));
    const buffer = filled(context, 'f32', values('f32', 50, group.rank, 3));
    context.device.wait(group.allReduce(buffer));
    const all = range(group.size).map((place) => values('f32', 50, place, 3));
    expectReduced(context, `all_reduce in group ${name}`, buffer, 'sum', all);
  }
}

/** Byte offsets of every remainder, on both sides. */
function oddOffsets(context: ConformanceContext): void {
  const group = world(context);
  const room = context.allocate('u8', 320);
  const into = context.allocate('u8', 320 * group.size);
  for (const [a, b] of [
    [0, 1],
    [1, 0],
    [3, 3],
    [4, 8],
    [5, 2],
  ] as const) {
    const block = 300 + a;
    const send = { ...room, byteOffset: room.byteOffset + a, length: block };
    const receive = { ...into, byteOffset: into.byteOffset + b, length: block * group.size };
    context.write(send, values('u8', block, group.rank, a));
    context.device.wait(group.allGather(send, receive));
    const expected = range(group.size).flatMap((j) => values('u8', block, j, a));
    expectEqual(context, `all_gather from offset ${a} to ${b}`, receive, expected);
  }
}

const largeElement = (from: number, to: number, index: number): number =>
  (from * 1_000_003 + to * 7_919 + index * 31) | 0;

/** Large enough to take many packets on any network. */
function large(context: ConformanceContext): void {
  const group = world(context);
  const block = 9001;
  const send = filled(
    context,
    'i32',
    range(block * group.size).map((index) => largeElement(group.rank, Math.floor(index / block), index % block)),
  );
  const receive = blank(context, 'i32', block * group.size);
  context.device.wait(group.allToAll(send, receive));
  const expected = range(block * group.size).map((index) =>
    largeElement(Math.floor(index / block), group.rank, index % block),
  );
  expectEqual(context, 'large all_to_all', receive, expected);
}

export const collectiveCases: readonly ConformanceCase[] = [
  { name: 'all_to_all with equal blocks', run: allToAllEqual },
  { name: 'all_to_all with variable and zero counts', run: (context) => exchange(context, world(context), variable) },
  { name: 'all_to_all in which one member sends all', run: (c) => exchange(c, world(c), (i) => (i === 0 ? 11 : 0)) },
  { name: 'all_to_all in which nobody sends', run: (context) => exchange(context, world(context), () => 0) },
  { name: 'all_gather with equal and variable counts', run: allGatherCases },
  { name: 'all_gather in place', run: allGatherInPlace },
  { name: 'reduce_scatter, sum and max', run: reduceScatterCases },
  { name: 'reduce_scatter in place', run: reduceScatterInPlace },
  { name: 'all_reduce, sum and max', run: allReduceCases },
  { name: 'sums of 16-bit floats, on cards', run: shortSums },
  { name: 'broadcast from every root', run: broadcastCases },
  { name: 'messages to both neighbours, sent before received', run: messages },
  { name: 'barrier holds until the last has entered', run: barrierHolds },
  { name: 'buffers of no elements', run: emptyBuffers },
  { name: 'groups of one member', run: groupsOfOne },
  { name: 'groups in other orders', run: groupOrders },
  { name: 'odd byte offsets', run: oddOffsets },
  { name: 'large all_to_all', run: large },
];
