/**
 * Dispatches that compute beside what travels: results keep the closed form, and what is switched off runs apart on
 * real ranks.
 */
import {
  searchedHalves,
  unsupportedStrategy,
  type Layout,
  type Overlap,
  type OverlapKind,
  type Span,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { dispatchJob, dispatchShape as shapeOf } from '../../testing/execute/dispatch-jobs.js';
import { measureDispatch, type DispatchJob } from './measure-dispatch.js';

const layouts: readonly Layout[] = [
  { tp: 2, cp: 1, dp: 2, pp: 1, etp: 2, ep: 2, edp: 1, sequenceParallel: false, ranksPerNode: 2 },
  { tp: 2, cp: 1, dp: 2, pp: 1, etp: 1, ep: 4, edp: 1, sequenceParallel: true, ranksPerNode: 2 },
];
const computes = ['experts', 'weightGradients', 'shared'] as const;

const jobsOf = (overlap: Overlap): DispatchJob[] =>
  layouts.flatMap((layout) =>
    searchedHalves()
      .filter((halves) => unsupportedStrategy(halves, { layout }) === undefined)
      .map((halves) => ({
        ...dispatchJob(shapeOf(layout, { shared: { ffn: 8, gated: true }, computes, overlap }), {
          ...halves,
          chunks: { forward: 2, backward: 3 },
        }),
        repetitions: 2,
        trace: true,
      })),
  );

/** Spans of a rank's pass in a repetition. */
function passesOf(spans: readonly Span[]): Span[][] {
  const groups = new Map<string, Span[]>();
  for (const span of spans) {
    const key = `${span.step} ${span.rank} ${span.node}`;
    groups.set(key, [...(groups.get(key) ?? []), span]);
  }
  return [...groups.values()];
}

const nameOf = ({ operation }: Span): string => operation.split('/').at(-1) ?? '';
const isExpert = (span: Span): boolean => /^experts(?!\.weights)/u.test(nameOf(span));
const transfers = (spans: readonly Span[]): Span[] => spans.filter(({ collective }) => collective !== undefined);
const lastEnd = (spans: readonly Span[]): number => spans.reduce((last, { end }) => Math.max(last, end), 0);
const firstReady = (spans: readonly Span[]): number =>
  spans.reduce((first, { ready }) => Math.min(first, ready), Infinity);

/** Whether what a kind lets run beside something ran apart from it. */
const apart: Readonly<Record<Exclude<OverlapKind, 'chunks'>, (spans: readonly Span[]) => boolean>> = {
  shared: (spans) => {
    const shared = spans.filter(({ lane }) => lane === 'shared');
    const end = lastEnd(shared);
    return shared.length > 0 && transfers(spans).every((one) => one.issued < firstReady(shared) || one.ready >= end);
  },
  experts: (spans) => {
    const experts = spans.filter(isExpert);
    const [start, end] = [firstReady(experts), lastEnd(experts)];
    return experts.length > 0 && transfers(spans).every((one) => one.end <= start || one.ready >= end);
  },
  weightGradients: (spans) => {
    const weights = spans.find((one) => nameOf(one) === 'experts.weights');
    // the sums of shared experts and the gather of the result come after, of all that goes back
    const back = transfers(spans).filter((one) => !/^(?:gather|reduce\.shared)/u.test(nameOf(one)));
    return weights === undefined || back.every(({ end }) => end <= weights.ready);
  },
};

describe('a dispatch that computes besides', () => {
  it('gives the same closed form with everything beside and with everything apart', async () => {
    const jobs = [...jobsOf({}), ...jobsOf({ chunks: false, experts: false, shared: false, weightGradients: false })];
    const measured = await measureDispatch({ jobs });
    expect(measured.filter(({ error }) => !(error < 1e-6)).map(({ job, error }) => ({ job, error }))).toEqual([]);
    // all kernels ran, and none more
    const names = new Set(measured.flatMap(({ spans }) => spans.filter(isExpert).map(nameOf)));
    expect(names.size).toBeGreaterThan(0);
  });

  it.each(['shared', 'experts', 'weightGradients'] as const)('runs %s apart where that is asked for', async (kind) => {
    const measured = await measureDispatch({ jobs: jobsOf({ [kind]: false }) });
    for (const { job, spans } of measured)
      for (const pass of passesOf(spans)) expect(apart[kind](pass), `${job.strategy.dispatch} ${kind}`).toBe(true);
  });
});
