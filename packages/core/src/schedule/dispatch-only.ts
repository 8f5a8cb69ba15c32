/**
 * Dispatch and combine alone, without router and expert GEMMs: what `monta bench dispatch` measures and what the choice
 * of a dispatcher compares. Experts pass their rows through, so each token's result is etp times the weighted sum of
 * its own copies: that is checked too. Routing is bound before the program runs: `route.weights` are filled and counts
 * are known. What the shape says that is computed too (`computes`) stands where a layer has it, so that it runs beside
 * what travels; its results go nowhere, and the rows go back as they came.
 */
import { returnsRows } from './dispatchers/dispatcher.js';
import {
  outgoingHalves,
  returningHalves,
  unsupportedStrategy,
  weighsAtExperts,
  type Strategy,
} from './dispatchers/strategies.js';
import { declareExpertGradients, emitExpertsBackward, emitExpertWeights } from './moe-backward.js';
import { declareExpertRegions, emitExperts } from './moe-forward.js';
import { dtypeBytes, expertSize, rowsRegion, type ComputedBeside, type MoeShape } from './moe-shape.js';
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
  streamRows,
  weighGradients,
  type Parts,
} from './moe-parts.js';
import { addShared, emitShared, emitSharedBackward } from './moe-shared.js';
import { overlaps, withOverlap } from './overlap.js';
import type { Operation, Program, Template } from './schedule.js';
import { InputError } from '../units/errors.js';
import { own, read, write } from './template-builder.js';
import { memoryWork } from './work.js';

/** What a template of dispatch and combine alone is made of. */
interface Between {
  readonly p: Parts;
  readonly pass: 'forward' | 'backward';
  /** Region of the rows that have arrived at their experts, and go back as they are. */
  readonly rows: string;
  /** Whether experts compute beside them. */
  readonly experts: boolean;
}

const computes = ({ computes: list = [] }: MoeShape, kind: ComputedBeside): boolean => list.includes(kind);

/** Declares the regions at the experts. */
function betweenOf(p: Parts, pass: 'forward' | 'backward'): Between {
  const { builder, shape } = p;
  const experts = computes(shape, 'experts') || computes(shape, 'weightGradients');
  const rows = experts && pass === 'backward' ? 'expert.outputGradient' : expertInput;
  if (!experts)
    builder.region(
      rowsRegion({ id: expertInput, shape, rows: expertSize(shape), columns: shape.hiddenSize, order: 'blocks' }),
    );
  else if (pass === 'forward') declareExpertRegions(p);
  else declareExpertGradients(p);
  return { p, pass, rows, experts };
}

/** A chunk's computation between its two ways. */
function computeChunk(
  { p, pass, rows, experts }: Between,
  piece: { readonly chunk: number; readonly of: number },
): void {
  if (weighsAtExperts(p.strategy) && pass === 'backward') weighGradients(p, rows, piece);
  if (!experts) return;
  if (pass === 'forward') emitExperts(p, piece);
  else emitExpertsBackward(p, piece);
}

/** Rows go back as they arrived, but behind the experts of their chunk, whose results would go back. */
function behindExperts(template: Template, rows: string): Template {
  const experts = template.operations.flatMap(({ task, chunk, id }, place) =>
    task === 'experts' ? [{ chunk, id, place }] : [],
  );
  const operations = template.operations.map((operation, place): Operation => {
    const { task, uses, after } = operation;
    if (task === 'experts' || task === 'experts.weights') return operation;
    const before = experts.filter(
      (one) =>
        one.place < place && uses.some(({ region, chunk, of }) => region === rows && (of === 1 || chunk === one.chunk)),
    );
    return before.length === 0
      ? operation
      : { ...operation, after: [...new Set([...after, ...before.map(({ id }) => id)])] };
  });
  return { ...template, operations };
}

/** The experts that every token visits, where the dispatch holds them. */
function emitSharedBeside(p: Parts, pass: 'forward' | 'backward', allTokens: () => string): string | undefined {
  const { builder, shape } = p;
  if (!computes(shape, 'shared')) return undefined;
  const rows = streamRows(shape.tokens, shape);
  builder.region(
    rowsRegion({ id: 'moe.normed', shape, rows, columns: shape.hiddenSize, order: 'rows', life: 'saved' }),
  );
  return pass === 'forward' ? emitShared(p) : emitSharedBackward(p, allTokens);
}

function dispatchTemplate(shape: MoeShape, strategy: Strategy, pass: 'forward' | 'backward'): Template {
  const p = parts(shape, strategy);
  const { builder, activation } = p;
  const of = strategy.chunks[pass];
  const forward = pass === 'forward';
  const outgoing = outgoingHalves.get(strategy.dispatch);
  const tokens = builder.region(streamRegion(forward ? 'stream' : 'gradient', shape));
  for (const region of routeRegions(shape, p.scopeRows(p.routing))) builder.region(region);
  let gathered: string | undefined;
  const allTokens = (): string => (gathered ??= gatheredTokens(p, 'gather.tokens', tokens));
  const source = outgoing.scope === 'replica' && shape.layout.tp > 1 ? allTokens() : tokens;
  const between = betweenOf(p, pass);
  const weighs = weighsAtExperts(strategy);
  if (weighs) builder.region(groupRegion(p, 'weights'));
  // as in a layer: forward in front of all that travels, backward behind the dispatch unless that is to wait
  const early = forward || !overlaps(shape.overlap, 'shared');
  let shared = early ? emitSharedBeside(p, pass, allTokens) : undefined;
  const payload = forward ? shape.payload : undefined;
  emitOutgoing({ p, of, source, into: between.rows, weighted: !forward && !weighs, payload });
  if (!early) shared = emitSharedBeside(p, pass, allTokens);
  const returned = emitReturning({
    p,
    of,
    source: between.rows,
    saved: forward,
    compute: (chunk) => computeChunk(between, { chunk, of }),
  });
  if (!forward && computes(shape, 'weightGradients')) emitExpertWeights(p);
  const output = gatheredCombined(p, combineReturned(p, pass, returned), 'gather.output');
  addShared(p, shared, output);
  const built = builder.build(`dispatch.${pass}`, activation, activation);
  return withOverlap(between.experts ? behindExperts(built, between.rows) : built, shape.overlap);
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
