/** One MoE layer under sliders: every way that tokens can travel, and a map of which wins where. */
import {
  choiceName,
  alternativeEtps,
  type Candidate,
  type Choice,
  dispatchSearch,
  CalibrationLookup,
  type Cluster,
  type CollectiveCurves,
  costModel,
  formatBytes,
  formatPercent,
  formatSeconds,
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
  /** Who wins; undefined while not every way is priced. */
  readonly cell: Winner | undefined;
}

/** Who wins at a place of the map. */
export interface Winner {
  readonly name: string;
  readonly margin: number;
  readonly tie: boolean;
}

/** One cell of the map. */
export interface MapCell extends Winner {
  readonly column: number;
  readonly row: number;
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

/** Measured curves, of the cluster as it is: no slider has changed its links. */
function curvesOf(
  evidence: Subject['evidence'],
  { name, device }: Cluster,
  { network, inside, ports }: LayerSliders,
): CollectiveCurves | undefined {
  const calibration = evidence?.calibration;
  if (calibration === undefined || network !== 1 || inside !== 1 || ports !== undefined) return undefined;
  return new CalibrationLookup(calibration, { gpu: device.name, system: name });
}

/** The layer and its machine. Throws `InputError` that names its slider. */
export function readLayer(sliders: LayerSliders, { model: whole, cluster: own, evidence }: Subject): Workload {
  const { tp, ep, tokens, skew, experts = whole.experts, topK = whole.topK } = sliders;
  if (!whole.moeLayers.includes(true))
    throw new InputError(`${whole.name} has no experts`, { file: 'model', expected: 'a Mixture-of-Experts model' });
  if (topK > experts) throw new InputError(`${topK} picks of ${experts} experts`, { file: 'topK' });
  const cluster = changedCluster(own, sliders);
  const curves = curvesOf(evidence, cluster, sliders);
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
    model: costModel(cluster.device, curves === undefined ? {} : { curves }),
    scope: 'layer',
  };
}

/** Every way, priced one after another. Throws `InputError`. */
export function* choiceInSteps(workload: Workload): Generator<Candidate, Choice> {
  const { shape } = workload;
  const etps = alternativeEtps(shape).filter((etp) => etp === 1 || etp === shape.layout.etp);
  const choice = yield* dispatchSearch(workload, { chunkCounts, expertTensorParallel: etps, draws: 1 });
  if (!choice.known) throw new InputError(choice.missing.join('; '), { file: 'cluster' });
  return choice;
}

/** The same at once. */
export function choiceOf(workload: Workload): Choice {
  const steps = choiceInSteps(workload);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** What the page shows of a way. */
function shownWay(one: Candidate, best: Candidate, tiers: number): LayerWay {
  const { forward, backward, strategy, seconds } = one;
  const bytes = [...forward.bytes, ...backward.bytes];
  return {
    name: choiceName(one),
    chunks: `${strategy.chunks.forward}/${strategy.chunks.backward}`,
    forwardSeconds: forward.seconds,
    backwardSeconds: backward.seconds,
    tierBytes: Array.from({ length: tiers }, (_, tier) =>
      bytes.reduce((sum, one) => sum + (one.tier === tier ? one.perRank : 0), 0),
    ),
    hiddenShare: (forward.hiddenShare * forward.seconds + backward.hiddenShare * backward.seconds) / seconds,
    tie: one !== best && marginOver(best, one).tie,
  };
}

/** What model and cluster have themselves. */
const ownOf = ({ model, cluster }: Subject): OwnValues => ({
  experts: model.experts,
  topK: model.topK,
  ports: cluster.tiers[1]?.ports ?? 1,
});

/** Ways that were priced so far, the fastest first; which wins is not known yet. */
export function firstAnswer(priced: readonly Candidate[], workload: Workload, subject: Subject): LayerAnswer {
  const ways = [...priced].sort((a, b) => a.seconds - b.seconds);
  const [best] = ways;
  if (best === undefined) throw new RangeError('no way was priced');
  const tiers = workload.cluster.tiers.map(({ name }) => name);
  return {
    own: ownOf(subject),
    ways: ways.map((one) => shownWay(one, best, tiers.length)),
    tiers,
    refused: [],
    verdict:
      ways.map((one) => `${choiceName(one)} takes ${formatSeconds(one.seconds)}`).join(', ') +
      '. The other ways are being priced.',
    cell: undefined,
  };
}

/** What is said of every way. */
export function layerAnswer(choice: Choice, workload: Workload, subject: Subject): LayerAnswer {
  const { best, candidates, refused } = choice;
  const tiers = workload.cluster.tiers.map(({ name }) => name);
  const other = candidates.find((one) => one.program !== best.program);
  const held = [...best.forward.held].sort((a, b) => b.seconds - a.seconds)[0];
  const margin = other === undefined ? undefined : marginOver(best, other);
  return {
    own: ownOf(subject),
    ways: candidates.map((one) => shownWay(one, best, tiers.length)),
    tiers,
    refused,
    verdict: [
      `${choiceName(best)}${held === undefined ? '' : `; ${held.name} binds its forward pass`}.`,
      other === undefined || margin === undefined
        ? 'Nothing else differs from it here.'
        : `${formatPercent(margin.share)} over ${choiceName(other)}` +
          `${margin.tie ? ': a tie, only a measurement decides' : ''}.`,
      `A rank sends ${formatBytes(best.forward.bytes.at(-1)?.perRank ?? 0)} forward over ${tiers.at(-1)}.`,
      workload.model.curves === undefined ? 'Simulated, not measured.' : 'Simulated with the curves of the logs.',
    ].join(' '),
    cell: winnerOf(choice),
  };
}

/** The best of a cell of the map, and how far the next way is. */
function winnerOf({ best, candidates }: Choice): Winner {
  const other = candidates.find((one) => choiceName(one) !== choiceName(best) && one.program !== best.program);
  const { share, tie } = other === undefined ? { share: 0, tie: false } : marginOver(best, other);
  return { name: choiceName(best), margin: share, tie };
}

/** Where the sliders themselves stand on the map: that cell is part of the answer, and priced there. */
export const ownCell = ({ tokens }: LayerSliders): { readonly column: number; readonly row: number } => ({
  column: mapColumns.indexOf(1),
  row: mapRows.indexOf(tokens),
});

/** The other cells of the map, those near the middle first; null between ways. Throws `InputError`. */
export function* mapCells(sliders: LayerSliders, subject: Subject): Generator<MapCell | null> {
  const own = ownCell(sliders);
  const places = mapColumns.flatMap((_, column) => mapRows.map((__, row) => ({ column, row })));
  const far = ({ column, row }: { column: number; row: number }): number => Math.abs(column - 3) + Math.abs(row - 2);
  for (const { column, row } of places.sort((a, b) => far(a) - far(b))) {
    if (column === own.column && row === own.row) continue;
    const moved = { ...sliders, network: sliders.network * (mapColumns[column] ?? 1), tokens: mapRows[row] ?? 1 };
    const steps = choiceInSteps(readLayer(moved, subject));
    for (;;) {
      const { done, value } = steps.next();
      yield done === true ? { column, row, ...winnerOf(value) } : null;
      if (done === true) break;
    }
  }
}
