/** The price of a run as people read it: facts, and a row for each change. */
import { layoutText, partNames, tieShare } from '../plan/index.js';
import { formatBytes, formatInteger, formatPercent, formatSeconds } from '../units/index.js';
import type { LaunchPrice } from './price-launch.js';
import type { PricedFramework, RunChange } from './price-run.js';

type Priced = Exclude<LaunchPrice, { readonly why: string }>;

/** What each framework calls what is changed. */
export const changedWords: Readonly<Record<PricedFramework, string>> = {
  megatron: 'flags',
  deepspeed: 'keys',
  torchtitan: 'keys',
};

const bytes = (value: number): string => formatBytes(value, 'binary');

/** Parts that take more of a step than this are named. */
const namedShare = 0.01;

const bestText = ({ best, estimate, framework }: Priced): string | undefined => {
  if (best === undefined) return undefined;
  const faster = 1 - best.seconds / estimate.seconds;
  return faster > tieShare
    ? `${layoutText(best.setting)}: ${formatSeconds(best.seconds)}, ${formatPercent(faster)} less, ` +
        `${bytes(best.memoryBytes)}; monta plan --framework ${framework} --output plan.json writes it`
    : 'none that is more than a tie faster';
};

/** Names and texts: step, memory, what binds, the best plan, and what it rests on. */
export function priceFacts(price: Priced): readonly (readonly [name: string, text: string])[] {
  const { estimate, memoryBytes, setting } = price;
  const capacity = setting.cluster.device.memoryBytes;
  const parts = Object.entries(partNames)
    .map(([part, name]) => ({ name, seconds: estimate.parts[part as keyof typeof partNames] }))
    .filter(({ seconds }) => seconds > namedShare * estimate.seconds)
    .sort((a, b) => b.seconds - a.seconds);
  const best = bestText(price);
  return [
    [
      'Step',
      `${formatSeconds(estimate.seconds)} predicted, ${formatInteger(Math.round(estimate.tokensPerSecondPerGpu))} ` +
        `tokens/s a GPU, MFU ${formatPercent(estimate.mfu)}`,
    ],
    ['Memory', `${memoryBytes > capacity ? 'does not fit: ' : ''}${bytes(memoryBytes)} of ${bytes(capacity)}`],
    ['Binds', parts.map(({ name, seconds }) => `${name} ${formatPercent(seconds / estimate.seconds)}`).join(', ')],
    ...(best === undefined ? [] : ([['Best plan', best]] as const)),
    [
      'Rests on',
      price.framework === 'torchtitan'
        ? 'the closed form of a step, its constants fitted to published runs of other frameworks: nothing is measured'
        : 'the closed form of a step, its constants fitted to published runs: nothing is measured',
    ],
  ];
}

/** One change of flags or keys, and what it leads to. */
export interface ChangeText {
  readonly flags: string;
  readonly step: string;
  readonly change: string;
  readonly memory: string;
}

/** Rows of the changes, in their order. */
export const changeTexts = (changes: readonly RunChange[]): readonly ChangeText[] =>
  changes.map(({ flags, seconds, gain, memoryBytes }) => ({
    flags,
    step: formatSeconds(seconds),
    change: `${gain > 0 ? '−' : '+'}${formatPercent(Math.abs(gain))}`,
    memory: bytes(memoryBytes),
  }));
