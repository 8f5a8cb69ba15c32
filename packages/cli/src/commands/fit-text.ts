/** How it is told whether a step fits, and what near it does. */
import { formatBytes, formatLayout, nearestFit, type Cluster, type MemoryFit, type MemorySetting } from '@monta/core';
import { quoted } from '../output/typed-command.js';
import { stepFlags } from './layer-inputs.js';
import { memoryFlags } from './memory-flags.js';

const gibi = (bytes: number, digits: number): string => (bytes / 2 ** 30).toFixed(digits);

/** `140 of 80 GiB`, with as many digits as tell the two apart, up to two. */
export function ofCapacity({ totalBytes, capacityBytes }: Pick<MemoryFit, 'totalBytes' | 'capacityBytes'>): string {
  const smaller = Math.min(totalBytes, capacityBytes) / 2 ** 30;
  const least = smaller < 0.1 ? 2 : smaller < 10 ? 1 : 0;
  const apart = [0, 1, 2].find((digits) => gibi(totalBytes, digits) !== gibi(capacityBytes, digits)) ?? 2;
  const digits = Math.max(least, apart);
  return `${gibi(totalBytes, digits)} of ${gibi(capacityBytes, digits)} GiB`;
}

/** Flags, and their values, of a setting that differ from another's; of what is computed again `moe_act` too. */
function changesOf({ step, sharing, precision, activationAgain = false }: MemorySetting, from: MemorySetting) {
  const { recompute = 'none', virtualStages = 1 } = step;
  const again = typeof recompute === 'string' ? recompute : [...recompute, ...(activationAgain ? ['moe_act'] : [])];
  return {
    layout: formatLayout(step.layout),
    ...(sharing === from.sharing ? {} : { sharing }),
    ...(precision === from.precision ? {} : { precision }),
    ...(recompute === from.step.recompute ? {} : { recompute: again }),
    ...(step.microBatches === from.step.microBatches ? {} : { microBatches: step.microBatches }),
    ...(virtualStages === (from.step.virtualStages ?? 1) ? {} : { virtualStages }),
    ...(step.passes === from.step.passes ? {} : { overlapPasses: false }),
  };
}

type FlagValue = string | number | boolean | readonly string[];

/** `--name value`, `--name` or `--no-name`, as a shell takes it. */
function flagText(key: string, value: FlagValue): string {
  const name = key.replace(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`);
  if (typeof value === 'boolean') return value ? `--${name}` : `--no-${name}`;
  return `--${name} ${quoted(String(value))}`;
}

const flagsText = (flags: Readonly<Record<string, FlagValue>>): string =>
  Object.entries(flags)
    .map(([key, value]) => flagText(key, value))
    .join(' ');

/** Flags of a setting that differ from another's. */
export const changesText = (setting: MemorySetting, from: MemorySetting): string => flagsText(changesOf(setting, from));

function nearText(nearest: ReturnType<typeof nearestFit>, setting: MemorySetting): string {
  const least = formatBytes(nearest.leastBytes, 'binary');
  return nearest.setting === undefined
    ? `nothing near fits on these devices: the least is ${least} each`
    : `the nearest that fits: ${changesText(nearest.setting, setting)} (${least})`;
}

/** What is near and fits, in words. */
export const nearestText = (setting: MemorySetting, cluster: Cluster): string =>
  nearText(nearestFit(setting, cluster), setting);

/**
 * The same for a command that takes layouts of one stage alone: they come first. Where pipelines alone fit, the command
 * that takes the nearest one, whole; `flags` are those that were given.
 */
export function nearestStageText(
  setting: MemorySetting,
  cluster: Cluster,
  flags: { readonly model: string; readonly cluster: string },
): string {
  const nearest = nearestFit(setting, cluster, ({ step }) => step.layout.pp === 1);
  if (nearest.setting === undefined || nearest.setting.step.layout.pp === 1) return nearText(nearest, setting);
  const known = new Map<string, object>(Object.entries({ ...stepFlags, ...memoryFlags, dtype: { default: 'bf16' } }));
  const given: [string, FlagValue | undefined][] = Object.entries(flags);
  const asked = given.filter(([key, value]) => {
    // One stage has no virtual ones: what was said of them is 1.
    const flag = key === 'virtualStages' ? undefined : known.get(key);
    return flag !== undefined && value !== undefined && !('default' in flag && String(value) === flag.default);
  });
  const { model, cluster: name } = flags;
  const whole = { model, cluster: name, ...Object.fromEntries(asked), ...changesOf(nearest.setting, setting) };
  return (
    'nothing near fits in one stage; the nearest that fits is a pipeline ' +
    `(${formatBytes(nearest.leastBytes, 'binary')}), which is not planned by its layout; what it takes:\n` +
    `  monta memory ${flagsText(whole)}`
  );
}
