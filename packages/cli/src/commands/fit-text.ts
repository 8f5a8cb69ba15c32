/** How it is told whether a step fits, and what near it does. */
import type { Cluster, MemoryFit, MemorySetting } from '@monta/core';
import { formatBytes } from '@monta/core/units';
import { formatLayout } from '@monta/core/layout';
import { nearestFit } from '@monta/core/memory';
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
function changesOf(setting: MemorySetting, from: MemorySetting, cluster?: Cluster) {
  const { step, sharing, precision, activationAgain = false } = setting;
  const { recompute = 'none', virtualStages = 1 } = step;
  const again = typeof recompute === 'string' ? recompute : [...recompute, ...(activationAgain ? ['moe_act'] : [])];
  return {
    layout: formatLayout(step.layout, cluster),
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

/** What is near a step that does not fit. */
export interface Nearest {
  /** The nearest that fits on the same devices, as flags that differ from those that were given; null where none is. */
  readonly flags: Readonly<Record<string, FlagValue>> | null;
  /** A pipeline, which is not planned by its layout: the command that takes it. Null where the same command does. */
  readonly command: string | null;
  /** What it takes of each device; where none fits, the least that anything near takes. */
  readonly totalBytes: number;
}

/** What is near and fits. */
export function nearestTo(setting: MemorySetting, cluster: Cluster): Nearest {
  const { setting: nearest, leastBytes: totalBytes } = nearestFit(setting, cluster);
  return { flags: nearest === undefined ? null : changesOf(nearest, setting, cluster), command: null, totalBytes };
}

/**
 * The same for a command that takes layouts of one stage alone: they come first. Where pipelines alone fit, the command
 * that takes the nearest one, whole; `flags` are those that were given.
 */
export function nearestStageTo(
  setting: MemorySetting,
  cluster: Cluster,
  flags: { readonly model: string; readonly cluster: string },
): Nearest {
  const { setting: nearest, leastBytes: totalBytes } = nearestFit(setting, cluster, ({ step }) => step.layout.pp === 1);
  if (nearest === undefined) return { flags: null, command: null, totalBytes };
  const changes = changesOf(nearest, setting, cluster);
  if (nearest.step.layout.pp === 1) return { flags: changes, command: null, totalBytes };
  const known = new Map<string, object>(Object.entries({ ...stepFlags, ...memoryFlags, dtype: { default: 'bf16' } }));
  const given: [string, FlagValue | undefined][] = Object.entries(flags);
  const asked = given.filter(([key, value]) => {
    // One stage has no virtual ones: what was said of them is 1.
    const flag = key === 'virtualStages' ? undefined : known.get(key);
    return flag !== undefined && value !== undefined && !('default' in flag && String(value) === flag.default);
  });
  const { model, cluster: name } = flags;
  const whole = { model, cluster: name, ...Object.fromEntries(asked), ...changes };
  return { flags: changes, command: `monta memory ${flagsText(whole)}`, totalBytes };
}

/** What is near and fits, in words. */
export function nearestText({ flags, command, totalBytes }: Nearest): string {
  const bytes = formatBytes(totalBytes, 'binary');
  if (flags === null) return `nothing near fits on these devices: the least is ${bytes} each`;
  if (command === null) return `the nearest that fits: ${flagsText(flags)} (${bytes})`;
  return (
    `nothing near fits in one stage; the nearest that fits is a pipeline (${bytes}), which is not planned by its ` +
    `layout; what it takes:\n  ${command}`
  );
}
