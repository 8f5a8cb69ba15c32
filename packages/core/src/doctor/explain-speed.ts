/** Why a run is slower than predicted: what each usual cause could add to its step, the largest first. */
import { estimateStep, type RunSetting, type StepEstimate, type StepParts } from '../estimate/index.js';
import { InputError } from '../units/index.js';

export interface SpeedCause {
  /** What could explain it. */
  readonly cause: 'exchange' | 'overlap' | 'host' | 'skew' | 'clocks' | 'recompute' | 'stages';
  /** The same in words. */
  readonly what: string;
  /** Seconds that it would add to the predicted step. */
  readonly seconds: number;
  /** How to tell it from the others. */
  readonly evidence: string;
  readonly mend: string;
}

export interface SpeedExplanation {
  /** The predicted step. */
  readonly estimate: StepEstimate;
  readonly measuredSeconds: number;
  /** Below 0 where the run is faster than predicted. */
  readonly gapSeconds: number;
  /** Where the predicted step goes, the largest first. */
  readonly parts: readonly (readonly [part: keyof Omit<StepParts, 'seconds'>, seconds: number])[];
  /** Those that could explain a part of the gap, the largest first; empty within the model's error. */
  readonly causes: readonly SpeedCause[];
}

/** How a run's speed was told. */
export type ToldSpeed =
  | { readonly stepSeconds: number }
  /** Tokens a second and GPU. */
  | { readonly tokensPerSecond: number }
  /** FLOP/s a GPU, in Megatron-LM's convention. */
  | { readonly flopsPerSecond: number };

/** Seconds of a step by what was told. Throws `InputError` for what is no speed. */
export function secondsOfSpeed(told: ToldSpeed, setting: RunSetting): number {
  const estimate = estimateStep(setting);
  const seconds =
    'stepSeconds' in told
      ? told.stepSeconds
      : 'tokensPerSecond' in told
        ? (estimate.tokensPerSecondPerGpu * estimate.seconds) / told.tokensPerSecond
        : (estimate.modelFlopsPerGpu * estimate.seconds) / told.flopsPerSecond;
  if (!(seconds > 0 && seconds < Infinity))
    throw new InputError('no step takes that long', { expected: 'a speed above 0' });
  return seconds;
}

/** Published runs lie so near to the prediction, in the median (docs/accuracy.md): less is no gap. */
const modelError = 0.1;
const mostImbalance = 8;
/** Of the bf16 clocks of a GPU that its power limit holds down. */
const lowestClocks = 0.5;

/** The imbalance at which the step takes as long, to a per cent; undefined where none does. */
function imbalanceThatExplains(setting: RunSetting, seconds: number): number | undefined {
  const at = (imbalance: number): number => estimateStep({ ...setting, imbalance }).seconds;
  let low = setting.imbalance === 'natural' ? 1 : setting.imbalance;
  let high = mostImbalance;
  if (setting.model.experts === 0 || at(high) < seconds || at(low) > seconds) return undefined;
  while (high - low > 0.01 * low) {
    const middle = (low + high) / 2;
    if (at(middle) < seconds) low = middle;
    else high = middle;
  }
  return high;
}

interface Supposed {
  readonly cause: SpeedCause['cause'];
  readonly what: string;
  readonly setting: RunSetting;
  readonly evidence: string;
  readonly mend: string;
}

/** Settings that a run may have got instead of the one that was meant. */
function supposed(setting: RunSetting): Supposed[] {
  const { layout, overlap, dispatcher, stack, recompute, model } = setting;
  const found: Supposed[] = [];
  if (model.experts > 0 && layout.ep > 1 && dispatcher === 'deduplicated')
    found.push({
      cause: 'exchange',
      what: 'tokens travel once an expert, not once a node',
      setting: { ...setting, dispatcher: 'all_to_all' },
      evidence: 'kernels of the exchange are ncclDevKernel_SendRecv, not DeepEP or HybridEP (monta trace)',
      mend: '--moe-token-dispatcher-type flex beside --moe-flex-dispatcher-backend',
    });
  const hidden = (['ep', 'dp', 'tp', 'pp'] as const).filter((degree) => overlap[degree]);
  if (hidden.length > 0)
    found.push({
      cause: 'overlap',
      what: `nothing hides the communication of ${hidden.map((one) => one.toUpperCase()).join(', ')}`,
      setting: { ...setting, overlap: { tp: false, ep: false, dp: false, pp: false } },
      evidence: 'exposed time of those groups near their whole time (monta trace --plan or --script)',
      mend: 'CUDA_DEVICE_MAX_CONNECTIONS, streams of high priority, SMs left to communication',
    });
  if (stack !== 'eager')
    found.push({
      cause: 'host',
      what: 'the host launches every kernel: gaps between them',
      setting: { ...setting, stack: 'eager' },
      evidence: 'idle time inside a stage, many kernels under 10 us, graphs missing in the trace',
      mend: 'CUDA graphs, --moe-permute-fusion, --manual-gc, fewer log and timer calls',
    });
  if (recompute !== 'full')
    found.push({
      cause: 'recompute',
      what: 'layers are computed again',
      setting: { ...setting, recompute: 'full' },
      evidence: 'attention kernels run twice as often as layers in a forward and a backward',
      mend: 'the recompute that was meant, or more room for it',
    });
  if (layout.pp > 1 && setting.virtualStages > 1)
    found.push({
      cause: 'stages',
      what: 'stages are not interleaved: a larger bubble',
      setting: { ...setting, virtualStages: 1, schedule: '1f1b' },
      evidence: 'long idle time at both ends of the step on the last and the first stage',
      mend: '--num-virtual-stages-per-pipeline-rank, and micro-batches that divide by the stages',
    });
  return found;
}

function skewCause(setting: RunSetting, { seconds }: StepEstimate, measured: number): SpeedCause[] {
  if (setting.model.experts === 0) return [];
  const natural = estimateStep({ ...setting, imbalance: 'natural' }).seconds - seconds;
  const imbalance = imbalanceThatExplains(setting, measured);
  return [
    {
      cause: 'skew',
      what:
        imbalance === undefined
          ? 'experts are not balanced'
          : `experts are not balanced: ${imbalance.toFixed(2)} times the mean on the fullest rank explain all`,
      seconds: imbalance === undefined ? natural : measured - seconds,
      evidence: "waiting of the exchange differs between ranks; the router's counts of tokens an expert",
      mend: 'a larger auxiliary loss or expert bias, a capacity factor; early steps are the least balanced',
    },
  ];
}

/** Lower clocks make all products longer. */
function clockCause({ precision }: RunSetting, { parts, seconds }: StepEstimate, measured: number): SpeedCause[] {
  const bound = parts.gemm + parts.grouped + parts.attention;
  const factor = bound / (bound + measured - seconds);
  const lowest = bound / lowestClocks - bound;
  return [
    {
      cause: 'clocks',
      what:
        factor > lowestClocks
          ? `the GPU's clocks are at ${Math.round(factor * 100)} % of what the constants hold: power or heat`
          : "the GPU's clocks are low: power or heat",
      seconds: factor > lowestClocks ? measured - seconds : lowest,
      evidence: `nvidia-smi -q -d PERFORMANCE,CLOCK under load; products in ${precision} slow alike on all shapes`,
      mend: 'power limit (nvidia-smi -pl), cooling, one slow GPU that all wait for',
    },
  ];
}

/** Compares a measured step with the predicted one. */
export function explainSpeed(setting: RunSetting, measuredSeconds: number): SpeedExplanation {
  const estimate = estimateStep(setting);
  const gapSeconds = measuredSeconds - estimate.seconds;
  const { seconds: _, ...parts } = estimate.parts;
  const sorted = (Object.entries(parts) as [keyof typeof parts, number][])
    .filter(([, seconds]) => seconds > 0)
    .sort(([, a], [, b]) => b - a);
  const slow = gapSeconds > modelError * estimate.seconds;
  const causes = !slow
    ? []
    : [
        ...supposed(setting).map(({ setting: other, ...cause }): SpeedCause => ({
          ...cause,
          seconds: estimateStep(other).seconds - estimate.seconds,
        })),
        ...skewCause(setting, estimate, measuredSeconds),
        ...clockCause(setting, estimate, measuredSeconds),
      ];
  return {
    estimate,
    measuredSeconds,
    gapSeconds,
    parts: sorted,
    causes: causes
      .filter(({ seconds }) => seconds > 0.02 * gapSeconds && seconds > 0)
      .sort((a, b) => Math.min(b.seconds, gapSeconds) - Math.min(a.seconds, gapSeconds)),
  };
}
