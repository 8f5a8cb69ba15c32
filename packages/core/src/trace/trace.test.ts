import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareTraces, laneTimes, readPerfetto, spanLanes, writePerfetto } from './index.js';
import type { Span, Trace } from './index.js';

const spanArbitrary: fc.Arbitrary<Span> = fc
  .record({
    step: fc.nat(2),
    rank: fc.nat(3),
    node: fc.nat(4),
    operation: fc.constantFrom('t/a.0', 't/a.1', 't/b'),
    lane: fc.constantFrom(...spanLanes),
    issued: fc.nat(40),
    waiting: fc.nat(9),
    busy: fc.nat(9),
    bytes: fc.nat(1000),
  })
  .map(({ waiting, busy, ...rest }) => ({ ...rest, ready: rest.issued + waiting, end: rest.issued + waiting + busy }));
const traceArbitrary: fc.Arbitrary<Trace> = fc.record({
  kind: fc.constantFrom('simulated', 'measured'),
  source: fc.string(),
  ranks: fc.constant(4),
  spans: fc.array(spanArbitrary, { maxLength: 20 }),
});

function span(
  rank: number,
  operation: string,
  lane: Span['lane'],
  issued: number,
  ready: number,
  end: number,
  more: Partial<Span> = {},
): Span {
  return { step: 0, rank, node: 0, operation, lane, issued, ready, end, bytes: 0, ...more };
}

function trace(kind: Trace['kind'], spans: readonly Span[]): Trace {
  return { kind, source: 'test', ranks: 4, spans };
}

describe('lane times', () => {
  it('agree with counting every second', () => {
    fc.assert(
      fc.property(traceArbitrary, ({ spans, ...rest }) => {
        const times = laneTimes({ ...rest, spans });
        for (const { rank, lanes, communicationSeconds, exposedSeconds } of times.ranks) {
          const own = spans.filter((each) => each.rank === rank);
          const during = (lane: string, second: number): boolean =>
            own.some((each) => each.lane === lane && each.ready <= second && second < each.end);
          const seconds = Array.from({ length: 60 }, (_, second) => second);
          for (const { lane, busySeconds, exposedSeconds: exposed } of lanes) {
            const busy = seconds.filter((second) => during(lane, second));
            expect(busySeconds).toBe(busy.length);
            expect(exposed).toBe(busy.filter((second) => lane === 'compute' || !during('compute', second)).length);
          }
          const inter = seconds.filter((second) => during('inter', second));
          const intra = seconds.filter((second) => during('intra', second));
          expect(communicationSeconds).toBe(inter.length + intra.length);
          expect(exposedSeconds).toBe(
            seconds.filter((s) => (during('inter', s) || during('intra', s)) && !during('compute', s)).length,
          );
        }
      }),
      { seed: 11, numRuns: 100 },
    );
  });

  it('count what runs beside kernels or beside the other lane as hidden', () => {
    const spans = [
      span(0, 't/k', 'compute', 0, 0, 4),
      span(0, 't/a', 'inter', 0, 0, 6),
      span(0, 't/b', 'intra', 4, 4, 8),
    ];
    // 10 seconds of communication, 4 of them exposed (4 to 8)
    expect(laneTimes(trace('simulated', spans)).hiddenShare).toBeCloseTo(0.6, 12);
  });
});

describe('perfetto files', () => {
  it('are read back as they were', () => {
    fc.assert(
      fc.property(fc.array(traceArbitrary, { minLength: 1, maxLength: 3 }), (traces) => {
        expect(readPerfetto(writePerfetto(traces), 'trace.json')).toEqual(traces);
      }),
      { seed: 12, numRuns: 100 },
    );
  });

  it('hold what the viewers need: named processes and threads, microseconds, steps one after another', () => {
    const spans = [span(1, 't/a', 'intra', 1, 2, 3, { bytes: 10 }), span(1, 't/a', 'intra', 1, 1, 2, { step: 1 })];
    const file = JSON.parse(writePerfetto([trace('simulated', spans), trace('measured', spans)])) as {
      traceEvents: {
        ph: string;
        pid: number;
        tid: number;
        ts?: number;
        dur?: number;
        name: string;
        args: Record<string, unknown>;
      }[];
    };
    const bars = file.traceEvents.filter((event) => event.ph === 'X');
    expect(bars.map(({ pid, tid, ts, dur }) => [pid, tid, ts, dur])).toEqual([
      [1, 2, 1e6, 2e6],
      [1, 2, 4e6, 1e6],
      [5, 2, 1e6, 2e6],
      [5, 2, 4e6, 1e6],
    ]);
    expect(bars[0]?.args).toMatchObject({ bytes: 10, waitingSeconds: 1, bytesPerSecond: 10 });
    const names = file.traceEvents.filter((event) => event.name === 'process_name').map((event) => event.args['name']);
    expect(names).toEqual(['simulated rank 1', 'measured rank 1']);
  });

  it('of others are refused, saying what is wrong', () => {
    expect(() => readPerfetto('{', 'x.json')).toThrow(/cannot be read as JSON/u);
    expect(() => readPerfetto('{"traceEvents":[]}', 'x.json')).toThrow(/not a trace of monta/u);
    const good = writePerfetto([trace('measured', [span(0, 't/a', 'inter', 0, 1, 2)])]);
    expect(() => readPerfetto(good.replace('"ready":1', '"ready":null'), 'x.json')).toThrow(/null is not a number/u);
    expect(() => readPerfetto(good.replace('"kind":"measured"', '"kind":"guessed"'), 'x.json')).toThrow(
      /kind is "guessed"/u,
    );
  });
});

describe('comparing traces', () => {
  it('matches operations and takes medians over steps, then ranks; waiting is apart', () => {
    const predicted = trace('simulated', [
      ...[0, 1, 2].map((rank) => span(rank, 't/a', 'inter', 0, 0, 2, { bytes: 8 })),
      span(0, 't/only', 'compute', 2, 2, 3),
    ]);
    const busy = [
      [4, 4, 40],
      [5, 5, 5],
      [1, 6, 6],
    ];
    const measured = trace('measured', [
      ...busy.flatMap((steps, rank) =>
        steps.map((each, step) => span(rank, 't/a', 'inter', 0, 1, 1 + each, { step, bytes: rank === 1 ? 9 : 8 })),
      ),
      span(3, 't/more', 'copy', 0, 0, 1),
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
      span(0, 't/a', 'inter', 0, 1, 3, { bytes: 5 }),
      span(0, 't/b', 'compute', 3, 3, 3),
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
