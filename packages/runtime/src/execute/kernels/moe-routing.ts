/** Kernels of the router: scores and picks, capacity, counts, and the way back. */
import type { MoeModel, Scope } from '@monta/core';
import type { Gemm } from '../../device/gemm.js';
import {
  addAuxiliaryStatistics,
  auxiliaryGradient,
  dropByProbability,
  expertCapacity,
  routerBackward,
  routerSoftmax,
  routerTopK,
  type RouterShape,
} from '../../moe/index.js';
import { linearForward, linearInputGrad, linearWeightGrad } from '../../transformer/index.js';
import type { KernelCall, KernelRegistry } from '../kernel.js';
import type { ParameterStore } from '../parameter-store.js';
import { pickedIds } from '../routing.js';
import type { TrainingContext } from './context.js';
import { feedForwardNorm, normBackward, normForward } from './norms.js';
import { scopedFloats, scopedInts, type MoeContext } from './moe-rows.js';

export interface RouterContext extends MoeContext {
  readonly model: MoeModel;
  readonly gemm: Gemm;
  readonly parameters: ParameterStore;
  /** Tokens over all replicas times layers with experts: what the auxiliary loss pools in one micro-batch. */
  readonly pooledTokens: number;
  readonly microBatches: number;
}

const routerShape = ({ model }: RouterContext, tokens: number): RouterShape => ({
  tokens,
  experts: model.experts,
  picks: model.topK,
  renormalise: model.normTopK,
});

const route =
  (context: RouterContext, scope: Scope) =>
  (call: KernelCall): void => {
    const { routing, model, gemm, parameters } = context;
    const tokens = routing.tokens(scope);
    const shape = routerShape(context, tokens);
    const x = scopedFloats(call, routing, call.operation.uses[0].region, scope);
    const probabilities = call.floats('route.probabilities');
    const ids = call.ints('route.ids');
    const size = { rows: tokens, inputs: model.hiddenSize, outputs: model.experts };
    linearForward(gemm, size, x, parameters.router(call.node.layer).weight, probabilities);
    routerSoftmax(shape, probabilities, probabilities);
    routerTopK(shape, probabilities, ids, call.floats('route.weights'));
    const statistics = call.floats('router.statistics');
    addAuxiliaryStatistics(
      routerShape(context, routing.tokens('slice')),
      scopedFloats(call, routing, 'route.probabilities', 'slice'),
      scopedInts(call, routing, 'route.ids', 'slice'),
      statistics.subarray(0, model.experts),
      statistics.subarray(model.experts),
    );
  };

/** Rows of `picks`: k ids, then their probabilities before renormalising, by which picks are ranked. */
const writePicks =
  ({ model }: RouterContext) =>
  (call: KernelCall): void => {
    const { experts, topK: k } = model;
    const picks = call.floats('picks');
    const ids = call.ints('route.ids');
    const probabilities = call.floats('route.probabilities');
    for (let pick = 0; pick < ids.length; pick++) {
      const token = Math.floor(pick / k);
      const at = token * 2 * k + (pick % k);
      picks[at] = ids[pick];
      picks[at + k] = probabilities[token * experts + ids[pick]];
    }
  };

/** Marks dropped picks: id becomes ~id, the weight 0. */
function markDropped(kept: Uint8Array, ids: Int32Array, weights: Float32Array): void {
  for (let pick = 0; pick < ids.length; pick++)
    if (kept[pick] === 0) {
      ids[pick] = ~ids[pick];
      weights[pick] = 0;
    }
}

function capacityOf({ routing, model }: RouterContext): number {
  const { capacityFactor = Infinity, tokens } = routing.shape;
  return expertCapacity(capacityFactor, tokens, model.topK, model.experts);
}

const capacityOfReplica =
  (context: RouterContext) =>
  (call: KernelCall): void => {
    const ids = call.ints('route.ids');
    const weights = call.floats('route.weights');
    const kept = new Uint8Array(ids.length);
    const shape = routerShape(context, context.routing.shape.tokens);
    dropByProbability(shape, capacityOf(context), call.floats('route.probabilities'), ids, kept, weights);
    markDropped(kept, ids, weights);
  };

const capacityOfSlice =
  (context: RouterContext) =>
  (call: KernelCall): void => {
    const { routing, model } = context;
    const { experts, topK: k } = model;
    const { tokens } = routing.shape;
    const picks = call.floats('picks.all');
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
      dropByProbability(routerShape(context, tokens), capacityOf(context), probabilities, ids, kept, weights);
      const own = kept.subarray(routing.slice.start * k, routing.slice.end * k);
      markDropped(own, call.ints('route.ids'), call.floats('route.weights'));
    });
  };

/** Kept picks of this rank's slice, by expert. */
const count =
  ({ routing }: RouterContext) =>
  (call: KernelCall): void => {
    const ids = scopedInts(call, routing, 'route.ids', 'slice');
    const counts = call.ints(call.operation.uses[1].region);
    counts.fill(0);
    for (const id of ids) if (id >= 0) counts[id]++;
  };

const routeBackward =
  (context: RouterContext, scope: Scope) =>
  (call: KernelCall): void => {
    const { routing, model, gemm, parameters } = context;
    const { experts, hiddenSize } = model;
    const tokens = routing.tokens(scope);
    const auxiliary = new Float32Array(experts);
    const counts = call.floats('router.statistics').subarray(0, experts);
    auxiliaryGradient(counts, context.pooledTokens, model.auxLossCoefficient / context.microBatches, auxiliary);
    const { weight, gradient } = parameters.router(call.node.layer);
    call.scratch(tokens * experts, (dlogits) => {
      routerBackward(
        routerShape(context, tokens),
        scopedFloats(call, routing, 'route.probabilities', scope),
        pickedIds(scopedInts(call, routing, 'route.ids', scope)),
        call.floats('route.gradient'),
        auxiliary,
        dlogits,
      );
      const size = { rows: tokens, inputs: hiddenSize, outputs: experts };
      linearInputGrad(gemm, size, dlogits, weight, call.floats('normed.gradient'));
      // The weight's gradient only of the own slice, also where all tokens are differentiated: the update sums it over TP.
      const rows = routing.tokens('slice');
      const own = scope === 'slice' ? 0 : routing.slice.start * experts;
      linearWeightGrad(
        gemm,
        { ...size, rows },
        dlogits.subarray(own, own + rows * experts),
        scopedFloats(call, routing, 'moe.normed', 'slice'),
        gradient,
      );
    });
  };

/** The norm in front of experts. */
export function moeNormKernels(context: TrainingContext): KernelRegistry {
  return {
    'moe.norm': normForward(context, feedForwardNorm),
    'moe.norm.backward': normBackward(context, feedForwardNorm),
  };
}

export function routerKernels(context: RouterContext): KernelRegistry {
  const scopes: readonly Scope[] = ['slice', 'replica'];
  return Object.assign(
    {
      'moe.picks': writePicks(context),
      'moe.capacity.slice': capacityOfSlice(context),
      'moe.capacity.replica': capacityOfReplica(context),
    },
    ...scopes.map((scope) => ({
      [`moe.router.${scope}`]: route(context, scope),
      [`moe.count.${scope}`]: count(context),
      [`moe.router.backward.${scope}`]: routeBackward(context, scope),
    })),
  ) as KernelRegistry;
}
