/** Rates that a device keeps up over a run, by the part of the work. */
import type { Device } from '../cluster/cluster.js';
import { linksOf } from '../cost/index.js';
import { InputError } from '../units/errors.js';
import type { StepConstants } from './constants.js';
import type { ComputePrecision } from './run-setting.js';

/** FLOP/s and bytes/s, and of what generation. */
export interface Rates {
  readonly generation: Generation;
  readonly gemm: number;
  readonly grouped: number;
  /** The output layer and the router run in bf16 under every precision. */
  readonly logits: number;
  readonly attentionForward: number;
  readonly attentionBackward: number;
  readonly memory: number;
}

/**
 * Rates that GPUs of one generation sustain, over GB200's: power limits differ (HGX B200 1,000 W, HGX B300 1,100 W,
 * GB200 NVL72 1,200 W, GB300 NVL72 1,400 W by NVIDIA's datasheets). B300 lies between B200 and GB300.
 */
function sustained(gpu: string, { sustainedB200: b200, sustainedGb300: gb300 }: StepConstants): number {
  const known: Readonly<Record<string, number>> = { B200: b200, B300: Math.sqrt(b200 * gb300), GB300: gb300 };
  return known[gpu] ?? 1;
}

/**
 * FLOP/s of nvfp4 over those of bf16, dense: NVIDIA's datasheets of HGX B200 (72 of 18 PFLOPS), GB200 NVL72 (720 of
 * 180), HGX B300 (108 of 18) and GB300 NVL72 (1,080 of 180).
 */
const fp4Shares: Readonly<Record<string, number>> = { B200: 4, B300: 6, GB200: 4, GB300: 6 };

/** What is priced: products of a run are held by power, not by the peaks of B300 and GB300 (`sustained` says more). */
const mostFp4Share = 4;

/** FLOP/s of a precision, dense: a device that is slowed is slowed in all. Undefined for one that it lacks. */
export function peakOf(
  { name, flopsPerSecond: { bf16, fp8 } }: Device,
  precision: ComputePrecision,
): number | undefined {
  if (precision === 'bf16') return bf16;
  if (precision !== 'nvfp4') return fp8;
  const share = fp4Shares[linksOf(name)?.name ?? ''];
  return share === undefined ? undefined : share * bf16;
}

/** Generations that the constants cover, in their order. */
export const generations = ['ampere', 'hopper', 'blackwell'] as const;
export type Generation = (typeof generations)[number];

/** What is not listed counts as Hopper, by its own datasheet. */
export const generationOf = ({ name }: Device): Generation =>
  generations.find((one) => one === linksOf(name)?.family) ?? 'hopper';

/** Whether published runs on such devices are among those that the constants were fitted on. */
export const isFitted = ({ name }: Device): boolean =>
  ['A100', 'H100', 'B200', 'B300', 'GB200', 'GB300'].includes(linksOf(name)?.name ?? '');

export const hasGrace = ({ name }: Device): boolean => linksOf(name)?.perGrace !== undefined;

function productShare(generation: Generation, precision: ComputePrecision, c: StepConstants): number {
  if (generation === 'ampere') return c.gemmAmpere;
  if (precision === 'bf16') return generation === 'hopper' ? c.gemmHopper : c.gemmBlackwell;
  if (generation === 'hopper') return c.gemmHopperFp8;
  return precision === 'nvfp4' ? c.gemmNvfp4 : c.gemmBlackwellFp8;
}

/** Throws `InputError` for a precision whose peak the device lacks. */
export function ratesOf(device: Device, precision: ComputePrecision, c: StepConstants): Rates {
  const { bf16 } = device.flopsPerSecond;
  const gpu = linksOf(device.name)?.name ?? '';
  const datasheet = peakOf(device, precision);
  if (datasheet === undefined)
    throw new InputError(`${device.name} has no ${precision}`, { path: 'precision', expected: 'bf16' });
  const peak = precision === 'nvfp4' ? Math.min(datasheet, mostFp4Share * bf16) : datasheet;
  const generation = generationOf(device);
  const power = sustained(gpu, c);
  const gemm = peak * productShare(generation, precision, c) * power;
  return {
    generation,
    gemm,
    grouped: gemm * c.groupedShare,
    logits: bf16 * productShare(generation, 'bf16', c) * power,
    attentionForward: bf16 * c.attentionForward,
    attentionBackward: bf16 * c.attentionBackward,
    memory: device.memoryBytesPerSecond * c.memoryShare,
  };
}
