/** Checks of experts that are chosen with a bias on their scores, and of how the biases follow the load. */
import { addPicks as countPicks, balanceBias, selectExperts, type RouterShape } from '../../../moe/index.js';
import { addPicks, chooseByScores } from '../operations/router.js';
import { cudaBalanceBias } from '../operations/update.js';
import type { CheckBench } from './bench.js';

/** fp32 outputs whatever the storage. */
const narrow = 1e-5;

const usual = { scoring: 'sigmoid', scaling: 2.5 } as const;

export function checkSelectionBias(bench: CheckBench): void {
  for (const [experts, picks, groups] of [
    [16, 4, { groups: 4, chosen: 2, by: 'twoLargest' }],
    [60, 4, undefined],
    [256, 8, { groups: 8, chosen: 4, by: 'twoLargest' }],
  ] as const) {
    const tokens = bench.of(517);
    const selection = { ...usual, ...(groups === undefined ? {} : { groups }) };
    const shape: RouterShape & { selection: typeof selection } = {
      tokens,
      experts,
      picks,
      renormalise: true,
      selection,
    };
    const of = `${experts} experts, top ${picks}${groups === undefined ? '' : ' of groups'}`;
    const scores = Float32Array.from({ length: tokens * experts }, () => bench.random.uniform());
    const bias = Float32Array.from({ length: experts }, () => bench.random.uniform() / 4);
    const [ids, weights] = [new Int32Array(tokens * picks), new Float32Array(tokens * picks)];
    selectExperts({ shape, selection, scores, bias, ids, weights });
    const on = { scores: bench.upload(scores), bias: bench.upload(bias) };
    const to = { ids: bench.poisoned(ids.byteLength), weights: bench.poisoned(weights.byteLength) };
    chooseByScores(bench.on, shape, { ...on, ...to });
    bench.expect(`${of}: picks`, bench.ints(to.ids, ids.length), ids, 0);
    bench.expect(`${of}: weights`, bench.floats(to.weights, weights.length), weights, narrow);
    checkBalance(bench, of, bias, ids);
  }
}

/** Counts that dropped picks are among, twice; then biases a step on, and none on where the gradients have no norm. */
function checkBalance(bench: CheckBench, of: string, bias: Float32Array, ids: Int32Array): void {
  const { length: experts } = bias;
  const [counts, rate] = [new Float32Array(experts), 0.001];
  const marked = bench.upload(ids.map((id, pick) => (pick % 11 === 0 ? ~id : id)));
  const picks = bench.upload(counts);
  for (let time = 0; time < 2; time++) {
    countPicks(ids, counts);
    addPicks(bench.on, { ids: marked, picks }, { count: ids.length, experts });
  }
  bench.expect(`${of}: picks by expert`, bench.floats(picks, experts), counts, 0);
  for (const squares of [4, Infinity, NaN]) {
    const moved = bias.slice();
    if (Number.isFinite(squares)) balanceBias(moved, counts, rate);
    const state = { bias: bench.upload(bias), picks, squares: bench.upload(Float32Array.of(squares)) };
    cudaBalanceBias(bench.on, state, { experts, rate });
    bench.expect(`${of}: biases, squares ${squares}`, bench.floats(state.bias, experts), moved, 0);
  }
}
