import { expect, test } from 'vitest';
import { lastStep, ofRank } from './select.js';
import type { Span, Trace } from './span.js';

const span = (step: number, rank: number): Span => ({
  step,
  rank,
  node: 0,
  operation: 'one',
  template: 't',
  task: 'one',
  chunk: 0,
  of: 1,
  lane: 'compute',
  issued: 0,
  ready: 0,
  end: 1,
  bytes: 0,
});
const trace: Trace = {
  kind: 'measured',
  source: 'test',
  ranks: 2,
  timeScale: 1,
  spans: [span(4, 0), span(7, 1), span(7, 0), span(5, 1)],
};

test('the last step has its spans of all ranks, whatever order they were written in', () => {
  expect(lastStep(trace).spans).toEqual([span(7, 1), span(7, 0)]);
  expect(lastStep({ ...trace, spans: [] }).spans).toEqual([]);
});

test('a rank has its spans of all steps', () => {
  expect(ofRank(trace, 0).spans).toEqual([span(4, 0), span(7, 0)]);
});
