/**
 * Gathered: every rank of the expert group gets all its tokens (all_gather of T*h*s/TP from each of n ranks) and
 * expands those that its experts serve. Back: weighted sums over the own experts' picks for every token of the group,
 * reduce_scatter. Bytes do not depend on k or on routing. (Megatron-Core's allgather dispatcher, MegaScale-MoE for
 * large k.)
 */
import type { ChunkContext, OutgoingHalf, ReturningHalf } from './dispatcher.js';
import {
  copyBuffer,
  expandCopies,
  gatherCopies,
  packCopies,
  scatterSums,
  sumExperts,
  summedTokens,
  type CopyBuffer,
} from './emit-copies.js';
import { groupTokens, ownTokens } from './row-layout.js';

const alone = ({ shape: { layout } }: ChunkContext): boolean => layout.ep * layout.etp === 1;

const sent = (c: ChunkContext): CopyBuffer => copyBuffer(c, 'send', ownTokens);
const received = (c: ChunkContext): CopyBuffer => (alone(c) ? sent(c) : copyBuffer(c, 'gathered', groupTokens));

export const outgoingGathered: OutgoingHalf = {
  name: 'gathered',
  scope: 'slice',
  picks: true,
  shared: true,
  unsupported: () => undefined,
  stages: [
    (c) => {
      packCopies(c, sent(c));
      if (!alone(c)) gatherCopies(c, { task: 'all_gather', group: 'expert', from: sent(c), to: received(c) });
    },
    (c) => expandCopies(c, received(c)),
  ],
};

export const returningGathered: ReturningHalf = {
  name: 'gathered',
  scope: () => 'slice',
  routing: () => 'slice',
  picks: true,
  unsupported: () => undefined,
  stages: [
    (c) => {
      const partial = alone(c) ? summedTokens(c) : copyBuffer(c, 'partial', groupTokens);
      sumExperts(c, partial);
      if (!alone(c)) scatterSums(c, { task: 'reduce_scatter', group: 'expert', from: partial, to: summedTokens(c) });
    },
  ],
};
