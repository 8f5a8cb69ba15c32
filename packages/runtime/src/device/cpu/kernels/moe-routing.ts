/** Kernels of the router: scores and picks, capacity, counts, and the way back. */
import {
  addAuxiliaryStatistics,
  addPicks,
  auxiliaryGradient,
  dropByProbability,
  expertCapacity,
  pickedIds,
  routerBackward,
  routerSigmoid,
  routerSoftmax,
  routerTopK,
  selectExperts,
  type RouterShape,
} from '../../../moe/index.js';
import { addBias, biasGrad, linearForward, linearInputGrad, linearWeightGrad } from '../../../transformer/index.js';
import type { CatalogueKernels } from '../kernel-call.js';

type RoutingKernel =
  'moe.router' | 'moe.picks' | 'moe.capacity' | 'moe.capacity.gathered' | 'moe.count' | 'moe.router.backward';

/** Marks dropped picks: id becomes ~id, the weight 0. */
function markDropped(kept: Uint8Array, ids: Int32Array, weights: Float32Array): void {
  for (let pick = 0; pick < ids.length; pick++)
    if (kept[pick] === 0) {
      ids[pick] = ~ids[pick];
      weights[pick] = 0;
    }
}

/** Of T tokens, those of this rank's slice; all where only the slice is there. */
const ownTokens = (tokens: number, scope: 'slice' | 'replica', slice: { start: number; end: number }) =>
  scope === 'slice' ? { start: 0, end: tokens } : slice;

export const routingKernels: CatalogueKernels<RoutingKernel> = {
  'moe.router': (call) => {
    const { scope, renormalise, slice, selection } = call.arguments;
    const [tokens, hidden] = [call.rows('normed'), call.columns('normed')];
    const [experts, picks] = [call.columns('probabilities'), call.columns('ids')];
    const shape: RouterShape = { tokens, experts, picks, renormalise };
    const [probabilities, ids] = [call.f32('probabilities'), call.i32('ids')];
    const size = { rows: tokens, inputs: hidden, outputs: experts };
    linearForward({
      gemm: call.gemm,
      shape: size,
      x: call.f32('normed'),
      weight: call.f32('weight'),
      y: probabilities,
    });
    if (call.has('bias')) addBias(size, call.f32('bias'), probabilities);
    if (selection?.scoring === 'sigmoid') routerSigmoid(probabilities, probabilities);
    else routerSoftmax(shape, probabilities, probabilities);
    const weights = call.f32('weights');
    if (selection === undefined) routerTopK(shape, probabilities, ids, weights);
    else {
      const bias = call.has('selectionBias') ? call.f32('selectionBias') : undefined;
      selectExperts({ shape, selection, scores: probabilities, bias, ids, weights });
    }
    const { start, end } = ownTokens(tokens, scope, slice);
    const statistics = call.f32('statistics');
    addAuxiliaryStatistics({
      shape: { ...shape, tokens: end - start },
      probabilities: probabilities.subarray(start * experts, end * experts),
      ids: ids.subarray(start * picks, end * picks),
      counts: statistics.subarray(0, experts),
      probabilitySums: statistics.subarray(experts),
    });
  },

  'moe.picks': (call) => {
    const [picks, ids, probabilities] = [call.f32('picks'), call.i32('ids'), call.f32('probabilities')];
    const [k, experts] = [call.columns('ids'), call.columns('probabilities')];
    for (let pick = 0; pick < ids.length; pick++) {
      const token = Math.floor(pick / k);
      const at = token * 2 * k + (pick % k);
      picks[at] = ids[pick];
      picks[at + k] = probabilities[token * experts + ids[pick]];
    }
  },

  'moe.capacity': (call) => {
    const { factor, renormalise } = call.arguments;
    const [ids, weights] = [call.i32('ids'), call.f32('weights')];
    const [tokens, picks, experts] = [call.rows('ids'), call.columns('ids'), call.columns('probabilities')];
    const kept = new Uint8Array(ids.length);
    const shape = { tokens, experts, picks, renormalise };
    const capacity = expertCapacity(factor, tokens, picks, experts);
    dropByProbability({ shape, capacity, probabilities: call.f32('probabilities'), ids, kept, weights });
    markDropped(kept, ids, weights);
  },

  'moe.capacity.gathered': (call) => {
    const { factor, experts, renormalise, slice } = call.arguments;
    const [tokens, k] = [call.rows('picks'), call.columns('ids')];
    const picks = call.f32('picks');
    const ids = new Int32Array(tokens * k);
    call.scratch(tokens * experts, (probabilities) => {
      for (let pick = 0; pick < ids.length; pick++) {
        const token = Math.floor(pick / k);
        const at = token * 2 * k + (pick % k);
        ids[pick] = picks[at];
        probabilities[token * experts + ids[pick]] = picks[at + k];
      }
      const kept = new Uint8Array(ids.length);
      const weights = new Float32Array(ids.length);
      const capacity = expertCapacity(factor, tokens, k, experts);
      dropByProbability({
        shape: { tokens, experts, picks: k, renormalise },
        capacity,
        probabilities,
        ids,
        kept,
        weights,
      });
      markDropped(kept.subarray(slice.start * k, slice.end * k), call.i32('ids'), call.f32('weights'));
    });
  },

  'moe.count': (call) => {
    const counts = call.i32('counts');
    counts.fill(0);
    for (const id of call.i32('ids')) if (id >= 0) counts[id]++;
  },

  'moe.router.backward': (call) => {
    const { scope, renormalise, coefficient, pooledTokens, slice, selection } = call.arguments;
    const { gemm } = call;
    const chosen = pickedIds(call.i32('ids'));
    const [tokens, experts] = [call.rows('probabilities'), call.columns('probabilities')];
    const [hidden, picks] = [call.columns('normedGradient'), call.columns('ids')];
    const auxiliary = new Float32Array(experts);
    auxiliaryGradient(call.f32('statistics').subarray(0, experts), pooledTokens, coefficient, auxiliary);
    call.scratch(tokens * experts, (dlogits) => {
      routerBackward({
        shape: { tokens, experts, picks, renormalise, selection },
        probabilities: call.f32('probabilities'),
        ids: chosen,
        dweights: call.f32('routeGradient'),
        auxiliary,
        dlogits,
      });
      const size = { rows: tokens, inputs: hidden, outputs: experts };
      linearInputGrad({ gemm, shape: size, dy: dlogits, weight: call.f32('weight'), dx: call.f32('normedGradient') });
      // The weight's gradient only of the own slice, also where all tokens are differentiated: the update sums it over
      // TP.
      const { start, end } = ownTokens(tokens, scope, slice);
      const own = { ...size, rows: end - start };
      const dOwn = dlogits.subarray(start * experts, end * experts);
      linearWeightGrad({
        gemm,
        shape: own,
        dy: dOwn,
        x: call.f32('normed'),
        dweight: call.f32('weightGradient'),
      });
      if (call.has('biasGradient')) biasGrad(own, dOwn, call.f32('biasGradient'));
      if (call.has('picks')) addPicks(chosen.subarray(start * picks, end * picks), call.f32('picks'));
    });
  },
};
