/**
 * What a forward pass need not keep because the backward computes it again. A template that computes it is a slice of
 * the forward's own operations: those that write what was dropped, and what they need in turn. The same kernels read
 * the same values, so gradients stay the same bit for bit. Routing is always kept: picks cost little, and are neither
 * counted nor exchanged twice.
 */
import { dtypeBytes } from './moe-shape.js';
import { blockTemplate, type Block, type Operation, type Region, type Template, type Use } from './schedule.js';
import { conflicts } from './template-builder.js';
import { memoryWork } from './work.js';

/**
 * Modules by the names of Megatron-Core's `--recompute-modules`.
 *   core_attn: attention's output and log-sum-exp; its queries, keys and values stay
 *   layernorm: normed rows, and under sequence parallelism their gathering
 *   mlp, moe: all that a feed-forward keeps but its input and its routing; the experts' rows are dispatched again
 */
export const recomputeModules = ['core_attn', 'layernorm', 'mlp', 'moe'] as const;
export type RecomputeModule = (typeof recomputeModules)[number];

/** full: a layer keeps its input and its routing alone. selective: `core_attn` and `layernorm`. */
export type Recompute = 'none' | 'selective' | 'full' | readonly RecomputeModule[];

const selective: readonly RecomputeModule[] = ['core_attn', 'layernorm'];

const modulesOf = (recompute: Exclude<Recompute, 'full'>): readonly RecomputeModule[] =>
  recompute === 'none' ? [] : recompute === 'selective' ? selective : recompute;

const coreRegions: readonly string[] = ['attention.logSumExp', 'attention.context'];
const normRegions: readonly string[] = ['attention.normed', 'mlp.normed', 'moe.normed'];

/** Whether a region of a block's forward template is computed again. */
function isDropped(recompute: Recompute, block: Block, { id, life, kept }: Region): boolean {
  if (life !== 'saved' || kept === true) return false;
  if (recompute === 'full') return id !== 'attention.input';
  return modulesOf(recompute).some((module) => {
    switch (module) {
      case 'core_attn':
        return coreRegions.includes(id);
      case 'layernorm':
        return normRegions.includes(id);
      case 'mlp':
      case 'moe':
        return block === module && id !== `${block}.input`;
    }
  });
}

/**
 * A forward template that keeps less, and the one that computes the rest again before the backward; undefined where all
 * is kept.
 */
export interface RecomputedTemplate {
  readonly forward: Template;
  readonly again: Template | undefined;
}

/** The stream as it is computed again: a layer's, from its recomputation to the end of its backward. */
export const streamAgain = 'stream.again';

/** Splits a layer's forward template by what is recomputed. */
export function recomputed(forward: Template, recompute: Recompute): RecomputedTemplate {
  const block = forward.of?.block;
  if (block === undefined) throw new RangeError(`${forward.name} is the pass of no block; expected a layer's`);
  const dropped = new Set(forward.regions.filter((one) => isDropped(recompute, block, one)).map(({ id }) => id));
  if (dropped.size === 0) return { forward, again: undefined };
  const regions = forward.regions.map((region): Region =>
    dropped.has(region.id) ? { ...region, life: 'layer' } : region,
  );
  return { forward: { ...forward, regions }, again: computeAgain(forward, block, dropped, recompute === 'full') };
}

function computeAgain(forward: Template, block: Block, dropped: ReadonlySet<string>, whole: boolean): Template {
  const input = `${block}.input`;
  // Of a whole layer the feed-forward's input is the stream behind attention, so that is computed again too.
  const passesStream = whole && !dropped.has(input);
  const wanted = new Set(dropped);
  if (passesStream) wanted.add('stream');
  const available = new Set(
    forward.regions
      .filter(({ id, life }) => life !== 'layer' && id !== 'stream' && !dropped.has(id))
      .map(({ id }) => id),
  );
  const needed: Operation[] = [];
  for (const operation of [...forward.operations].reverse()) {
    if (!operation.uses.some(({ mode, region }) => mode !== 'read' && wanted.has(region))) continue;
    needed.unshift(operation);
    for (const { mode, region } of operation.uses)
      if (mode !== 'write' && region !== 'stream' && !available.has(region)) wanted.add(region);
  }
  const again = needed.map((operation) => ({
    ...operation,
    uses: operation.uses.flatMap((use) => useAgain(use, input, dropped)),
  }));
  const operations = ordered(passesStream ? [copyInput(forward, input), ...again] : again);
  const used = new Set(operations.flatMap(({ uses }) => uses.map(({ region }) => region)));
  const regions = forward.regions.flatMap((region): Region[] => [
    ...(used.has(region.id) ? [region] : []),
    ...(region.id === 'stream' && used.has(streamAgain)
      ? [{ ...region, id: streamAgain, life: 'saved' as const }]
      : []),
  ]);
  const pass = 'recompute';
  return { ...forward, name: blockTemplate(block, pass), of: { block, pass }, regions, operations };
}

/**
 * A use by an operation that runs again: the stream is the layer's own by now, or the input that the forward kept of
 * it.
 */
function useAgain(use: Use, input: string, dropped: ReadonlySet<string>): Use[] {
  if (use.region === input && use.mode === 'write' && !dropped.has(input)) return [];
  if (use.region !== 'stream') return [use];
  return [{ ...use, region: use.mode === 'read' && !dropped.has(input) ? input : streamAgain }];
}

/** Starts the stream from the kept input. */
function copyInput({ regions }: Template, input: string): Operation {
  const kept = regions.find(({ id }) => id === input);
  if (kept === undefined) throw new Error(`a forward template without ${input} can't be computed again`);
  const use = (role: string, region: string, mode: Use['mode']): Use => ({ role, region, chunk: 0, of: 1, mode });
  const work = memoryWork('copy', 2 * kept.columns * dtypeBytes[kept.dtype], { rows: kept.rows });
  return {
    id: 'stream',
    task: 'stream',
    chunk: 0,
    of: 1,
    lane: 'compute',
    body: { kind: 'kernel', name: 'copy', arguments: {}, work },
    uses: [use('from', input, 'read'), use('to', streamAgain, 'write')],
    after: [],
    priority: 0,
  };
}

/** Operations that wait for those of other lanes before them whose rows they touch. */
function ordered(operations: readonly Operation[]): Operation[] {
  const users = new Map<string, { readonly operation: Operation; readonly use: Use }[]>();
  return operations.map((operation) => {
    const before = new Set<Operation>();
    for (const use of operation.uses)
      for (const { operation: earlier, use: other } of users.get(use.region) ?? [])
        if (earlier.lane !== operation.lane && conflicts(other, use)) before.add(earlier);
    for (const use of operation.uses) {
      const known = users.get(use.region);
      if (known === undefined) users.set(use.region, [{ operation, use }]);
      else known.push({ operation, use });
    }
    const after = before.size === 0 ? [] : operations.filter((one) => before.has(one)).map(({ id }) => id);
    return { ...operation, after };
  });
}
