import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareTraces, laneSeconds, laneTimes } from './index.js';
import { span, trace, traceArbitrary } from '../../testing/traces.js';

describe('lane times', () => {
  it('agree with counting every second', () => {
    fc.assert(
      fc.property(traceArbitrary, ({ spans, ...rest }) => {
        const times = laneTimes({ ...rest, spans });
        for (const { rank, lanes, communicationSeconds, exposedSeconds } of times.ranks) {
          const own = spans.filter((each) => each.rank === rank);
          const during = (lane: string, second: number): boolean =>
            own.some((each) => each.lane === lane && each.ready <= second && second < each.end);
          const computing = (second: number): boolean => during('compute', second) || during('shared', second);
          const seconds = Array.from({ length: 60 }, (_, second) => second);
          for (const { lane, busySeconds, exposedSeconds: exposed } of lanes) {
            const busy = seconds.filter((second) => during(lane, second));
            expect(busySeconds).toBe(busy.length);
            const own = lane === 'compute' || lane === 'shared';
            expect(exposed).toBe(busy.filter((second) => own || !computing(second)).length);
          }
          const inter = seconds.filter((second) => during('inter', second));
          const intra = seconds.filter((second) => during('intra', second));
          expect(communicationSeconds).toBe(inter.length + intra.length);
          expect(exposedSeconds).toBe(
            seconds.filter((s) => (during('inter', s) || during('intra', s)) && !computing(s)).length,
          );
        }
      }),
      { seed: 11, numRuns: 100 },
    );
  });

  it('count what runs beside kernels or beside the other lane as hidden', () => {
    const spans = [
      span({ rank: 0, task: 'k', lane: 'compute' }, [0, 0, 4]),
      span({ rank: 0, task: 'a', lane: 'inter' }, [0, 0, 6]),
      span({ rank: 0, task: 'b', lane: 'intra' }, [4, 4, 8]),
    ];
    // 10 seconds of communication, 4 of them exposed (4 to 8)
    expect(laneTimes(trace('simulated', spans)).hiddenShare).toBeCloseTo(0.6, 12);
  });
});

describe('lane seconds', () => {
  it('are means over ranks and steps, waiting apart', () => {
    const spans = [0, 1].flatMap((rank) =>
      [0, 1].flatMap((step) => [
        span({ rank, step, task: 'k', lane: 'compute' }, [0, 0, 1 + rank + 2 * step]),
        span({ rank, step, task: 'a', lane: 'inter' }, [1, 3, 3 + rank]),
      ]),
    );
    // compute 1, 2, 3, 4; inter 0 or 1; waiting always 2
    expect(laneSeconds(trace('measured', spans))).toEqual({
      compute: 2.5,
      inter: 0.5,
      intra: 0,
      copy: 0,
      shared: 0,
      waiting: 2,
    });
    expect(laneSeconds(trace('measured', []))).toEqual({
      compute: 0,
      inter: 0,
      intra: 0,
      copy: 0,
      shared: 0,
      waiting: 0,
    });
  });
});

describe('comparing traces', () => {
  it('matches operations and takes medians over steps, then ranks; waiting is apart', () => {
    const predicted = trace('simulated', [
      ...[0, 1, 2].map((rank) => span({ rank, task: 'a', lane: 'inter', bytes: 8 }, [0, 0, 2])),
      span({ rank: 0, task: 'only', lane: 'compute' }, [2, 2, 3]),
    ]);
    const busy = [
      [4, 4, 40],
      [5, 5, 5],
      [1, 6, 6],
    ];
    const measured = trace('measured', [
      ...busy.flatMap((steps, rank) =>
        steps.map((each, step) =>
          span({ rank, task: 'a', lane: 'inter', step, bytes: rank === 1 ? 9 : 8 }, [0, 1, 1 + each]),
        ),
      ),
      span({ rank: 3, task: 'more', lane: 'copy' }, [0, 0, 1]),
    ]);
    const result = compareTraces(predicted, measured);
    expect(result.operations).toHaveLength(1);
    expect(result.operations[0]).toMatchObject({
      operation: 't/a',
      ranks: 3,
      predicted: { waitingSeconds: 0, busySeconds: 2, bytes: 8 },
      measured: { waitingSeconds: 1, busySeconds: 5, bytes: 8 },
    });
    expect(result.operations[0]?.busyError).toBeCloseTo(-0.6, 12);
    expect(result).toMatchObject({ onlyPredicted: ['0 t/only'], onlyMeasured: ['0 t/more'], differentBytes: [] });
    // steps end at 6, 7 and 41
    expect(result.measuredSeconds).toBe(7);
    expect(result.error).toBeCloseTo(3 / 7 - 1, 12);
    expect(result.medianAbsoluteError).toBeCloseTo(0.6, 12);
  });

  it('finds no error in a trace and itself, and says when bytes differ', () => {
    const one = trace('simulated', [
      span({ rank: 0, task: 'a', lane: 'inter', bytes: 5 }, [0, 1, 3]),
      span({ rank: 0, task: 'b', lane: 'compute' }, [3, 3, 3]),
    ]);
    expect(compareTraces(one, one)).toMatchObject({
      error: 0,
      medianAbsoluteError: 0,
      p90AbsoluteError: 0,
      differentBytes: [],
    });
    const other = trace(
      'measured',
      one.spans.map((each) => ({ ...each, bytes: 6 })),
    );
    expect(compareTraces(one, other).differentBytes).toEqual(['0 t/a', '0 t/b']);
    expect(compareTraces(trace('simulated', []), trace('measured', [])).error).toBeUndefined();
  });
});
