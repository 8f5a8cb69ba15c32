/**
 * Dispatch and combine alone, without router and expert GEMMs: what `monta bench dispatch` measures and what the choice
 * of a dispatcher compares. Experts pass their rows through, so each token's result is etp times the weighted sum of
 * its own copies: that is checked too. Routing is bound before the program runs: `route.weights` are filled and counts
 * are known.
 */
import { returnsRows } from './dispatchers/dispatcher.js';
import {
  outgoingHalves,
  returningHalves,
  unsupportedStrategy,
  weighsAtExperts,
  type Strategy,
} from './dispatchers/strategies.js';
import { dtypeBytes, expertSize, rowsRegion, type MoeShape } from './moe-shape.js';
import {
  combineArguments,
  emitOutgoing,
  emitReturning,
  gatheredCombined,
  gatheredTokens,
  groupRegion,
  parts,
  routeRegions,
  streamRegion,
  weighGradients,
  type Parts,
} from './moe-parts.js';
import { withOverlap } from './overlap.js';
import type { Program, Template } from './schedule.js';
import { InputError } from '../units/errors.js';
import { own, read, write } from './template-builder.js';
import { memoryWork } from './work.js';

function dispatchTemplate(shape: MoeShape, strategy: Strategy, pass: 'forward' | 'backward'): Template {
  const p = parts(shape, strategy);
  const { builder, activation } = p;
  const of = strategy.chunks[pass];
  const forward = pass === 'forward';
  const outgoing = outgoingHalves.get(strategy.dispatch);
  const tokens = builder.region(streamRegion(forward ? 'stream' : 'gradient', shape));
  for (const region of routeRegions(shape, p.scopeRows(p.routing))) builder.region(region);
  const source =
    outgoing.scope === 'replica' && shape.layout.tp > 1 ? gatheredTokens(p, 'gather.tokens', tokens) : tokens;
  builder.region(
    rowsRegion({ id: expertInput, shape, rows: expertSize(shape), columns: shape.hiddenSize, order: 'blocks' }),
  );
  const weighs = weighsAtExperts(strategy);
  if (weighs) builder.region(groupRegion(p, 'weights'));
  emitOutgoing({
    p,
    of,
    source,
    into: expertInput,
    weighted: !forward && !weighs,
    payload: forward ? shape.payload : undefined,
  });
  const returned = emitReturning({
    p,
    of,
    source: expertInput,
    saved: forward,
    compute: (chunk) => {
      if (weighs && !forward) weighGradients(p, expertInput, { chunk, of });
    },
  });
  gatheredCombined(p, combineReturned(p, pass, returned), 'gather.output');
  return withOverlap(builder.build(`dispatch.${pass}`, activation, activation), shape.overlap);
}

/** Sums the returned rows where they are not summed yet. Returns the region of the result. */
function combineReturned(p: Parts, pass: 'forward' | 'backward', returned: string): string {
  const { builder, shape, strategy } = p;
  const half = returningHalves.get(strategy.combine);
  if (!returnsRows(half)) return returned;
  const rows = p.scopeRows(p.combined);
  const combined = builder.region(
    rowsRegion({ id: 'combined', shape, rows, columns: shape.hiddenSize, order: 'rows' }),
  );
  const weights = p.combined === 'slice' ? own(read('route.weights')) : read('route.weights');
  builder.kernel({
    id: 'combine',
    kernel: 'moe.combine',
    operands: {
      returned: read(returned),
      weights: pass === 'forward' ? weights : undefined,
      combined: write(combined),
    },
    arguments: { ...combineArguments(p, half, strategy.chunks[pass]), accumulate: false },
    work: memoryWork('gather', (shape.topK + 1) * shape.hiddenSize * dtypeBytes[shape.dtype], { rows }),
  });
  return combined;
}

/** Region of the rows that have arrived at their experts. */
export const expertInput = 'expert.input';

/** Dispatch and combine of one layer in the given passes. */
export function dispatchProgram(
  shape: MoeShape,
  strategy: Strategy,
  passes: readonly ('forward' | 'backward')[],
): Program {
  const why = unsupportedStrategy(strategy, shape);
  if (why !== undefined) throw new InputError(why);
  const templates = passes.map((pass) => dispatchTemplate(shape, strategy, pass));
  return {
    stage: 0,
    templates: Object.fromEntries(templates.map((template) => [template.name, template])),
    nodes: passes.map((pass, index) => ({
      template: `dispatch.${pass}`,
      layer: 0,
      microBatch: 0,
      pass,
      after: index > 0 ? [index - 1] : [],
    })),
  };
}
