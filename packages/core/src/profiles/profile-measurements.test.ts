import { expect, it } from 'vitest';
import { generateTraces, plainJob, type TraceJob } from '../../testing/profiles/kineto-generator.js';
import { KinetoReader } from './kineto.js';
import { profileMeasurements } from './profile-measurements.js';
import type { RankProfile } from './profile.js';

function profiles(change: Partial<TraceJob>): RankProfile[] {
  return generateTraces({ ...plainJob, ...change }).map(({ text }, rank) => {
    const reader = new KinetoReader(`t${rank}.json`);
    reader.push(text);
    return reader.end();
  });
}

it('takes what all ranks recorded: the time from the last arrival, whatever the clocks say', () => {
  const { measurements, warnings } = profileMeasurements(profiles({ clockOffset: 3, layers: 6, renamedGroups: true }));
  const gathers = measurements.filter(({ op }) => op === 'all_gather');
  expect(gathers.length).toBeGreaterThan(3);
  for (const { ranks, nodes, bytes, seconds, gpu, library } of gathers) {
    expect([ranks, nodes, gpu, library]).toEqual([2, 1, 'NVIDIA H100 80GB HBM3', 'nccl 2.21.5']);
    // the generator's link: 20 us and a hundredth of a nanosecond a byte that a rank hands in; clocks are told to
    // within what ranks differ by at the end of a collective
    const expected = 20e-6 + (bytes / 2 / 100) * 1e-9;
    expect(Math.abs(seconds / expected - 1)).toBeLessThan(0.02);
  }
  expect(measurements.filter(({ op }) => op === 'all_reduce').every(({ ranks }) => ranks === 4)).toBe(true);
  expect(warnings.join('\n')).toMatch(/moved unequal or unknown amounts, left out/u);
});

it('refuses a single rank, whose times include waiting, and calls that say no sizes', () => {
  const [first, ...others] = profiles({ layers: 1 });
  expect(() => profileMeasurements(first === undefined ? [] : [first])).toThrow(/recorded by all its ranks/u);
  const unsized = [first, ...others].flatMap((one) =>
    one === undefined
      ? []
      : [
          {
            ...one,
            communications: one.communications.map((call) => ({ ...call, bytes: undefined, sentBytes: undefined })),
          },
        ],
  );
  expect(() => profileMeasurements(unsized)).toThrow(/recorded by all its ranks/u);
});

it('leaves out collectives beside which the rank communicated otherwise', () => {
  const read = profiles({ layers: 2 });
  const doubled = read.map((one) => ({
    ...one,
    communications: one.communications.flatMap((call) => [
      call,
      { op: 'notify' as const, library: 'x', kernel: 'x', start: call.start, end: call.end, line: 0 },
    ]),
  }));
  expect(() => profileMeasurements(doubled)).toThrow(/recorded by all its ranks/u);
});
