/**
 * Fits the constants of the step model anew and compares them with those in the source: `npm run fit:steps`. Prints
 * both and exits with 1 where one differs by more than a hundredth.
 */
import { constantPriors, type FittedConstant, fitStepConstants, stepConstants, validateRuns } from '@monta/core';
import { publishedRuns } from './accuracy-estimate.js';

const most = 0.01;
const iterations = 40;

const runs = validateRuns(publishedRuns()).details;
const { constants, loss } = fitStepConstants({ runs, priors: constantPriors, start: stepConstants, iterations });
let apart = 0;
for (const name of Object.keys(constantPriors) as FittedConstant[]) {
  const [stored, found] = [stepConstants[name], constants[name]];
  const differs = Math.abs(found / stored - 1) > most;
  if (differs) apart++;
  console.log(
    `${name.padEnd(24)}${stored.toPrecision(4).padStart(12)}${found.toPrecision(4).padStart(12)}${differs ? ' *' : ''}`,
  );
}
console.log(
  `${runs.length} runs, loss ${loss.toFixed(1)}; ${apart} constants differ by over ${most * 100} % from the source`,
);
process.exitCode = apart === 0 ? 0 : 1;
