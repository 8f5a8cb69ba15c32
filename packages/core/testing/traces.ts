/** Traces for tests: spans written by hand, and drawn ones. */
import * as fc from 'fast-check';
import { collectiveNames } from '#core/schedule/schedule.js';
import { groupKinds } from '#core/layout/mesh.js';
import { spanLanes } from '#core/trace/lane-times.js';
import type { Span, Trace } from '#core/trace/span.js';

/** What a test says of a span; all else is that of a kernel of one chunk, in node and step 0. */
export type SpanParts = Pick<Span, 'rank' | 'task' | 'lane'> & Partial<Span>;

/** A span of the template `t` with the given issued, ready and end. */
export function span(parts: SpanParts, [issued, ready, end]: readonly [number, number, number]): Span {
  const { task, chunk = 0, of = 1 } = parts;
  const operation = of > 1 ? `t/${task}.${chunk}` : `t/${task}`;
  return { step: 0, node: 0, operation, template: 't', chunk, of, bytes: 0, ...parts, issued, ready, end };
}

/** A trace of four ranks. */
export function trace(kind: Trace['kind'], spans: readonly Span[]): Trace {
  return { kind, source: 'test', ranks: 4, timeScale: 1, spans };
}

const collectiveArbitrary = fc.record({
  name: fc.constantFrom(...collectiveNames),
  group: fc.constantFrom(...groupKinds),
  members: fc.uniqueArray(fc.nat(3), { minLength: 1 }),
});

const spanArbitrary: fc.Arbitrary<Span> = fc
  .record({
    step: fc.nat(2),
    rank: fc.nat(3),
    node: fc.nat(4),
    task: fc.constantFrom('a', 'b', 'a.b'),
    chunk: fc.nat(1),
    of: fc.constantFrom(1, 2),
    lane: fc.constantFrom(...spanLanes),
    collective: fc.option(collectiveArbitrary, { nil: undefined }),
    issued: fc.nat(40),
    waiting: fc.nat(9),
    busy: fc.nat(9),
    bytes: fc.nat(1000),
  })
  .map(({ waiting, busy, issued, ...rest }) => span(rest, [issued, issued + waiting, issued + waiting + busy]));

/** Any trace of four ranks. */
export const traceArbitrary: fc.Arbitrary<Trace> = fc.record({
  kind: fc.constantFrom('simulated', 'measured'),
  source: fc.string(),
  ranks: fc.constant(4),
  timeScale: fc.constantFrom(1, 40),
  spans: fc.array(spanArbitrary, { maxLength: 20 }),
});
