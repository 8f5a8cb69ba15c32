import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupMembers } from '../layout/mesh.js';
import { Random } from '../units/random.js';
import type { Layout } from '../layout/layout.js';
import { chunkRows, GroupRouting, whole } from '../routing/group-routing.js';
import { replicaExchange, replicaReturn, sliceExchange, sliceReturn } from './dispatchers/exchanges.js';
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
