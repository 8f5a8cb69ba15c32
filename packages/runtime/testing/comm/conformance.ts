/** Turns the conformance cases into a vitest suite for one backend. */
import { beforeAll, describe, expect, test } from 'vitest';
import { conformanceCases, type CaseReport } from './conformance-cases.js';

/**
 * Starts a job of `ranks` ranks that all run `runConformanceCases`, and passes on their reports. Resolves when the job
 * has ended well, rejects with its error otherwise.
 */
export type ConformanceLauncher = (
  ranks: number,
  onReport: (rank: number, report: CaseReport) => void,
) => Promise<unknown>;

/** Generous: a machine may be busy with other things. */
const jobMilliseconds = 120_000;

/** One job per size; each case is a test of its own, which fails with the job's error if the job ended in it. */
export function describeConformance(backend: string, sizes: readonly number[], launch: ConformanceLauncher): void {
  for (const size of sizes) {
    describe(`${backend}, ${size} ${size === 1 ? 'rank' : 'ranks'}`, () => {
      const passed = new Map<string, Set<number>>();
      const started = new Set<string>();
      let failure: Error | undefined;

      beforeAll(async () => {
        try {
          await launch(size, (rank, { name, state }) => {
            if (state === 'started') started.add(name);
            else passed.set(name, (passed.get(name) ?? new Set()).add(rank));
          });
        } catch (error) {
          failure = error instanceof Error ? error : new Error(String(error));
        }
      }, jobMilliseconds);

      const outcome = (name: string): string | Error => {
        if (passed.get(name)?.size === size) return 'passed on every rank';
        if (failure === undefined) return 'the job ended without running this case on every rank';
        if (started.has(name)) return failure;
        return `not reached: the job ended in an earlier case: ${failure.message}`;
      };

      test.each(conformanceCases.map(({ name }) => name))('%s', (name) => {
        const result = outcome(name);
        if (result instanceof Error) throw result;
        expect(result).toBe('passed on every rank');
      });
    });
  }
}
