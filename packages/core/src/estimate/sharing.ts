/** What ranks that hold the same parameters do together: gradients, weights and the optimizer's states. */
import type { Layout } from '../layout/layout.js';
import { sharingRules, type WeightShards } from '../memory/index.js';
import type { StepConstants } from './constants.js';
import { hostUpdateSeconds } from './host-states.js';
import { crossingSlope, ringWithin, type Links } from './links.js';
import { sharersInDomain } from './rank-order.js';
import type { Rates } from './rates.js';
import type { RunSetting } from './run-setting.js';
import { bothSeconds, shardRings } from './weight-shards.js';

interface Stage {
  readonly forward: number;
  readonly backward: number;
  readonly dense: number;
  readonly expert: number;
  /** Seconds for which the network between domains is busy with what the passes exchange. */
  readonly network: number;
}

/** Bytes of an element of weights and of gradients on the network. */
export const weightBytes = 2;

/**
 * Seconds that a step shows of gradients' reduction and of weights' gathering, and of the optimizer. Sharded weights
 * are gathered twice for every micro-batch (ZeRO-3, FSDP), beside the passes; gradients that are split are reduced for
 * every micro-batch (ZeRO-2); else both run once a step, beside the last micro-batch's backward and the first one's
 * forward. What is gathered over the network waits for what the passes exchange there.
 */
export function memorySharing({
  setting,
  layout,
  links,
  rates,
  constants: c,
  stage,
  microBatches,
}: {
  readonly setting: Pick<
    RunSetting,
    'sharing' | 'overlap' | 'frozen' | 'cluster' | 'rankOrder' | 'hostStates' | 'weightShards'
  >;
  readonly layout: Layout;
  readonly links: Links;
  readonly rates: Pick<Rates, 'memory'>;
  readonly constants: StepConstants;
  readonly stage: Stage;
  readonly microBatches: number;
}): { dp: number; optimizer: number } {
  const { cp, dp, edp } = layout;
  const rule = sharingRules[setting.sharing];
  const inside = sharersInDomain(links, layout, setting.rankOrder ?? 'dp-pp');
  const ring = (bytes: number): number =>
    ringWithin(links, dp * cp, inside.dense, stage.dense * bytes) +
    ringWithin(links, edp, inside.expert, stage.expert * bytes);
  const gradients = ring(c.gradientBytes);
  const weights = ring(weightBytes);
  const beside = (exposed: number, communication: number, window: number): number =>
    communication - Math.min((setting.overlap.dp ? 1 - exposed : 0) * communication, window);
  const once = setting.frozen
    ? 0
    : (rule.gradients && !rule.weights ? microBatches : 1) * beside(c.exposedDp, gradients, stage.backward) +
      beside(c.exposedDp, rule.optimizer ? weights : gradients, stage.forward);
  const reducedBytes = setting.frozen ? 0 : c.gradientBytes;
  const gatheredBytes = 2 * weightBytes + reducedBytes;
  /** What of so many bytes of every micro-batch its passes leave no time for on the network, seconds a byte given. */
  const queued = (crossing: number, bytes: number): number =>
    microBatches * (crossing * bytes + stage.network - stage.forward - stage.backward);
  const shardsSeconds = (shards: WeightShards): number => {
    const [ofDense, ofExpert] = [
      shardRings(links, layout, 'dense', shards.dense),
      shardRings(links, layout, 'expert', shards.expert),
    ];
    const [dense, expert] = [shards.dense > 1 ? stage.dense : 0, shards.expert > 1 ? stage.expert : 0];
    const gather = bothSeconds(ofDense.gather, ofExpert.gather, dense * weightBytes, expert * weightBytes);
    const reduce = setting.frozen
      ? 0
      : bothSeconds(ofDense.gather, ofExpert.gather, dense * c.gradientBytes, expert * c.gradientBytes);
    const replicas = (bytes: number): number =>
      setting.frozen ? 0 : bothSeconds(ofDense.replicas, ofExpert.replicas, stage.dense * bytes, stage.expert * bytes);
    const every = beside(c.exposedFsdp, gather, stage.forward) + beside(c.exposedFsdp, gather + reduce, stage.backward);
    const crossing = dense * ofDense.crossing + expert * ofExpert.crossing;
    return (
      beside(c.exposedDp, replicas(c.gradientBytes), stage.backward) +
      beside(c.exposedDp, replicas(weightBytes), stage.forward) +
      Math.max(microBatches * every, queued(crossing, gatheredBytes))
    );
  };
  const again = weights + (setting.frozen ? 0 : gradients);
  const crossing =
    crossingSlope(links, dp * cp, inside.dense) * stage.dense + crossingSlope(links, edp, inside.expert) * stage.expert;
  const sharded =
    microBatches * (beside(c.exposedFsdp, weights, stage.forward) + beside(c.exposedFsdp, again, stage.backward));
  const least = rule.gradients ? queued(crossing, rule.weights ? gatheredBytes : reducedBytes) : 0;
  // Sharded weights take all that others take, and more.
  const shared = rule.weights
    ? Math.max(once, sharded, least)
    : setting.weightShards === undefined
      ? Math.max(once, least)
      : Math.max(once, shardsSeconds(setting.weightShards));
  if (setting.frozen) return { dp: shared, optimizer: 0 };
  const own = rule.optimizer ? stage.dense / (dp * cp) + stage.expert / edp : stage.dense + stage.expert;
  const update =
    setting.hostStates === true ? hostUpdateSeconds(setting.cluster.device) : c.optimizerBytes / rates.memory;
  return { dp: shared, optimizer: own * update };
}
