/** The layers of `npm run bench:choices`: of many kinds, each with several ways that its bytes leave open. */
import type { Cluster, MoeShape, Routing } from '@monta/core';
import { getCluster } from '@monta/core/cluster';
import { parseLayout, placedOn } from '@monta/core/layout';
import { halvesName } from '@monta/core/schedule';
import { costModel, hostInputs } from '@monta/core/cost';
import { chooseDispatch } from '@monta/core/plan';

export interface ChoiceLayer {
  readonly name: string;
  readonly cluster: Cluster;
  /** At full size. */
  readonly shape: MoeShape;
  readonly routing: Routing;
}

/** Two nodes of two, inner over outer bandwidth from 2 to 36; one node of four; four nodes of one. */
const clusters = ['a800-2x2', 'h100-2x2', 'h800-2x2', 'b200-2x2', 'laptop-2x2', 'h100-1x4', 'h100-4x1'];
const layouts = [
  'tp=2,dp=2,ep=2',
  'tp=2,dp=2,ep=2,sp',
  'tp=1,dp=4,ep=4',
  'tp=2,dp=2,ep=4,etp=1',
  'tp=4,dp=1,ep=4,etp=1',
];
/** Few large experts, of which a token may visit all, Mixtral's, and many small ones. */
const kinds = [
  { experts: 4, topK: 1, hiddenSize: 4096 },
  { experts: 4, topK: 4, hiddenSize: 8192 },
  { experts: 8, topK: 2, hiddenSize: 4096 },
  { experts: 64, topK: 6, hiddenSize: 2048 },
  { experts: 128, topK: 8, hiddenSize: 2048 },
];
const tokensOfReplica = [256, 2048, 16384];
const routings: readonly { readonly words: string; readonly routing: Routing }[] = [
  { words: '', routing: { kind: 'uniform' } },
  { words: ', skewed', routing: { kind: 'zipf', exponent: 0.7 } },
];
/** Of all combinations every so-manieth, so that neighbours differ and a shorter list still has some of every kind. */
const stride = 37;
/** In question is what its bytes alone do not make slower than the fastest by this factor. */
const surelySlower = 1.15;

/**
 * So many layers, all different, spread evenly over clusters, layouts, kinds of experts, sizes and routing. Left out
 * are those whose bytes leave one pair of halves only.
 */
export function choiceLayers(count: number): ChoiceLayer[] {
  const all = clusters.flatMap((cluster) =>
    layouts.flatMap((layout) =>
      kinds.flatMap((kind) =>
        tokensOfReplica.flatMap((tokens) => routings.map((routed) => ({ cluster, layout, kind, tokens, ...routed }))),
      ),
    ),
  );
  const found: ChoiceLayer[] = [];
  for (let place = 0; place < all.length && found.length < count; place++) {
    const { cluster: preset, layout, kind, tokens, words, routing } = all[(place * stride) % all.length];
    const cluster = getCluster(preset);
    const placed = placedOn(parseLayout(layout, 4), cluster);
    const shape: MoeShape = { ...kind, tokens, expertFfn: kind.hiddenSize, layout: placed, dtype: 'bf16' };
    const { experts, topK } = kind;
    const name = `${preset} ${layout} ${experts} top-${topK} ${tokens} tokens${words}`;
    const layer = { name, cluster, shape, routing };
    if (pairsInQuestion(layer) > 1) found.push(layer);
  }
  return found;
}

/** Pairs of halves whose bytes alone do not take longer than the fastest should, on its links alone. */
function pairsInQuestion({ cluster, shape, routing }: ChoiceLayer): number {
  const device = { ...cluster.device, memoryBytesPerSecond: Number.MAX_VALUE };
  const model = costModel(device, { inputs: hostInputs(0) });
  const workload = { cluster, shape, routing, seed: 1, model, scope: 'dispatch' } as const;
  const choice = chooseDispatch(workload, { chunkCounts: [1], draws: 1 });
  if (!choice.known) return 0;
  const most = choice.best.seconds * surelySlower;
  const open = choice.candidates.filter(
    ({ forward, backward }) => forward.boundSeconds + backward.boundSeconds <= most,
  );
  return new Set(open.map(({ strategy }) => halvesName(strategy))).size;
}
