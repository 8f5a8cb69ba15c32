import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { span, trace, traceArbitrary } from '../../testing/traces.js';
import { perfettoPieces, readPerfetto, readPerfettoPieces, writePerfetto, type Span } from './index.js';

interface Event {
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly name: string;
  readonly cat?: string;
  readonly id?: number;
  readonly args: Readonly<Record<string, unknown>>;
}

const eventsOf = (text: string): readonly Event[] => (JSON.parse(text) as { traceEvents: Event[] }).traceEvents;

describe('perfetto files', () => {
  it('are read back as they were', () => {
    fc.assert(
      fc.property(fc.array(traceArbitrary, { minLength: 1, maxLength: 3 }), (traces) => {
        expect(readPerfetto(writePerfetto(traces), 'trace.json')).toEqual(traces);
      }),
      { seed: 12, numRuns: 100 },
    );
  });

  it('are read back from pieces of any length, laid out in any way, each span with its line', () => {
    fc.assert(
      fc.property(traceArbitrary, fc.integer({ min: 1, max: 40 }), fc.nat(2), (given, length, indent) => {
        const written = writePerfetto([given]);
        const text = indent === 0 ? written : JSON.stringify(JSON.parse(written), undefined, indent);
        const pieces = Array.from({ length: Math.ceil(text.length / length) }, (_, i) =>
          text.slice(i * length, (i + 1) * length),
        );
        const lines = text.split('\n');
        const spans: Span[] = [];
        const [head] = readPerfettoPieces(pieces, 'trace.json', {
          span(one, _, line) {
            spans.push(one);
            // an event begins on that line, and is all of it as Monta writes them
            const event = indent === 0 ? `{"name":"${one.operation}"` : '{';
            expect(lines[line - 1]?.trim().startsWith(event)).toBe(true);
          },
        });
        expect({ ...head, spans }).toEqual(given);
      }),
      { seed: 13, numRuns: 60 },
    );
  });

  it('hold what viewers need: named processes and threads, microseconds, steps in a row, waiting apart', () => {
    const spans = [
      span({ rank: 1, task: 'a', lane: 'intra', bytes: 10 }, [1, 2, 3]),
      span({ rank: 1, task: 'a', lane: 'intra', step: 1 }, [1, 1, 2]),
    ];
    const events = eventsOf(writePerfetto([trace('simulated', spans), trace('measured', spans)]));
    const bars = events.filter((event) => event.ph === 'X');
    const intra = events.find((event) => event.name === 'thread_name' && event.args['name'] === 'intra')?.tid ?? -1;
    expect(bars.map(({ name, pid, tid, ts, dur }) => [name, pid, tid, ts, dur])).toEqual([
      ['waiting: a', 1, intra, 1e6, 1e6],
      ['t/a', 1, intra, 2e6, 1e6],
      ['t/a', 1, intra, 4e6, 1e6],
      ['waiting: a', 5, intra, 1e6, 1e6],
      ['t/a', 5, intra, 2e6, 1e6],
      ['t/a', 5, intra, 4e6, 1e6],
    ]);
    expect(bars[1]?.args).toMatchObject({ bytes: 10, bytesPerSecond: 10 });
    const names = events.filter((event) => event.name === 'process_name').map((event) => event.args['name']);
    expect(names).toEqual(['simulated rank 1', 'measured rank 1']);
  });

  it('have no two slices that overlap on one thread', () => {
    fc.assert(
      fc.property(traceArbitrary, (given) => {
        const threads = new Map<string, { start: number; end: number }[]>();
        for (const { ph, pid, tid, ts = 0, dur = 0 } of eventsOf(writePerfetto([given]))) {
          if (ph !== 'X') continue;
          const slices = threads.get(`${pid} ${tid}`) ?? [];
          threads.set(`${pid} ${tid}`, slices);
          slices.push({ start: ts, end: ts + dur });
        }
        for (const slices of threads.values()) {
          slices.sort((a, b) => a.start - b.start || a.end - b.end);
          slices.forEach(({ end }, i) => expect(slices[i + 1]?.start ?? Infinity).toBeGreaterThanOrEqual(end - 1));
        }
      }),
      { seed: 14, numRuns: 100 },
    );
  });

  it('lead an arrow from the rank that an exchange waited for to each of its peers, on one clock', () => {
    const collective = { name: 'all_to_all', group: 'ep', members: [0, 1, 2] } as const;
    const exchange = (rank: number, late: number, clock: number): Span =>
      span({ rank, task: 'a', lane: 'inter', collective }, [late - clock, 5 - clock, 7 - clock]);
    const events = eventsOf(
      writePerfetto([trace('measured', [exchange(0, 1, 0), exchange(1, 5, 3), exchange(2, 2, 1)])]),
    );
    const arrows = events.filter(({ ph }) => ph === 's' || ph === 'f');
    expect(arrows.map(({ ph, pid, ts, id }) => [ph, pid, ts, id])).toEqual([
      ['s', 1, 5e6, 0],
      ['f', 0, 5e6, 0],
      ['s', 1, 5e6, 1],
      ['f', 2, 5e6, 1],
    ]);
  });

  it('of others are refused, saying what is wrong', () => {
    expect(() => readPerfetto('{', 'x.json')).toThrow(/cannot be read as JSON: it is cut short/u);
    expect(() => readPerfetto('[]', 'x.json')).toThrow(/cannot be read as JSON/u);
    expect(() => readPerfetto('', 'x.json')).toThrow(/holds no object/u);
    expect(() => readPerfetto('{"traceEvents":[]}', 'x.json')).toThrow(/not a trace of monta/u);
    const good = writePerfetto([trace('measured', [span({ rank: 0, task: 'a', lane: 'inter' }, [0, 1, 2])])]);
    const bad = (from: string, to: string) => () => readPerfetto(good.replace(from, to), 'x.json');
    expect(bad('"ready":1', '"ready":null')).toThrow(/null is not a number/u);
    expect(bad('"kind":"measured"', '"kind":"guessed"')).toThrow(/kind is "guessed"/u);
    expect(bad('"lane":"inter"', '"lane":"outer"')).toThrow(/lane is "outer"/u);
    expect(bad('monta trace 2', 'monta trace 1')).toThrow(/another version/u);
    expect(bad('"ph":"X","pid":0', '"ph":"X","pid":0.5')).toThrow(/belongs to no trace/u);
    expect(bad('"ts":', '"ts"')).toThrow(/cannot be read as JSON/u);
    expect(bad('[\n', '[,\n')).toThrow(/empty place/u);
    expect(bad(']}\n', ']}{}')).toThrow(/cannot be read as JSON/u);
  });

  it('are written piece by piece, and together are the text', () => {
    const spans = Array.from({ length: 2000 }, (_, i) => span({ rank: i % 4, task: 'a', lane: 'copy' }, [i, i, i + 1]));
    const pieces = [...perfettoPieces([trace('measured', spans)])];
    expect(pieces.length).toBeGreaterThan(4);
    expect(pieces.join('')).toBe(writePerfetto([trace('measured', spans)]));
  });
});
