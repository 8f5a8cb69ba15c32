/**
 * Bytes that a device of the fullest stage sends in a step, by the dimension that sends them and the tier they
 * cross.
 */
import type { Cluster } from '../../cluster/cluster.js';
import { deviceCount } from '../../cluster/ports.js';
import type { RunSetting } from '../../estimate/index.js';
import { touched } from '../../estimate/exchange.js';
import { microBatchesOf } from '../../estimate/index.js';
import { sharingRules } from '../../memory/index.js';
import { countedElements, noShards } from '../../memory/states.js';
import { keyValueWidth } from '../../model/model.js';

export type Dimension = 'TP' | 'CP' | 'EP' | 'ETP' | 'DP' | 'PP';

export interface DimensionTraffic {
  readonly dimension: Dimension;
  readonly ranks: number;
  /** Of the slowest link that a group crosses. */
  readonly tier: string;
  /** Sent by a device in a step, over all links. */
  readonly bytes: number;
  /** Of those, what crosses `tier`. */
  readonly tierBytes: number;
}

/** Of activations and weights in 16 bits; gradients are reduced in 32. */
const [halfBytes, gradientBytes] = [2, 4];

/** The outermost tier that a group of `ranks` devices, `stride` apart, crosses; and its ranks inside one unit below. */
function reach({ cluster }: RunSetting, ranks: number, stride: number): { tier: string; inside: number } {
  const span = ranks * stride;
  let joined = 1;
  for (const { name, size } of cluster.tiers) {
    const inside = Math.max(1, Math.min(ranks, Math.floor(joined / stride)));
    joined *= size;
    if (span <= joined || joined >= deviceCount(cluster)) return { tier: name, inside };
  }
  return { tier: cluster.tiers.at(-1)?.name ?? '', inside: 1 };
}

/**
 * Share of what a device sends to its neighbour on a ring, or to the next stage, that leaves the unit: of the `inside`
 * ranks of a unit one sends outside, and the network's ports are shared by all of them.
 */
const leaving = (ranks: number, inside: number): number => (ranks === inside ? 1 : 1 / inside);

/**
 * The experts' exchange of `bytes` of hidden states: a row an expert (all_to_all), a row for every rank or unit that a
 * token needs (deduplicated), or all rows to all ranks (gathered, by a ring).
 */
function expertTraffic(setting: RunSetting, bytes: number): DimensionTraffic {
  const { model, layout, dispatcher } = setting;
  const { ep, etp } = layout;
  if (dispatcher === 'gathered')
    return ringTraffic(setting, { dimension: 'EP', ranks: ep, stride: etp, bytes: bytes * (ep - 1) });
  const { tier, inside } = reach(setting, ep, etp);
  const units = Math.ceil(ep / inside);
  const once = dispatcher === 'deduplicated';
  const copies = (parts: number): number => (once ? touched(parts, model.topK) : model.topK);
  const within = inside > 1 ? (copies(ep) * (inside - 1)) / inside / (once ? 1 : units) : 0;
  const crossing = units > 1 ? (copies(once ? units : ep) * (units - 1)) / units : 0;
  const tierBytes = bytes * (units > 1 ? crossing : within);
  return { dimension: 'EP', ranks: ep, tier, bytes: bytes * (within + crossing), tierBytes };
}

function ringTraffic(
  setting: RunSetting,
  { dimension, ranks, stride, bytes }: Pick<DimensionTraffic, 'dimension' | 'ranks' | 'bytes'> & { stride: number },
): DimensionTraffic {
  const { tier, inside } = reach(setting, ranks, stride);
  return { dimension, ranks, tier, bytes, tierBytes: bytes * leaving(ranks, inside) };
}

/**
 * Gradients and weights of those that hold the same: by rings over all of them, or over each one's weight shards for
 * every micro-batch and over replicas of the shards once a step.
 */
function sharingTraffic(setting: RunSetting, layers: number, microBatches: number): DimensionTraffic[] {
  const { model, layout, sharing, weightShards = noShards, rankOrder } = setting;
  const { tp, cp, dp, pp, ep, etp, edp } = layout;
  const { weights, gradients } = sharingRules[sharing];
  const elements = countedElements(model, layout, model.layers - 1);
  const perStep = (gradients ? microBatches : 1) * gradientBytes + (weights ? 2 * microBatches : 1) * halfBytes;
  const perShard = microBatches * (gradientBytes + 2 * halfBytes);
  const between = rankOrder === 'pp-dp' ? pp : 1;
  const kinds = [
    { ranks: dp * cp, stride: tp, shards: weightShards.dense, of: elements.dense },
    { ranks: edp, stride: etp * ep, shards: weightShards.expert, of: elements.expert },
  ];
  const rings = kinds.flatMap(({ ranks, stride, shards, of }) => {
    const moved = (over: number, held: number, rate: number) => (held * layers * rate * (over - 1)) / over;
    return [
      { ranks: shards, stride, bytes: moved(shards, of, perShard) },
      { ranks: ranks / shards, stride: stride * shards * between, bytes: moved(ranks / shards, of / shards, perStep) },
    ];
  });
  const sent = rings.filter(({ bytes }) => bytes > 0).map((ring) => ringTraffic(setting, { dimension: 'DP', ...ring }));
  const order = setting.cluster.tiers.map(({ name }) => name);
  const tier = sent.map((one) => one.tier).sort((a, b) => order.indexOf(b) - order.indexOf(a))[0];
  if (tier === undefined) return [];
  const sum = (of: readonly number[]): number => of.reduce((total, one) => total + one, 0);
  return [
    {
      dimension: 'DP',
      ranks: Math.max(dp * cp, edp),
      tier,
      bytes: sum(sent.map(({ bytes }) => bytes)),
      tierBytes: sum(sent.map((one) => (one.tier === tier ? one.tierBytes : 0))),
    },
  ];
}

/** Balanced routing; forward, backward and what is computed again. */
export function stepTraffic(setting: RunSetting): DimensionTraffic[] {
  const { model, layout, sequence, microBatch, recompute, virtualStages } = setting;
  const { tp, cp, dp, pp, ep, etp } = layout;
  const microBatches = microBatchesOf(setting);
  const inside = setting.rankOrder === 'pp-dp';
  const layers = Math.ceil(model.layers / pp);
  const moe = Math.ceil(model.moeLayers.filter(Boolean).length / pp);
  const tokens = (microBatch * sequence) / cp;
  const slice = (tokens / tp) * model.hiddenSize * halfBytes;
  const passes = recompute === 'full' ? 3 : 2;
  const blocks = model.sharedExpertFfn > 0 ? 2 * layers : 2 * (layers - moe) + moe;
  const { latentAttention: latent } = model;
  const keyValues =
    latent === undefined
      ? 2 * keyValueWidth(model)
      : model.attentionHeads * (latent.nopeHeadDim + latent.ropeHeadDim + latent.valueHeadDim);
  const of = (dimension: Dimension, ranks: number, stride: number, bytes: number): DimensionTraffic[] =>
    ranks <= 1 || bytes === 0 ? [] : [ringTraffic(setting, { dimension, ranks, stride, bytes })];
  const rows = microBatches * passes * moe * 2 * slice;
  return [
    ...of('TP', tp, 1, microBatches * passes * blocks * 2 * slice * (tp - 1)),
    ...of('CP', cp, tp, microBatches * (passes + 1) * layers * (cp - 1) * ((tokens * keyValues) / tp) * halfBytes),
    ...(ep > 1 && moe > 0 ? [expertTraffic(setting, rows)] : []),
    // Ranks that split an expert gather one another's rows.
    ...of('ETP', etp, 1, rows * (setting.dispatcher === 'gathered' ? ep : model.topK) * (etp - 1)),
    ...sharingTraffic(setting, layers, microBatches),
    ...of('PP', pp, inside ? tp * cp : tp * cp * dp, microBatches * 2 * virtualStages * slice),
  ];
}

/** Seconds that each tier's links need for such bytes at their line rate. Tiers in use only. */
export function wireBounds(
  { tiers }: Cluster,
  sent: readonly DimensionTraffic[],
): { readonly tier: string; readonly seconds: number }[] {
  let devices = 1;
  return tiers.flatMap(({ name, ports, size, bytesPerSecond }, index) => {
    const rate = index === 0 ? bytesPerSecond * ports : (bytesPerSecond * ports) / devices;
    devices *= size;
    const bytes = sent.reduce((sum, { tier, tierBytes }) => sum + (tier === name ? tierBytes : 0), 0);
    return bytes > 0 ? [{ tier: name, seconds: bytes / rate }] : [];
  });
}
