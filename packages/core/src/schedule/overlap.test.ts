/** Kinds of overlap: switched off, nothing of the kind runs beside the other; switched on, it does, and saves time. */
import { describe, expect, it } from 'vitest';
import { layoutOf } from '../../testing/strategies.js';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { placedOn } from '../layout/mesh.js';
import { passProgram, routedBinding, simulatePass, type LayerPass, type Workload } from '../plan/workload.js';
import type { Span } from '../trace/index.js';
import type { Strategy } from './dispatchers/strategies.js';
import type { MoeShape } from './moe-shape.js';
import { overlapKinds, type Overlap, type OverlapKind } from './overlap.js';

const cluster = getCluster('a800-2x4-1nic');
const shape: MoeShape = {
  tokens: 4096,
  hiddenSize: 2048,
  expertFfn: 4096,
  experts: 8,
  topK: 2,
  layout: placedOn(layoutOf({ tp: 4, dp: 2, ep: 2 }), cluster),
  dtype: 'bf16',
  shared: { ffn: 8192, gated: false },
};

const workload = (overlap?: Overlap): Workload => ({
  cluster,
  shape: { ...shape, ...(overlap === undefined ? {} : { overlap }) },
  routing: { kind: 'uniform' },
  seed: 1,
  model: costModel(cluster.device),
  scope: 'layer',
});

function simulated(
  strategy: Strategy,
  pass: LayerPass,
  overlap?: Overlap,
): { seconds: number; spans: readonly Span[] } {
  const w = workload(overlap);
  const simulation = simulatePass(w, strategy, pass, routedBinding(w.shape, w.routing, w.seed));
  if (!simulation.known) throw new Error(simulation.missing.join());
  const spans = simulation.trace.spans.filter(({ rank, end, ready }) => rank === 0 && end > ready);
  return { seconds: simulation.summary.makespanSeconds, spans };
}

const taskOf = ({ operation }: Span): string => (operation.split('/')[1] ?? '').split('.')[0] ?? '';
const transfers = ({ lane, operation }: Span): boolean =>
  (lane === 'inter' || lane === 'intra') && /all_to_all|return|all_gather|reduce_scatter|rail|node/u.test(operation);

/** What of each kind runs beside what. */
const sides: Readonly<Record<OverlapKind, (span: Span) => 'one' | 'other' | undefined>> = {
  chunks: (span) => (transfers(span) ? (span.lane === 'inter' ? 'one' : 'other') : undefined),
  experts: (span) =>
    ['weigh', 'experts'].includes(taskOf(span)) && !span.operation.endsWith('weights')
      ? 'one'
      : transfers(span)
        ? 'other'
        : undefined,
  shared: (span) => (span.lane === 'shared' ? 'one' : transfers(span) ? 'other' : undefined),
  weightGradients: (span) =>
    span.operation.endsWith('experts.weights') ? 'one' : transfers(span) ? 'other' : undefined,
};

/** Seconds for which the two sides of a kind run at a time. */
function together(kind: OverlapKind, spans: readonly Span[]): number {
  const of = (side: string): Span[] => spans.filter((span) => sides[kind](span) === side);
  return of('one').reduce(
    (sum, a) =>
      sum + of('other').reduce((s, b) => s + Math.max(0, Math.min(a.end, b.end) - Math.max(a.ready, b.ready)), 0),
    0,
  );
}

const strategies = ['scattered', 'deduplicated'].map((name): Strategy => ({
  dispatch: name === 'scattered' ? 'sliced' : name,
  combine: name,
  chunks: { forward: 3, backward: 3 },
}));
const passesOf = (kind: OverlapKind): readonly LayerPass[] =>
  kind === 'weightGradients' ? ['backward'] : ['forward', 'backward'];

describe.each(strategies)('$combine', (strategy) => {
  it.each(overlapKinds)('%s: together when on, apart when off, for more time', (kind) => {
    for (const pass of passesOf(kind)) {
      const on = simulated(strategy, pass);
      const off = simulated(strategy, pass, { [kind]: false });
      expect(together(kind, on.spans)).toBeGreaterThan(0);
      expect(together(kind, off.spans)).toBe(0);
      // Chunk after chunk, the first experts of a deduplicated dispatch start earlier: that may be worth more.
      const gains = kind !== 'chunks' || strategy.combine === 'scattered';
      expect(off.seconds / on.seconds).toBeGreaterThan(gains ? 1 : 0.9);
    }
  });

  it('does the same whatever is switched off', () => {
    const none = Object.fromEntries(overlapKinds.map((kind) => [kind, false]));
    for (const pass of ['forward', 'backward'] as const) {
      const [all, apart] = [workload(), workload(none)].map((w) =>
        Object.values(passProgram(w, strategy, pass).templates).flatMap(({ operations }) =>
          operations.map(({ id, body, uses }) => JSON.stringify({ id, body, uses })).sort(),
        ),
      );
      expect(apart).toEqual(all);
    }
  });
});
