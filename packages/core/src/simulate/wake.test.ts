import { describe, expect, it } from 'vitest';
import { simulate } from './simulate.js';
import {
  collective,
  kernel,
  noBinding,
  programOf,
  region,
  template,
  testCluster,
  testModel,
  testPlace,
} from '../../testing/simulate-jobs.js';

/** A kernel, an exchange, and two kernels after it, one by one. */
function chain(wakeSeconds: number) {
  const cluster = testCluster(2, 1, { inter: 1 });
  const result = simulate({
    place: testPlace(cluster),
    programs: [
      programOf([
        template(
          't',
          [region('x', 10)],
          [
            kernel('first', 3),
            collective('exchange', 'inter', 'all_to_all', 'ep', 'x', { after: ['first'] }),
            kernel('second', 4, ['exchange']),
            kernel('third', 5),
          ],
        ),
      ]),
    ],
    bindings: [noBinding],
    model: testModel(cluster),
    hostCores: { cores: 2, ranksPerHost: 2, wakeSeconds },
  });
  if (!result.known) throw new Error(result.missing.join());
  return result;
}

const at = (result: ReturnType<typeof chain>, operation: string) => {
  const found = result.trace.spans.find((span) => span.rank === 0 && span.operation === `t/${operation}`);
  if (!found) throw new Error(`no ${operation}`);
  return found;
};

describe('waking up', () => {
  it('delays a kernel that waited for a collective, and no other', () => {
    const [without, asleep] = [chain(0), chain(0.5)];
    // 10 rows of 2 bytes, half of them for the other rank, at 1 byte/s
    expect(without.summary.makespanSeconds).toBe(3 + 10 + 4 + 5);
    expect(asleep.summary.makespanSeconds).toBe(without.summary.makespanSeconds + 0.5);
    expect(at(asleep, 'exchange')).toEqual(at(without, 'exchange'));
    const second = at(asleep, 'second');
    expect([second.issued, second.ready, second.end]).toEqual([13.5, 13.5, 17.5]);
    expect(at(asleep, 'third').issued).toBe(17.5);
  });

  it('is host time on a critical path without gaps', () => {
    const { path, makespanSeconds, held } = chain(0.5).summary;
    let end = 0;
    for (const piece of path) {
      expect(piece.start).toBe(end);
      end = piece.end;
    }
    expect(end).toBe(makespanSeconds);
    expect(held.find(({ kind }) => kind === 'host')?.seconds).toBe(0.5);
  });
});
