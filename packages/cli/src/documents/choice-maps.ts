/** The points of docs/choices.md, and what wins at each. */
import {
  alternativeEtps,
  chooseDispatch,
  chooseOverlap,
  costModel,
  formatInteger,
  getCluster,
  getModel,
  choiceName,
  inChunks,
  marginOver,
  moeShape,
  namedStrategies,
  overlapKinds,
  type OverlapKind,
  parseLayout,
  placedOn,
  type Cluster,
  type MoeShape,
  type Routing,
  type Workload,
} from '@monta/core';

/** What is asked. */
export type Point = Pick<Workload, 'cluster' | 'shape' | 'routing'>;

export interface Won {
  readonly name: string;
  /** `4/1`, forward and backward; empty for one piece. */
  readonly chunks: string;
  /** What of the layer does not run beside the rest. */
  readonly apart: readonly OverlapKind[];
  /** The best of another kind; absent where there is none. */
  readonly over?: string;
  /** Its seconds over the winner's, minus 1. */
  readonly margin: number;
  readonly tie: boolean;
}

const chunkCounts = [1, 4];

/**
 * The whole search at a point, etp of 1 and of the layout, and what runs beside what. Throws `RangeError` where
 * something has no price.
 */
export function choiceAt({ cluster, shape, routing }: Point): Won {
  const etps = alternativeEtps(shape).filter((etp) => etp === 1 || etp === shape.layout.etp);
  const workload: Workload = { cluster, shape, routing, seed: 1, model: costModel(cluster.device), scope: 'layer' };
  const choice = chooseDispatch(workload, { chunkCounts, expertTensorParallel: etps, draws: 3 });
  const chosen = choice.known ? chooseOverlap(workload, choice, { chunkCounts, draws: 3 }) : choice;
  if (!chosen.known) throw new RangeError(chosen.missing.join('; '));
  const { best, candidates } = chosen.choice;
  const { forward, backward } = best.strategy.chunks;
  const won = {
    name: choiceName(best),
    chunks: forward === 1 && backward === 1 ? '' : `${forward}/${backward}`,
    apart: overlapKinds.filter((kind) => best.overlap?.[kind] === false),
  };
  const other = candidates.find((one) => choiceName(one) !== choiceName(best) && one.program !== best.program);
  if (other === undefined) return { ...won, margin: 0, tie: false };
  const { share, tie } = marginOver(best, other);
  return { ...won, over: choiceName(other), margin: share, tie };
}

/** A model on a cluster, with what is varied. */
interface Subject {
  readonly model: string;
  readonly cluster: string;
  readonly layout: string;
  readonly others: readonly string[];
  readonly routing?: Routing;
}

const subjects: readonly Subject[] = [
  { model: '2x70b', cluster: 'a800-2x8', layout: 'tp=8,dp=2,ep=2', others: ['tp=8,dp=2,ep=2,sp'] },
  {
    model: 'mixtral-8x7b',
    cluster: 'h100-2x8',
    layout: 'tp=4,dp=4,ep=4,sp',
    others: ['tp=2,dp=8,ep=8,sp', 'tp=8,dp=2,ep=2,sp'],
  },
  {
    model: 'mixtral-8x22b',
    cluster: 'h100-2x8',
    layout: 'tp=4,dp=4,ep=4,sp',
    others: ['tp=2,dp=8,ep=8,sp', 'tp=8,dp=2,ep=2,sp'],
  },
  { model: 'qwen3-30b-a3b', cluster: 'h100-2x8', layout: 'dp=16,ep=16', others: ['tp=4,dp=4,ep=4,sp'] },
  { model: 'qwen3-235b-a22b', cluster: 'h100-2x8', layout: 'tp=4,dp=4,ep=16,etp=1,sp', others: ['dp=16,ep=16'] },
  {
    model: 'deepseek-v3',
    cluster: 'h100-2x8',
    layout: 'dp=16,ep=16',
    others: ['tp=4,dp=4,ep=16,etp=1,sp'],
    routing: { kind: 'group-limited', groups: 8, chosen: 4 },
  },
  { model: 'gpt-oss-120b', cluster: 'h100-2x8', layout: 'dp=16,ep=16', others: ['tp=4,dp=4,ep=16,etp=1,sp'] },
];

const usualTokens = 4096;

function layerOf(model: string, cluster: Cluster, layout: string, tokens: number): MoeShape {
  return moeShape({
    model: getModel(model),
    layout: placedOn(parseLayout(layout), cluster),
    sequence: tokens,
    sequences: 1,
    microBatches: 1,
    dtype: 'bf16',
    strategy: inChunks(namedStrategies.scattered, 1),
  });
}

/** The cluster with a network of another bandwidth. */
const network = (cluster: Cluster, factor: number): Cluster => ({
  ...cluster,
  tiers: cluster.tiers.map((tier, i) => (i === 0 ? tier : { ...tier, bytesPerSecond: tier.bytesPerSecond * factor })),
});

interface ModelRows {
  readonly model: string;
  readonly cluster: string;
  readonly layout: string;
  readonly points: readonly { readonly varied: string; readonly value: string; readonly point: Point }[];
}

/** What every model is asked: tokens, the network, the skew and the layout, one at a time. */
export const modelRows = (): ModelRows[] =>
  subjects.map(({ model, cluster: clusterName, layout, others, routing = { kind: 'uniform' } }) => {
    const cluster = getCluster(clusterName);
    const at = (tokens: number, on = cluster, spread: Routing = routing, placed = layout): Point => ({
      cluster: on,
      shape: layerOf(model, cluster, placed, tokens),
      routing: spread,
    });
    return {
      model,
      layout,
      cluster: clusterName,
      points: [
        ...[512, usualTokens, 16_384].map((tokens) => ({
          varied: 'tokens of a replica',
          value: formatInteger(tokens),
          point: at(tokens),
        })),
        ...[1 / 4, 4].map((factor) => ({
          varied: 'network',
          value: factor < 1 ? `1/${1 / factor} of its bandwidth` : `${factor} x its bandwidth`,
          point: at(usualTokens, network(cluster, factor)),
        })),
        { varied: 'skew', value: 'zipf:1', point: at(usualTokens, cluster, { kind: 'zipf', exponent: 1 }) },
        ...others.map((other) => ({ varied: 'layout', value: other, point: at(usualTokens, cluster, routing, other) })),
      ],
    };
  });

const mapped = { experts: [16, 64, 256], topKs: [1, 2, 4, 8] } as const;

/** Winners by experts and picks, all else equal. */
export function mapRows() {
  const cluster = getCluster('h100-2x8');
  const layout = 'tp=4,dp=4,ep=4,sp';
  const shape = (experts: number, topK: number): MoeShape => ({
    tokens: usualTokens,
    hiddenSize: 4096,
    // As many FLOPs a token whatever k.
    expertFfn: 8192 / topK,
    experts,
    topK,
    layout: placedOn(parseLayout(layout), cluster),
    dtype: 'bf16',
  });
  return {
    what: `h100-2x8, \`${layout}\`, hidden 4,096, experts of width 8,192 / k, 4,096 tokens of a replica.`,
    topKs: mapped.topKs,
    rows: mapped.experts.map((experts) => ({
      experts,
      points: mapped.topKs.map((topK): Point => ({
        cluster,
        shape: shape(experts, topK),
        routing: { kind: 'uniform' },
      })),
    })),
  };
}
