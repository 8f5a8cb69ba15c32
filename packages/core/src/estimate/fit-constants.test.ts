import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { constantPriors } from './constant-priors.js';
import { median } from '../units/index.js';
import { stepConstants, type StepConstants } from './constants.js';
import { fitStepConstants, logErrors } from './fit-constants.js';
import { readPublishedRuns } from './published-runs.js';
import { validateRuns } from './validate-runs.js';

const name = 'published-runs.csv';
const text = readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');
const runs = validateRuns(readPublishedRuns(text, name)).details;

describe('constants of the step model', () => {
  it('are found again from steps that were computed with them', () => {
    const some = runs.filter((_, index) => index % 6 === 0);
    const errors = logErrors(some, stepConstants);
    const computed = some.map((run, index) => ({
      ...run,
      measuredSeconds: run.measuredSeconds * Math.exp(errors[index] ?? 0),
    }));
    const start = { ...stepConstants, gemmHopper: 0.6, exposedTp: 0.9, hostMoe: 0.003 };
    const { constants } = fitStepConstants({ runs: computed, priors: constantPriors, start, iterations: 4 });
    expect(constants.gemmHopper / stepConstants.gemmHopper).toBeCloseTo(1, 1);
    const middle = (fitted: StepConstants): number => median(Array.from(logErrors(computed, fitted), Math.abs));
    expect(middle(start)).toBeGreaterThan(0.03);
    expect(middle(constants)).toBeLessThan(0.01);
  });

  it('are those that fit the published runs: another step of the fit gains next to nothing', () => {
    const request = { runs, priors: constantPriors, start: stepConstants };
    const before = fitStepConstants({ ...request, iterations: 0 });
    const after = fitStepConstants({ ...request, iterations: 1 });
    expect(after.loss / before.loss).toBeGreaterThan(0.99);
  });

  it('are fewer than a tenth of the runs, and none is of one source', () => {
    expect(Object.keys(constantPriors).length).toBeLessThan(runs.length / 10);
  });
});
