/** What a checked run costs, which flags would make it faster, and the best plan beside. */
import {
  deviceCount,
  formatBytes,
  formatInteger,
  formatPercent,
  formatSeconds,
  InputError,
  layoutText,
  modelOfRun,
  partNames,
  priceRun,
  settingOfDeepspeed,
  settingOfRun,
  tieShare,
  worldSize,
  type Cluster,
  type DeepspeedConfig,
  type MegatronRun,
  type MoeModel,
  type PricedFramework,
  type PricedSetting,
  type RunSetting,
} from '@monta/core';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';

/** A price in the words of its framework, or why there is none. */
export type LintPrice = (PricedSetting & { readonly framework: PricedFramework }) | { readonly why: string };

interface Asked {
  readonly framework: PricedFramework;
  readonly cluster: Cluster;
  /** The setting; or why there is none. */
  readonly setting: () => RunSetting | { readonly why: string };
}

/** Prices what nothing stops. */
export function lintPrice({ framework, cluster, setting: settingOf }: Asked): LintPrice {
  try {
    const setting = settingOf();
    if ('why' in setting) return setting;
    const [world, devices] = [worldSize(setting.layout), deviceCount(cluster)];
    if (world !== devices)
      return { why: `${formatInteger(world)} ranks, and ${cluster.name} has ${formatInteger(devices)} devices` };
    return { ...priceRun(setting, framework), framework };
  } catch (error) {
    if (error instanceof InputError) return { why: error.message };
    throw error;
  }
}

/** The price of flags or overrides of Megatron. */
export const megatronPrice = (run: MegatronRun, given: MoeModel | undefined, cluster: Cluster): LintPrice =>
  lintPrice({
    framework: 'megatron',
    cluster,
    setting: () => {
      const described = given === undefined ? modelOfRun(run) : { model: given };
      if ('missing' in described)
        return { why: `the flags do not say the model (${described.missing.join(', ')}): --model` };
      return (
        settingOfRun(run, described.model, cluster) ?? {
          why: 'degrees, ranks, batch or sequence are not known, or do not divide',
        }
      );
    },
  });

/** The price of a DeepSpeed configuration. */
export const deepspeedPrice = (config: DeepspeedConfig, cluster: Cluster): LintPrice =>
  lintPrice({
    framework: 'deepspeed',
    cluster,
    setting: () => {
      const { model, launch, gpus } = config.context;
      if (model === undefined) return { why: 'the configuration does not say the model: --model' };
      if (launch?.sequence === undefined)
        return { why: 'the tokens of a sequence are not known: --sequence, or the launch script' };
      if (gpus === undefined) return { why: 'the ranks are not known: --gpus' };
      return settingOfDeepspeed(config, model, cluster) ?? { why: 'the batch is not known, or does not divide' };
    },
  });

const shownChanges = 6;

const bytes = (value: number): string => formatBytes(value, 'binary');

/** What the framework calls what is changed. */
const changed: Readonly<Record<PricedFramework, string>> = { megatron: 'flags', deepspeed: 'keys' };

/** Prints it; `words` turns flags into what the person writes. */
export function showPrice(console: Console, price: LintPrice, words = (flags: string): string => flags): void {
  const { style } = console;
  if ('why' in price) {
    console.note(`not priced: ${price.why}`);
    return;
  }
  const { estimate, memoryBytes, changes, best, setting, framework } = price;
  const change = `one change of ${changed[framework]}`;
  const capacity = setting.cluster.device.memoryBytes;
  const parts = Object.entries(partNames)
    .map(([part, name]) => ({ name, seconds: estimate.parts[part as keyof typeof partNames] }))
    .filter(({ seconds }) => seconds > 0.01 * estimate.seconds)
    .sort((a, b) => b.seconds - a.seconds);
  const faster = best === undefined ? 0 : 1 - best.seconds / estimate.seconds;
  const facts: [string, string][] = [
    [
      'Step',
      `${formatSeconds(estimate.seconds)} predicted, ${formatInteger(Math.round(estimate.tokensPerSecondPerGpu))} ` +
        `tokens/s a GPU, MFU ${formatPercent(estimate.mfu)}`,
    ],
    ['Memory', `${memoryBytes > capacity ? 'does not fit: ' : ''}${bytes(memoryBytes)} of ${bytes(capacity)}`],
    ['Binds', parts.map(({ name, seconds }) => `${name} ${formatPercent(seconds / estimate.seconds)}`).join(', ')],
    ...(best === undefined
      ? []
      : [
          [
            'Best plan',
            faster > tieShare
              ? `${layoutText(best.setting)}: ${formatSeconds(best.seconds)}, ${formatPercent(faster)} less, ` +
                `${bytes(best.memoryBytes)}; monta plan --framework ${framework} --output plan.json writes it`
              : 'none that is more than a tie faster',
          ] as [string, string],
        ]),
    ['Rests on', 'the closed form of a step, its constants fitted to published runs: nothing is measured'],
  ];
  console.print(renderFacts(facts, style));
  console.print('');
  if (changes.length === 0) return;
  console.print(
    renderTable(
      [
        { header: memoryBytes > capacity ? `${change} with which it fits` : change },
        { header: 'step', align: 'number' },
        { header: 'change', align: 'right' },
        { header: 'memory', align: 'number' },
      ],
      changes
        .slice(0, shownChanges)
        .map(({ flags, seconds, gain, memoryBytes: memory }) => [
          words(flags),
          formatSeconds(seconds),
          `${gain > 0 ? '−' : '+'}${formatPercent(Math.abs(gain))}`,
          bytes(memory),
        ]),
      { style },
    ),
  );
  console.print('');
}

/** For scripts. */
export const describedPrice = (price: LintPrice): object =>
  'why' in price
    ? { why: price.why }
    : {
        seconds: price.estimate.seconds,
        tokensPerSecondPerGpu: price.estimate.tokensPerSecondPerGpu,
        mfu: price.estimate.mfu,
        parts: price.estimate.parts,
        memoryBytes: price.memoryBytes,
        capacityBytes: price.setting.cluster.device.memoryBytes,
        changes: price.changes,
        best:
          price.best === undefined
            ? null
            : {
                layout: layoutText(price.best.setting),
                seconds: price.best.seconds,
                memoryBytes: price.best.memoryBytes,
              },
      };
