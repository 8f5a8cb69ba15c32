/** Rates that a device keeps up over a run, by the part of the work. */
import type { Device } from '../cluster/cluster.js';
import { linksOf } from '../cost/index.js';
import { InputError } from '../units/errors.js';
import type { StepConstants } from './constants.js';
import type { ComputePrecision } from './run-setting.js';

/** FLOP/s and bytes/s. */
export interface Rates {
  readonly gemm: number;
  readonly grouped: number;
  /** The output layer and the router run in bf16 under every precision. */
  readonly logits: number;
  readonly attentionForward: number;
  readonly attentionBackward: number;
  readonly memory: number;
}

/**
 * Watts that a GPU may draw (thermal design power of NVIDIA's datasheets: A100 SXM 400, H100 SXM 700, HGX B200 1,000,
 * HGX B300 1,100, GB200 NVL72 1,200, GB300 NVL72 1,400). Blackwell's products run into it.
 */
const watts: Readonly<Record<string, number>> = { B200: 1000, B300: 1100, GB200: 1200, GB300: 1400 };
const usualWatts = 1200;

/** Generations that the constants cover. */
const generations = ['ampere', 'hopper', 'blackwell'] as const;
type Generation = (typeof generations)[number];

/** What is not listed counts as Hopper, by its own datasheet. */
const generationOf = ({ name }: Device): Generation =>
  generations.find((one) => one === linksOf(name)?.family) ?? 'hopper';

/** Whether published runs on such devices are among those that the constants were fitted on. */
export const isFitted = ({ name }: Device): boolean =>
  ['A100', 'H100', 'B200', 'B300', 'GB200', 'GB300'].includes(linksOf(name)?.name ?? '');

export const hasGrace = ({ name }: Device): boolean => /^GB|^GH/u.test(name);

function productShare(generation: Generation, precision: ComputePrecision, c: StepConstants): number {
  if (generation === 'ampere') return c.gemmAmpere;
  if (precision === 'bf16') return generation === 'hopper' ? c.gemmHopper : c.gemmBlackwell;
  if (generation === 'hopper') return c.gemmHopperFp8;
  return { fp8: c.gemmBlackwellFp8, mxfp8: c.gemmMxfp8, nvfp4: c.gemmNvfp4 }[precision];
}

/** Throws `InputError` for a precision whose peak the device lacks. */
export function ratesOf(device: Device, precision: ComputePrecision, c: StepConstants): Rates {
  const { bf16, fp8 } = device.flopsPerSecond;
  const peak = precision === 'bf16' ? bf16 : fp8;
  if (peak === undefined)
    throw new InputError(`${device.name} has no ${precision}`, { path: 'precision', expected: 'bf16' });
  const generation = generationOf(device);
  const drawn = watts[linksOf(device.name)?.name ?? ''] ?? usualWatts;
  const power = (drawn / usualWatts) ** c.powerExponent;
  const gemm = peak * productShare(generation, precision, c) * power;
  return {
    gemm,
    grouped: gemm * c.groupedShare,
    logits: bf16 * productShare(generation, 'bf16', c) * power,
    attentionForward: bf16 * c.attentionForward,
    attentionBackward: bf16 * c.attentionBackward,
    memory: device.memoryBytesPerSecond * c.memoryShare,
  };
}
