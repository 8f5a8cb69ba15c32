/** Every kernel of the card beside the CPU's, on fresh random inputs. */
import type { CudaContext } from '../context.js';
import type { Storage } from '../kernel-source.js';
import { CheckBench, type CheckResult } from './bench.js';
import { checkDevice } from './device.js';
import { checkRouter, checkRows, checkSwiglu } from './experts.js';
import { checkExpertProducts } from './expert-products.js';
import { checkFp8 } from './fp8.js';
import { checkRowPlans } from './row-plans.js';
import { checkSelectionBias } from './selection-bias.js';
import { checkLayer } from './layer.js';
import { checkAttention, checkBatchedGemm, checkGemm } from './products.js';
import { checkCrossEntropy, checkEmbedding, checkNorm, checkRope, checkUpdate } from './transformer.js';

export { type CheckResult } from './bench.js';

export const checks: Readonly<Record<string, (bench: CheckBench) => void>> = {
  router: checkRouter,
  'selection bias': checkSelectionBias,
  'rows in fp8': checkFp8,
  rows: checkRows,
  'row plans': checkRowPlans,
  swiglu: checkSwiglu,
  norm: checkNorm,
  rope: checkRope,
  embedding: checkEmbedding,
  'cross entropy': checkCrossEntropy,
  update: checkUpdate,
  products: checkGemm,
  'batched products': checkBatchedGemm,
  "experts' products": checkExpertProducts,
  layer: checkLayer,
  device: checkDevice,
};

/** A check in short: how many outputs were compared, and the one nearest to its bound. */
export interface CheckSummary {
  readonly name: string;
  readonly storages: readonly Storage[];
  readonly compared: number;
  readonly failed: readonly CheckResult[];
  readonly worst: CheckResult;
}

export function summarize(name: string, results: readonly CheckResult[]): CheckSummary {
  const share = ({ error, bound }: CheckResult): number =>
    Number.isNaN(error) ? Infinity : error === 0 ? 0 : error / bound;
  return {
    name,
    storages: [...new Set(results.map(({ storage }) => storage))],
    compared: results.length,
    failed: results.filter(({ passed }) => !passed),
    worst: results.reduce((worst, one) => (share(one) > share(worst) ? one : worst)),
  };
}

/**
 * Runs a check in both storage types; attention in bf16 alone. What throws is a result that did not pass. smaller: what
 * numbers of rows are divided by.
 */
export function runCheck(context: CudaContext, name: string, seed: number, smaller = 1): CheckResult[] {
  const run = name === attention ? checkAttention : checks[name];
  const storages: readonly Storage[] = name === attention ? ['bf16'] : ['f32', 'bf16'];
  return storages.flatMap((storage) => {
    const results: CheckResult[] = [];
    try {
      const bench = new CheckBench({ context, storage, seed, smaller }, results);
      try {
        run(bench);
      } finally {
        bench.close();
      }
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      results.push({ check: 'ran to its end', storage, error: NaN, bound: 0, passed: false, problem });
    }
    return results;
  });
}

const attention = 'attention';

export const checkNames: readonly string[] = [...Object.keys(checks), attention];
