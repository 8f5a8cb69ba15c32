import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupMembers } from '../layout/mesh.js';
import { maxOf } from '../units/index.js';
import { Random } from '../units/random.js';
import type { Layout } from '../layout/layout.js';
import { chunkRows, GroupRouting, whole } from '../routing/group-routing.js';
import { replicaExchange, replicaReturn, sliceExchange, sliceReturn } from './dispatchers/exchanges.js';
import { expertSize, receivedSize, replicaSize, sentSize } from './moe-shape.js';
import { RoutingBinding } from './routing-binding.js';
import { expertRows, receivedRows, sentRows, sliceRows } from './rows.js';

interface Case {
  readonly layout: Layout;
  readonly experts: number;
  readonly counts: Int32Array;
}

/** Layouts of one to sixteen ranks with one expert group or several, and random counts. */
const cases = fc
  .record({
    tp: fc.constantFrom(1, 2, 4),
    dp: fc.constantFrom(1, 2, 4),
    etpShift: fc.integer({ min: 0, max: 2 }),
    epShift: fc.integer({ min: 0, max: 4 }),
    localExperts: fc.integer({ min: 1, max: 3 }),
    seed: fc.integer({ min: 0, max: 1 << 20 }),
  })
  .map(({ tp, dp, etpShift, epShift, localExperts, seed }): Case => {
    const etp = Math.min(tp, 1 << etpShift);
    const ep = Math.min((tp * dp) / etp, 1 << epShift);
    const layout = { tp, cp: 1, dp, pp: 1, etp, ep, edp: (tp * dp) / (etp * ep), sequenceParallel: false };
    const random = new Random(seed);
    const experts = ep * localExperts;
    const counts = Int32Array.from({ length: etp * ep * experts }, () =>
      random.integer(4) === 0 ? 0 : random.integer(9),
    );
    return { layout, experts, counts };
  });

function bind({ layout, experts, counts }: Case): RoutingBinding {
  const routing = new GroupRouting({ layout, experts }, counts);
  return new RoutingBinding(layout, () => routing);
}

/** Rules of row counts, that of the token slice among them where there are slices. */
function rules({ tp }: Layout) {
  const slice = sliceRows(24, tp);
  return [sentRows, receivedRows, expertRows, ...(typeof slice === 'number' ? [] : [slice.rule])];
}

describe('routing binding', () => {
  it('keeps answers apart by chunk and by how many chunks there are', () => {
    const layout = { tp: 1, cp: 1, dp: 2, pp: 1, etp: 1, ep: 2, edp: 1, sequenceParallel: false };
    const routing = new GroupRouting({ layout, experts: 2 }, Int32Array.of(7, 5, 3, 9));
    const kept = new RoutingBinding(layout, () => routing, 'groups');
    const asked = new RoutingBinding(layout, () => routing);
    const parts = [1, 2, 3].flatMap((of) => Array.from({ length: of }, (_, chunk) => ({ chunk, of })));
    const answers = (binding: RoutingBinding) =>
      parts.map((part) => [binding.rows(sentRows, 0, 0, part), binding.counts(sliceExchange, 1, 0, part)]);
    expect(answers(kept)).toEqual(answers(asked));
    expect(answers(kept)).toEqual(answers(asked));
  });

  it('counts at most what storage allows for, and that where all tokens pick one rank', () => {
    const layout = { tp: 2, cp: 1, dp: 2, pp: 1, etp: 2, ep: 2, edp: 1, sequenceParallel: false };
    const shape = { tokens: 6, hiddenSize: 4, expertFfn: 4, experts: 4, topK: 2, layout, dtype: 'f32' } as const;
    // Of each of four slices of three tokens, two picks a token, both with the experts of EP index 0.
    const routing = new GroupRouting(
      shape,
      Int32Array.from({ length: 16 }, (_, i) => (i % 4 < 2 ? 3 : 0)),
    );
    const binding = new RoutingBinding(layout, () => routing);
    for (const size of [sentSize(shape), receivedSize(shape), expertSize(shape), replicaSize(shape)]) {
      if (typeof size === 'number') throw new Error('a size by a rule has a most');
      const rows = [0, 1, 2, 3].map((rank) => binding.rows(size.rule, rank, 0, whole));
      expect(maxOf(rows)).toBe(size.max);
      expect(rows.reduce((sum, own) => sum + own, 0) / 4).toBe(size.expected);
    }
  });

  it('lets every member of a group agree: what one sends, the other receives', () => {
    fc.assert(
      fc.property(cases, fc.integer({ min: 1, max: 4 }), (c, of) => {
        const binding = bind(c);
        const exchanges = [sliceExchange, sliceReturn];
        const all = c.layout.etp === c.layout.tp ? [...exchanges, replicaExchange, replicaReturn] : exchanges;
        for (let rank = 0; rank < c.layout.tp * c.layout.dp; rank++) {
          const members = groupMembers(c.layout, 'ep', rank);
          for (const exchange of all)
            for (let chunk = 0; chunk < of; chunk++) {
              const { send } = binding.counts(exchange, rank, 0, { chunk, of });
              members.forEach((peer, j) => {
                const { receive } = binding.counts(exchange, peer, 0, { chunk, of });
                expect(send[j]).toBe(receive[members.indexOf(rank)]);
              });
            }
        }
      }),
    );
  });

  it('splits rows into chunks without losing any', () => {
    fc.assert(
      fc.property(cases, fc.integer({ min: 1, max: 5 }), (c, of) => {
        const binding = bind(c);
        for (let rank = 0; rank < c.layout.tp * c.layout.dp; rank++)
          for (const rule of rules(c.layout)) {
            let sum = 0;
            for (let chunk = 0; chunk < of; chunk++) sum += binding.rows(rule, rank, 0, { chunk, of });
            expect(sum).toBe(binding.rows(rule, rank, 0, whole));
          }
      }),
    );
  });

  it('brings every row of a group to exactly one EP index, whole on each of its etp ranks', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const binding = bind(c);
        const { etp, ep } = c.layout;
        const total = c.counts.reduce((a, b) => a + b, 0);
        let rows = 0;
        for (let rank = 0; rank < etp * ep; rank += etp) rows += binding.rows(expertRows, rank, 0, whole);
        expect(rows).toBe(total);
      }),
    );
  });

  it('cuts a block like floor(m*c/n)', () => {
    expect([0, 1, 2].map((chunk) => chunkRows(7, chunk, 3))).toEqual([2, 2, 3]);
    expect(chunkRows(1, 0, 4) + chunkRows(1, 1, 4) + chunkRows(1, 2, 4)).toBe(0);
  });
});
