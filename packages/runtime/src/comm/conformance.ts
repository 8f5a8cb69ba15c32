/** Turns the conformance cases into a vitest suite for one backend. */
import { beforeAll, describe, it } from 'vitest';
import { conformanceCases, type CaseReport } from './conformance.cases.js';

/**
 * Starts a job of `ranks` ranks that all run `runConformanceCases`, and passes on their reports. Resolves when the job has ended
 * well, rejects with its error otherwise.
 */
export type ConformanceLauncher = (
  ranks: number,
  onReport: (rank: number, report: CaseReport) => void,
) => Promise<unknown>;

/** One job per size; each case is a test of its own, which fails with the job's error if the job ended in it. */
export function describeConformance(backend: string, sizes: readonly number[], launch: ConformanceLauncher): void {
  for (const size of sizes) {
    describe(`${backend} backend, ${size} ${size === 1 ? 'rank' : 'ranks'}`, () => {
      const passed = new Map<string, Set<number>>();
      const started = new Set<string>();
      let failure: unknown;

      beforeAll(async () => {
        try {
          await launch(size, (rank, { name, state }) => {
            if (state === 'started') started.add(name);
            else passed.set(name, (passed.get(name) ?? new Set()).add(rank));
          });
        } catch (error) {
          failure = error;
        }
      });

      for (const { name } of conformanceCases) {
        it(name, () => {
          if (passed.get(name)?.size === size) return;
          if (failure === undefined) throw new Error('the job ended without running this case on every rank');
          if (started.has(name)) throw failure;
          throw new Error('not reached: the job ended in an earlier case', { cause: failure });
        });
      }
    });
  }
}
