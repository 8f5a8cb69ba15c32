/** What a searched plan says to people: the plan and its runners-up as rows, and facts about it. */
import { deviceCount, devicesText } from '../../cluster/index.js';
import { estimateStep, isDual, memorySetting, type RunSetting } from '../../estimate/index.js';
import { formatLayout } from '../../layout/index.js';
import { closedTotal, fullStages, overheadsOf } from '../../memory/index.js';
import { formatBandwidth, formatBytes, formatInteger, formatPercent, formatSeconds } from '../../units/index.js';
import type { Candidate, SearchResult } from '../search/search.js';
import type { PlanProblem } from '../space/problem.js';
import { rankGrid } from './rank-grid.js';
import type { Sensitivity } from './sensitivity.js';
import { stepTraffic, wireBounds } from './step-traffic.js';

/** Plans closer than this are a tie: of published layouts further apart, the estimate orders 85 % right. */
export const tieShare = 0.05;

/** Runners-up that are shown. */
const mostShown = 6;

const recomputeText = ({ recompute }: RunSetting): string =>
  typeof recompute === 'string' ? recompute : recompute.join('+');

/** `tp=2,dp=8,pp=4, 2 virtual stages`. */
export const layoutText = ({
  layout,
  virtualStages,
  layersOfStages,
  rankOrder = 'dp-pp',
}: Pick<RunSetting, 'layout' | 'virtualStages' | 'layersOfStages' | 'rankOrder'>): string =>
  formatLayout(layout) +
  (virtualStages > 1 ? ` vp=${virtualStages}` : '') +
  (rankOrder === 'dp-pp' ? '' : ', stages inside replicas') +
  (layersOfStages === undefined ? '' : ` layers ${runsText(layersOfStages)}`);

/** `3|14x4|2`: a stage of three layers, fourteen of four, one of two. */
function runsText(layersOfStages: readonly number[]): string {
  const runs: { readonly layers: number; stages: number }[] = [];
  for (const layers of layersOfStages) {
    const last = runs.at(-1);
    if (last?.layers === layers) last.stages += 1;
    else runs.push({ layers, stages: 1 });
  }
  return runs.map(({ layers, stages }) => (stages > 1 ? `${stages}x${layers}` : String(layers))).join('|');
}

const exchangeText = ({ dispatcher, overlap, layout, model }: RunSetting): string =>
  layout.ep * layout.etp === 1 || !model.moeLayers.includes(true)
    ? '-'
    : `${dispatcher}${overlap.ep ? ', hidden' : ''}`;

function sharingText({ sharing, hostStates, weightShards }: RunSetting): string {
  const shards = weightShards === undefined ? '' : `, weights over ${weightShards.dense}/${weightShards.expert}`;
  return `${sharing}${shards}${hostStates === true ? ', states on hosts' : ''}`;
}

/** Heads of the columns of `planRow`. */
export const planColumns = [
  { header: 'layout (predicted)' },
  { header: 'schedule', priority: 8 },
  { header: 'micro-batch', align: 'number', priority: 6 },
  { header: "experts' rows", priority: 5 },
  { header: 'recompute', priority: 7 },
  { header: 'sharing', priority: 9 },
  { header: 'step', align: 'number', priority: 1 },
  { header: 'tokens/s/GPU', align: 'number', priority: 3 },
  { header: 'MFU', align: 'right', priority: 4 },
  { header: 'memory', align: 'number', priority: 2 },
] as const;

/** A plan, by `planColumns`. */
export function planRow({ setting, seconds, memoryBytes }: Candidate): string[] {
  const { globalBatch, sequence, cluster, schedule, microBatch } = setting;
  return [
    layoutText(setting),
    schedule,
    String(microBatch),
    exchangeText(setting),
    recomputeText(setting),
    sharingText(setting),
    formatSeconds(seconds),
    formatInteger(Math.round((globalBatch * sequence) / seconds / deviceCount(cluster))),
    formatPercent(estimateStep(setting).mfu),
    formatBytes(memoryBytes, 'binary'),
  ];
}

/** What a plan answers. */
export type Asked = Pick<PlanProblem, 'model' | 'cluster' | 'globalBatch' | 'sequence' | 'precision' | 'precisions'> & {
  readonly framework?: PlanProblem['framework'] | undefined;
};

/** One line: model, devices and links, tokens of a step, precision. */
export function planTitle(asked: Asked): string {
  const { model, cluster, globalBatch, sequence, precision, precisions = [precision], framework } = asked;
  const network = cluster.tiers
    .map(
      ({ name, ports, bytesPerSecond }) =>
        `${name} ${ports > 1 ? `${ports} x ` : ''}${formatBandwidth(bytesPerSecond)}`,
    )
    .join(', ');
  return (
    `${model.name} · ${devicesText(cluster)} x ${cluster.device.name} (${network}) · ` +
    `${formatInteger(globalBatch)} x ${formatInteger(sequence)} tokens a step · ${precisions.join(' or ')}` +
    (framework === undefined ? '' : ` · ${framework}`)
  );
}

/** Names of the parts of a step. */
export const partNames = {
  gemm: 'dense products',
  grouped: "experts' products",
  attention: "attention's core",
  memory: 'kernels that memory bounds',
  tp: 'TP, exposed',
  cp: 'CP, exposed',
  ep: 'EP, exposed',
  dp: 'DP, exposed',
  pp: 'PP, exposed',
  bubble: 'bubble',
  optimizer: 'optimizer',
  host: 'host',
  straggler: 'the slowest rank',
} as const;

function whyText(setting: RunSetting): string {
  const { parts, seconds } = estimateStep(setting);
  const named = (Object.keys(partNames) as (keyof typeof partNames)[])
    .map((part) => ({ name: partNames[part], share: parts[part] / seconds, seconds: parts[part] }))
    .filter(({ share }) => share >= 0.005)
    .sort((a, b) => b.share - a.share);
  const [first, ...rest] = named.map(
    ({ name, share, seconds: own }) => `${name} ${formatSeconds(own)} (${formatPercent(share)})`,
  );
  return `${first ?? 'nothing'} binds\nthen ${rest.join(', ')}`;
}

/** Communication that overlap hides: what a step without it shows more. */
function hiddenText(setting: RunSetting): string | undefined {
  const { parts } = estimateStep(setting);
  const shown = estimateStep({ ...setting, overlap: { tp: false, ep: false, dp: false, pp: false } }).parts;
  const lines = (['tp', 'cp', 'ep', 'dp', 'pp'] as const).flatMap((part) => {
    const hidden = shown[part] - parts[part];
    return shown[part] > 0
      ? [
          `${part.toUpperCase()} ${formatSeconds(parts[part])} exposed, ${formatSeconds(Math.max(0, hidden))} ` +
            'hidden by overlap',
        ]
      : [];
  });
  return lines.length > 0 ? lines.join('\n') : undefined;
}

const trafficText = (setting: RunSetting): string =>
  stepTraffic(setting)
    .map(
      ({ dimension, ranks, tier, bytes, tierBytes }) =>
        `${dimension} over ${formatInteger(ranks)} ranks: ${formatBytes(bytes)} a device and step, ` +
        `${formatBytes(tierBytes)} of it over ${tier}`,
    )
    .join('\n');

function boundsText({ setting, seconds }: Candidate): string {
  const { boundSeconds } = estimateStep(setting);
  const wires = wireBounds(setting.cluster, stepTraffic(setting)).map(
    ({ tier, seconds: wire }) => `${formatSeconds(wire)} bytes over the rate of ${tier}`,
  );
  return [
    `${formatSeconds(boundSeconds)} FLOPs of the model over the peak (${formatPercent(boundSeconds / seconds)} of ` +
      'the step)',
    ...wires,
  ].join('\n');
}

function memoryText({ setting, memoryBytes }: Candidate): string {
  const { pp } = setting.layout;
  const capacity = setting.cluster.device.memoryBytes;
  // A device holds two stages there.
  if (isDual(setting.schedule))
    return `${formatBytes(memoryBytes, 'binary')} of ${formatBytes(capacity, 'binary')} on the fullest device`;
  const memory = memorySetting(setting);
  const overheads = overheadsOf(setting.cluster.device);
  const of = fullStages(memory.step).map(
    (stage) => `${pp > 1 ? `stage ${stage} ` : ''}${formatBytes(closedTotal(memory, stage, overheads), 'binary')}`,
  );
  return `${of.join(', ')} of ${formatBytes(capacity, 'binary')}`;
}

function marginText(best: Candidate, others: readonly Candidate[]): string | undefined {
  const lines = others.slice(0, 3).map(({ setting, seconds }) => {
    const share = seconds / best.seconds - 1;
    const tie = share < tieShare ? `: a tie, the estimate orders layouts ${formatPercent(tieShare)} apart` : '';
    return `${formatPercent(share)} over ${layoutText(setting)}${tie}`;
  });
  return lines.length > 0 ? lines.join('\n') : undefined;
}

const sensitivityText = (all: readonly Sensitivity[]): string =>
  all
    .map(({ name, speed, fits, flipsTo }) => {
      const change = `${speed < 1 ? '−' : '+'}${formatPercent(Math.abs(speed - 1))} tokens/s`;
      const flip =
        flipsTo === undefined
          ? ''
          : `; then ${layoutText(flipsTo)}, recompute ${recomputeText(flipsTo)}, is the fastest of these`;
      return `${name}: ${fits ? change : 'does not fit'}${flip}`;
    })
    .join('\n');

/** What became of the settings of the space. */
export function countsText({ counts, complete }: SearchResult): string {
  const { represented, prunedByMemory, prunedByTime, priced, weighed } = counts;
  return (
    `${formatInteger(represented)} settings: ${formatInteger(prunedByMemory)} have no room, ` +
    `${formatInteger(prunedByTime)} cannot be faster, ${formatInteger(priced)} priced, of ` +
    `${formatInteger(weighed)} the memory` +
    (complete ? '' : '; ended early: a faster one may be among the rest')
  );
}

/** Facts about a plan, label and text. */
export function planFacts(
  best: Candidate,
  others: readonly Candidate[],
  sensitivities: readonly Sensitivity[],
): [string, string][] {
  const { setting } = best;
  const hidden = hiddenText(setting);
  const margin = marginText(best, others);
  const traffic = trafficText(setting);
  const grid = rankGrid(setting.layout, setting.cluster, setting.rankOrder);
  const { part } = setting.cluster;
  return [
    ...(part === undefined ? [] : [['Devices', `${part.used}; the others are idle`] satisfies [string, string]]),
    ['Why', whyText(setting)],
    ...(hidden === undefined ? [] : [['Overlap', hidden] satisfies [string, string]]),
    ...(traffic === '' ? [] : [['Bytes', traffic] satisfies [string, string]]),
    ['Memory', memoryText(best)],
    ['Bounds', boundsText(best)],
    ...(margin === undefined ? [] : [['Margin', margin] satisfies [string, string]]),
    ...(sensitivities.length === 0 ? [] : [['If', sensitivityText(sensitivities)] satisfies [string, string]]),
    ['Ranks', ['t, c, d, e, x: places along tp, cp, dp, ep, etp', ...grid].join('\n')],
  ];
}

/** The runners-up that are shown. */
export const shownOthers = (others: readonly Candidate[]): readonly Candidate[] => others.slice(0, mostShown);
