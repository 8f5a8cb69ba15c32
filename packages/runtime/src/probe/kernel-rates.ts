/**
 * From timed kernels to rates: seconds = overhead + work / rate, fitted for each kernel over the sizes that were seen.
 */
import { median } from '@monta/core/units';
import { priceKey } from '@monta/core/schedule';
import type { KernelRate, Program, Span, Work } from '@monta/core';
import { sharedSeconds } from './card-time.js';

/** One timed kernel: its work (FLOPs of matrix kernels, bytes of the others) and its time. */
interface Sample {
  readonly work: number;
  readonly seconds: number;
}

interface Samples {
  readonly kind: Work['kind'];
  /** By size of work: times of the repetitions. */
  readonly bySize: Map<number, number[]>;
}

export interface TimedKernels {
  readonly program: Program;
  readonly spans: readonly Span[];
}

/**
 * Rates of all kernels that ran, by what they are priced by: of a kernel alone, also where spans of a card overlap.
 * Work is in FLOPs for matrix kernels and in bytes for the others.
 */
export function fitKernelRates(runs: readonly TimedKernels[]): Map<string, KernelRate> {
  const kernels = new Map<string, Samples>();
  for (const { program, spans } of runs) {
    const bodies = new Map<string, { key: string; work: Work }>();
    for (const template of Object.values(program.templates))
      for (const { id, body, uses } of template.operations)
        if (body.kind === 'kernel')
          bodies.set(`${template.name}/${id}`, { key: priceKey(body.name, uses), work: body.work });
    const kernelSpans = spans.filter(({ operation }) => bodies.has(operation));
    const seconds = sharedSeconds(kernelSpans);
    for (const [place, span] of kernelSpans.entries()) {
      const body = bodies.get(span.operation);
      if (!body) continue;
      const { kind, flopsPerRow, bytesPerRow, fixedBytes } = body.work;
      // A span's bytes are fixedBytes + bytesPerRow * rows, which tells the rows.
      const rows = (span.bytes - fixedBytes) / bytesPerRow;
      const size = kind === 'memory' ? span.bytes : flopsPerRow * rows;
      const samples = kernels.get(body.key) ?? { kind, bySize: new Map<number, number[]>() };
      kernels.set(body.key, samples);
      const times = samples.bySize.get(size) ?? [];
      samples.bySize.set(size, times);
      times.push(seconds[place]);
    }
  }
  return new Map([...kernels].map(([name, samples]) => [name, rateOf(samples)]));
}

function rateOf({ kind, bySize }: Samples): KernelRate {
  const samples = [...bySize].map(([work, times]): Sample => ({ work, seconds: median(times) }));
  const { overhead, perUnit } = fitLine(samples);
  const rate = 1 / perUnit;
  return kind === 'memory'
    ? { flopsPerSecond: Infinity, bytesPerSecond: rate, overheadSeconds: overhead, basis: 'fitted' }
    : { flopsPerSecond: rate, bytesPerSecond: Infinity, overheadSeconds: overhead, basis: 'fitted' };
}

/**
 * Least squares of relative errors with overhead and slope of at least 0; one size alone gives a line through the
 * origin.
 */
export function fitLine(samples: readonly Sample[]): { overhead: number; perUnit: number } {
  let [s0, s1, s2, t0, t1] = [0, 0, 0, 0, 0];
  for (const { work, seconds } of samples) {
    const weight = 1 / Math.max(seconds, 1e-9) ** 2;
    s0 += weight;
    s1 += weight * work;
    s2 += weight * work * work;
    t0 += weight * seconds;
    t1 += weight * work * seconds;
  }
  const determinant = s0 * s2 - s1 * s1;
  const overhead = determinant > 1e-9 * s0 * s2 ? (t0 * s2 - t1 * s1) / determinant : 0;
  const perUnit = determinant > 1e-9 * s0 * s2 ? (s0 * t1 - s1 * t0) / determinant : t1 / s2;
  if (overhead < 0) return { overhead: 0, perUnit: t1 / s2 };
  if (perUnit <= 0) return { overhead: t0 / s0, perUnit: Number.MIN_VALUE };
  return { overhead, perUnit };
}
