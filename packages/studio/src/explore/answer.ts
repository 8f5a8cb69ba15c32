/** One MoE layer under sliders: every way that tokens can travel, and a map of which wins where. */
import {
  alternativeEtps,
  type Candidate,
  type Choice,
  chooseDispatch,
  type Cluster,
  costModel,
  formatBytes,
  formatPercent,
  halvesName,
  InputError,
  marginOver,
  moeShape,
  parseLayout,
  placedOn,
  inChunks,
  namedStrategies,
  type Workload,
} from '@monta/core';
import { about } from '../base/shown-error.js';
import type { Subject, SubjectFields } from '../subject/subject.js';

/** What the sliders say; what is absent is the model's or the cluster's own. */
export interface LayerSliders {
  readonly tp: number;
  readonly ep: number;
  readonly tokens: number;
  /** Zipf's exponent of the experts' popularity; 0: all alike. */
  readonly skew: number;
  readonly experts?: number;
  readonly topK?: number;
  /** Times the cluster's own network, and times its own links inside a node. */
  readonly network: number;
  readonly inside: number;
  /** Ports of the network a node has. */
  readonly ports?: number;
}

export interface LayerFields extends SubjectFields {
  readonly sliders: LayerSliders;
}

/** One way of travelling. */
export interface LayerWay {
  readonly name: string;
  /** `4/1`: pieces forward and backward. */
  readonly chunks: string;
  readonly forwardSeconds: number;
  readonly backwardSeconds: number;
  /** Bytes that a rank sends, by tier, both passes. */
  readonly tierBytes: readonly number[];
  readonly hiddenShare: number;
  /** Within the model's error of the best. */
  readonly tie: boolean;
}

/** What model and cluster have themselves. */
export type OwnValues = Readonly<Record<'experts' | 'topK' | 'ports', number>>;

export interface LayerAnswer {
  readonly own: OwnValues;
  readonly ways: readonly LayerWay[];
  readonly tiers: readonly string[];
  /** Why the best wins, by how much, and that nothing is measured. */
  readonly verdict: string;
  readonly refused: readonly { readonly name: string; readonly why: string }[];
}

/** One cell of the map. */
export interface MapCell {
  readonly column: number;
  readonly row: number;
  readonly name: string;
  readonly margin: number;
  readonly tie: boolean;
}

/** What the map varies: the network's rate across, tokens of a replica down. */
export const mapColumns = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8];
export const mapRows = [256, 1024, 4096, 16_384];

const chunkCounts = [1, 4];

/** The cluster as the sliders have it. */
function changedCluster(cluster: Cluster, { network, inside, ports }: LayerSliders): Cluster {
  return {
    ...cluster,
    tiers: cluster.tiers.map((tier, index) =>
      index === 0
        ? { ...tier, bytesPerSecond: tier.bytesPerSecond * inside }
        : {
            ...tier,
            bytesPerSecond: tier.bytesPerSecond * network,
            ...(index === 1 && ports !== undefined ? { ports } : {}),
          },
    ),
  };
}

/** The layer and its machine. Throws `InputError` that names its slider. */
export function readLayer(sliders: LayerSliders, { model: whole, cluster: own }: Subject): Workload {
  const { tp, ep, tokens, skew, experts = whole.experts, topK = whole.topK } = sliders;
  if (!whole.moeLayers.includes(true))
    throw new InputError(`${whole.name} has no experts`, { file: 'model', expected: 'a Mixture-of-Experts model' });
  if (topK > experts) throw new InputError(`${topK} picks of ${experts} experts`, { file: 'topK' });
  const cluster = changedCluster(own, sliders);
  const model = { ...whole, experts, topK };
  // As many replicas as expert groups, as the paper lays them out.
  const layout = about('ep', () => placedOn(parseLayout(`tp=${tp},dp=${ep},ep=${ep}`), cluster));
  const shape = moeShape({
    model,
    layout,
    sequence: tokens,
    sequences: 1,
    microBatches: 1,
    dtype: 'bf16',
    strategy: inChunks(namedStrategies.scattered, 1),
  });
  return {
    cluster,
    shape,
    routing: skew > 0 ? { kind: 'zipf', exponent: skew } : { kind: 'uniform' },
    seed: 1,
    model: costModel(cluster.device),
    scope: 'layer',
  };
}

/** Every way, priced. Throws `InputError`. */
export function choiceOf(workload: Workload): Choice {
  const { shape } = workload;
  const etps = alternativeEtps(shape).filter((etp) => etp === 1 || etp === shape.layout.etp);
  const choice = chooseDispatch(workload, { chunkCounts, expertTensorParallel: etps, draws: 1 });
  if (!choice.known) throw new InputError(choice.missing.join('; '), { file: 'cluster' });
  return choice;
}

/** As `deduplicated, etp 1`. */
export const nameOf = ({ strategy, layout }: Candidate): string =>
  `${halvesName(strategy)}${layout.etp < layout.tp ? `, etp ${layout.etp}` : ''}`;

/** Prices every way. Throws `InputError`. */
export function layerAnswer(sliders: LayerSliders, subject: Subject): LayerAnswer {
  const workload = readLayer(sliders, subject);
  const { model, cluster } = subject;
  const { best, candidates, refused } = choiceOf(workload);
  const tiers = workload.cluster.tiers.map(({ name }) => name);
  const ways = candidates.map((one): LayerWay => {
    const { forward, backward, strategy } = one;
    const hidden = (forward.hiddenShare * forward.seconds + backward.hiddenShare * backward.seconds) / one.seconds;
    return {
      name: nameOf(one),
      chunks: `${strategy.chunks.forward}/${strategy.chunks.backward}`,
      forwardSeconds: forward.seconds,
      backwardSeconds: backward.seconds,
      tierBytes: tiers.map((_, tier) =>
        [...forward.bytes, ...backward.bytes].reduce(
          (sum, bytes) => sum + (bytes.tier === tier ? bytes.perRank : 0),
          0,
        ),
      ),
      hiddenShare: hidden,
      tie: one !== best && marginOver(best, one).tie,
    };
  });
  const other = candidates.find((one) => one.program !== best.program);
  const held = [...best.forward.held].sort((a, b) => b.seconds - a.seconds)[0];
  const margin = other === undefined ? undefined : marginOver(best, other);
  return {
    own: { experts: model.experts, topK: model.topK, ports: cluster.tiers[1]?.ports ?? 1 },
    ways,
    tiers,
    refused,
    verdict: [
      `${nameOf(best)}${held === undefined ? '' : `; ${held.name} binds its forward pass`}.`,
      other === undefined || margin === undefined
        ? 'Nothing else differs from it here.'
        : `${formatPercent(margin.share)} over ${nameOf(other)}` +
          `${margin.tie ? ': a tie, only a measurement decides' : ''}.`,
      `A rank sends ${formatBytes(best.forward.bytes.at(-1)?.perRank ?? 0)} forward over ${tiers.at(-1)}.`,
      'Simulated, not measured.',
    ].join(' '),
  };
}

/** The map, cell by cell, those near the middle first. Throws `InputError`. */
export function* mapCells(sliders: LayerSliders, subject: Subject): Generator<MapCell> {
  const places = mapColumns.flatMap((_, column) => mapRows.map((__, row) => ({ column, row })));
  const far = ({ column, row }: { column: number; row: number }): number => Math.abs(column - 3) + Math.abs(row - 2);
  for (const { column, row } of places.sort((a, b) => far(a) - far(b))) {
    const moved = { ...sliders, network: sliders.network * (mapColumns[column] ?? 1), tokens: mapRows[row] ?? 1 };
    const { best, candidates } = choiceOf(readLayer(moved, subject));
    const other = candidates.find((one) => nameOf(one) !== nameOf(best) && one.program !== best.program);
    const { share, tie } = other === undefined ? { share: 0, tie: false } : marginOver(best, other);
    yield { column, row, name: nameOf(best), margin: share, tie };
  }
}
