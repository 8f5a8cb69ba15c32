/** Which collectives the communication of a degree consists of, as it is predicted. */
import { stepConstants, weightBytes, type RunSetting } from '../estimate/index.js';
import { sharingRules } from '../memory/index.js';
import type { ProfiledOp } from '../profiles/index.js';
import type { ComparedDegree } from './degree-of-row.js';

export interface PredictedKind {
  readonly op: ProfiledOp;
  /** Of the degree's time. */
  readonly share: number;
}

const halves = (first: ProfiledOp, second: ProfiledOp): readonly PredictedKind[] => [
  { op: first, share: 0.5 },
  { op: second, share: 0.5 },
];
const alone = (op: ProfiledOp): readonly PredictedKind[] => [{ op, share: 1 }];

const ofDispatcher = {
  all_to_all: alone('all_to_all'),
  deduplicated: halves('dispatch', 'combine'),
  gathered: halves('all_gather', 'reduce_scatter'),
} as const satisfies Readonly<Record<RunSetting['dispatcher'], readonly PredictedKind[]>>;

/** Weights are gathered and gradients scattered by their bytes; sharded weights once more for the backward. */
function ofReplicas({ sharing }: RunSetting): readonly PredictedKind[] {
  const rule = sharingRules[sharing];
  if (!rule.optimizer) return alone('all_reduce');
  const [gathers, scatters] = [weightBytes * (rule.weights ? 2 : 1), stepConstants.gradientBytes];
  return [
    { op: 'reduce_scatter', share: scatters / (gathers + scatters) },
    { op: 'all_gather', share: gathers / (gathers + scatters) },
  ];
}

/** By degree; shares of each add up to 1. */
export const kindsOfDegree = (setting: RunSetting): Readonly<Record<ComparedDegree, readonly PredictedKind[]>> => ({
  tp: setting.layout.sequenceParallel ? halves('all_gather', 'reduce_scatter') : alone('all_reduce'),
  cp: alone('send_receive'),
  ep: ofDispatcher[setting.dispatcher],
  dp: ofReplicas(setting),
  pp: alone('send_receive'),
});
