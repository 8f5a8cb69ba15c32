/**
 * The engine against a twin that works everything out again at every moment, flow by flow, and knows no queues of
 * events.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sliceExchange } from '../schedule/dispatchers/exchanges.js';
import type { Cluster } from '../cluster/cluster.js';
import { whole } from '../routing/group-routing.js';
import { route, portsOf } from '../cluster/ports.js';
import type { Binding, CollectiveName, Operation, Program, Template } from '../schedule/schedule.js';
import { simulate } from './simulate.js';
import {
  kernel,
  nodeOf,
  programOf,
  rowBytes,
  template,
  testCluster,
  testModel,
  testPlace,
} from '../../testing/simulate-jobs.js';
import { minOf } from '../units/index.js';

interface Item {
  readonly rank: number;
  readonly node: number;
  readonly operation: Operation;
  readonly group: readonly number[];
  state: 'waiting' | 'issued' | 'moving' | 'latency' | 'ended';
  issued: number;
  ready: number;
  end: number;
  left: number;
}

interface Drop {
  readonly ports: readonly number[];
  readonly owners: readonly Item[];
  left: number;
  rate: number;
}

/** Rates: raise all open flows together until a port is full, freeze what crosses full ports, go on. */
function rates(drops: readonly Drop[], cluster: Cluster): void {
  const room = portsOf(cluster).map((port) => port.bytesPerSecond);
  const open = new Set(drops);
  for (const drop of drops) drop.rate = 0;
  while (open.size > 0) {
    const users = room.map((_, port) => [...open].filter((drop) => drop.ports.includes(port)).length);
    const rise = minOf(room.map((left, port) => ((users[port] ?? 0) > 0 ? left / (users[port] ?? 1) : Infinity)));
    for (const drop of open) drop.rate += rise;
    users.forEach((count, port) => (room[port] = (room[port] ?? 0) - count * rise));
    for (const drop of open) if (drop.ports.some((port) => (room[port] ?? 0) < 1e-9)) open.delete(drop);
  }
}

/** Kernels of one lane are in order, and collectives of one lane and group. */
function inOneQueue(a: Operation, b: Operation): boolean {
  const group = ({ body }: Operation): string => (body.kind === 'collective' ? body.group : '');
  return a.lane === b.lane && group(a) === group(b);
}

function twin(program: Program, cluster: Cluster, rows: Binding, overhead: number): Map<string, Item> {
  const place = testPlace(cluster);
  const items: Item[] = [];
  for (let rank = 0; rank < place.ranks; rank++) {
    program.nodes.forEach((node, index) => {
      for (const operation of program.templates[node.template]?.operations ?? []) {
        const { body } = operation;
        const group = body.kind === 'collective' ? place.groups(body.group, rank) : [rank];
        items.push({ rank, node: index, operation, group, state: 'waiting', issued: -1, ready: -1, end: -1, left: 0 });
      }
    });
  }
  const place2 = (item: Item): number => items.filter((other) => other.rank === item.rank).indexOf(item);
  let drops: Drop[] = [];
  let now = 0;
  const ended = (list: readonly Item[]): boolean => list.every((item) => item.state === 'ended');
  const peers = (item: Item): Item[] =>
    item.group.map((rank) => {
      const peer = items.find(
        (other) => other.rank === rank && other.node === item.node && other.operation === item.operation,
      );
      if (!peer) throw new Error('no peer');
      return peer;
    });
  const mayStart = (item: Item): boolean => {
    const own = items.filter((other) => other.rank === item.rank);
    const before = own.slice(0, own.indexOf(item)).filter((other) => inOneQueue(other.operation, item.operation));
    const named = own.filter((other) => other.node === item.node && item.operation.after.includes(other.operation.id));
    const nodes = own.filter((other) => (program.nodes[item.node]?.after ?? []).includes(other.node));
    return ended(before) && ended(named) && ended(nodes) && now >= (place2(item) + 1) * overhead - 1e-9;
  };
  const move = (all: readonly Item[]): void => {
    const [first] = all;
    const body = first?.operation.body;
    if (!first || body?.kind !== 'collective') return;
    const n = all.length;
    all.forEach((item) => {
      item.state = 'moving';
      item.ready = now;
      item.left = 0;
    });
    all.forEach((from, i) => {
      all.forEach((to, j) => {
        if (i === j) return;
        const counted = body.counts && rows.counts(body.counts, from.rank, from.node, whole).send[j];
        const bytes = (body.counts ? (counted ?? 0) : 12 / n) * rowBytes * (body.name === 'all_reduce' ? 2 : 1);
        if (bytes === 0) return;
        const way = route(cluster, from.rank, to.rank);
        drops.push({ ports: [...way.egress, ...way.ingress], owners: [from, to], left: bytes, rate: 0 });
        for (const item of [from, to]) {
          item.left = Math.max(item.left, way.latencySeconds * (body.name === 'all_reduce' ? 2 : 1));
        }
      });
    });
  };
  for (let round = 0; round < 10_000 && !ended(items); round++) {
    for (let changed = true; changed;) {
      changed = false;
      for (const item of items) {
        if (item.state === 'waiting' && mayStart(item)) {
          item.state = 'issued';
          item.issued = item.ready = now;
          changed = true;
          if (item.operation.body.kind === 'kernel') {
            item.state = 'latency';
            item.left = item.operation.body.work.flopsPerRow;
          } else if (item.operation.body.kind === 'collective') {
            const all = peers(item);
            if (all.every((peer) => peer.state === 'issued')) move(all);
          }
        }
        if (item.state === 'moving' && !drops.some((drop) => drop.owners.includes(item))) {
          item.state = 'latency';
          changed = true;
        }
        if (item.state === 'latency' && item.left <= 1e-9) {
          item.state = 'ended';
          item.end = now;
          changed = true;
        }
      }
    }
    rates(drops, cluster);
    const waits = items.filter((item) => item.state === 'waiting').map((item) => (place2(item) + 1) * overhead - now);
    const step = Math.min(
      minOf(drops.map((drop) => drop.left / drop.rate)),
      minOf(items.filter((item) => item.state === 'latency').map((item) => item.left)),
      minOf(waits.filter((wait) => wait > 1e-9)),
    );
    if (!Number.isFinite(step)) break;
    now += step;
    for (const drop of drops) drop.left -= drop.rate * step;
    drops = drops.filter((drop) => drop.left > 1e-9);
    for (const item of items) if (item.state === 'latency') item.left -= step;
  }
  return new Map(items.map((item) => [`${item.rank} ${item.node} ${item.operation.id}`, item]));
}

const laneNames = ['compute', 'inter', 'intra', 'copy'] as const;
const names: readonly CollectiveName[] = ['all_to_all', 'all_gather', 'reduce_scatter', 'all_reduce'];
const groupNames = ['tp', 'ep', 'world'] as const;

const operation = fc.record({
  lane: fc.integer({ min: 0, max: 3 }),
  kind: fc.integer({ min: 0, max: 5 }),
  group: fc.integer({ min: 0, max: 2 }),
  seconds: fc.integer({ min: 1, max: 9 }),
  after: fc.array(fc.nat(9), { maxLength: 2 }),
});
const job = fc.record({
  templates: fc.array(fc.array(operation, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 2 }),
  nodes: fc.array(fc.tuple(fc.nat(1), fc.array(fc.nat(3), { maxLength: 2 })), { minLength: 1, maxLength: 3 }),
  shape: fc.constantFrom([1, 3], [2, 2], [3, 1]),
  inter: fc.constantFrom(0.3, 1),
  intra: fc.constantFrom(1, 2.5),
  shared: fc.boolean(),
  latency: fc.constantFrom(0, 0.75),
  overhead: fc.constantFrom(0, 0.2),
  counts: fc.array(fc.nat(7), { minLength: 16, maxLength: 16 }),
});

describe('the engine', () => {
  it('does what a slow twin does, operation by operation', () => {
    let compared = 0;
    fc.assert(
      fc.property(job, ({ templates, nodes, shape, inter, intra, shared, latency, overhead, counts }) => {
        const cluster = testCluster(shape[0] ?? 1, shape[1] ?? 1, {
          inter,
          intra,
          ports: shared ? 1 : shape[1],
          interLatency: latency,
          intraLatency: latency / 3,
        });
        // one for each group, so that no row makes one group wait for another
        const regions = groupNames.map(
          (id) => ({ id, dtype: 'bf16', rows: 12, columns: 1, order: 'rows', life: 'layer' }) as const,
        );
        const built = templates.map((list, t): Template => {
          const operations = list.map(({ lane, kind, group, seconds, after }, index): Operation => {
            const before = index === 0 ? [] : [...new Set(after.map((a) => `o${a % index}`))];
            const name = names[kind];
            if (!name) return kernel(`o${index}`, seconds, before, laneNames[lane]);
            const counted = name === 'all_to_all' ? { counts: sliceExchange } : {};
            const which = groupNames[group] ?? 'tp';
            const body = { kind: 'collective', name, group: which, ...counted } as const;
            const uses = [
              { role: 'from', region: which, chunk: 0, of: 1, mode: 'read' },
              { role: 'to', region: which, chunk: 0, of: 1, mode: 'write' },
            ] as const;
            const id = `o${index}`;
            return {
              id,
              task: id,
              chunk: 0,
              of: 1,
              lane: laneNames[lane] ?? 'inter',
              body,
              uses,
              after: before,
              priority: 0,
            };
          });
          return template(`t${t}`, regions, operations);
        });
        const program = programOf(
          built,
          nodes.map(([t, after], index) =>
            nodeOf(`t${t % built.length}`, index === 0 ? [] : [...new Set(after.map((a) => a % index))]),
          ),
        );
        const place = testPlace(cluster);
        const everybody = Array.from({ length: place.ranks }, (_, i) => i);
        const binding: Binding = {
          counts: (_, rank, node) => {
            const send = Int32Array.from(everybody, (j) => counts[(rank * 5 + j + node) % 16] ?? 0);
            return { send, receive: send };
          },
          rows: () => 0,
        };
        // a family of counts belongs to one group: with counted exchanges, all groups are all ranks
        const counted = built.some((each) =>
          each.operations.some((o) => o.body.kind === 'collective' && o.body.counts),
        );
        const whole = counted ? worldProgram(program) : program;
        const result = simulate({
          place,
          programs: [whole],
          bindings: [binding],
          model: testModel(cluster, { hostOverheadSeconds: overhead }),
        });
        if (!result.known) throw new Error('unknown');
        const slow = twin(whole, cluster, binding, overhead);
        for (const span of result.trace.spans) {
          const item = slow.get(`${span.rank} ${span.node} ${span.operation.split('/')[1]}`);
          expect([span.issued, span.ready, span.end].map((x) => x.toFixed(6))).toEqual(
            [item?.issued, item?.ready, item?.end].map((x) => (x ?? NaN).toFixed(6)),
          );
          compared += 1;
        }
      }),
      { seed: 5, numRuns: 250 },
    );
    expect(compared).toBeGreaterThan(5000);
  });
});

/** The same program with every group replaced by all ranks. */
function worldProgram(program: Program): Program {
  const templates = Object.fromEntries(
    Object.entries(program.templates).map(([name, each]) => [
      name,
      {
        ...each,
        operations: each.operations.map((o) =>
          o.body.kind === 'collective' ? { ...o, body: { ...o.body, group: 'world' as const } } : o,
        ),
      },
    ]),
  );
  return { ...program, templates };
}
