/** The cost model: a device, what is known of its kernels and collectives, and the explicit inputs for all the rest. */
import type { Device } from '../cluster/cluster.js';
import type { CollectiveName, Work } from '../schedule/schedule.js';
import type { WorkPart } from '../schedule/work.js';
import { InputError } from '../units/index.js';
import { knownEstimate, unknownEstimate, weakestBasis } from './estimate.js';
import type { Basis, Estimate } from './estimate.js';
import { defaultCostInputs, describeInputs, processorEfficiencies } from './inputs.js';
import { expertSeconds, fittedDetail, productWays, shapedSeconds } from './kernels/price.js';
import { kernelShapes } from './kernels/shapes.js';
import type { CostInputs, ShownInput } from './inputs.js';

/** What was measured of one kernel: it takes overhead + max(flops / flopsPerSecond, bytes / bytesPerSecond). */
export interface KernelRate {
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly overheadSeconds: number;
  /** `fitted` unless said otherwise. */
  readonly basis?: Basis;
}

/** Measured times of collectives that run alone; see `cost/calibration`. */
export interface CollectiveCurves {
  /**
   * What a collective takes on top of its curve while its links are free again (a slow host, say), seconds; 0 when left
   * out.
   */
  readonly addedLatencySeconds?: number;
  /**
   * Seconds of one collective over `ranks` ranks on `nodes` nodes. `totalBytes` counts as nccl-tests does: the whole
   * buffer of one rank (all_gather: what a rank has in the end; the others: what it has in the beginning).
   */
  seconds(
    name: CollectiveName,
    place: { readonly ranks: number; readonly nodes: number },
    totalBytes: number,
  ): Estimate;
}

export interface CostModel {
  readonly device: Device;
  readonly inputs: CostInputs;
  /** Inputs that differ from the defaults, and where they come from. */
  readonly given: Readonly<Partial<Record<keyof CostInputs, string>>>;
  readonly curves?: CollectiveCurves;
  readonly kernels?: ReadonlyMap<string, KernelRate>;
}

export interface CostModelOptions {
  readonly inputs?: Partial<CostInputs>;
  /** Where `inputs` come from, for the person; `given` when left out. */
  readonly inputSource?: string;
  readonly curves?: CollectiveCurves;
  readonly kernels?: ReadonlyMap<string, KernelRate>;
}

/**
 * Builds a cost model. Devices without multiprocessors (CPU ranks) pay no multiprocessor tax unless told to.
 * Throws `InputError` for an input outside its range, naming it.
 */
export function costModel(device: Device, options: CostModelOptions = {}): CostModel {
  const fromDevice: Partial<CostInputs> =
    device.multiprocessors === undefined
      ? { ...processorEfficiencies, multiprocessorsPerCollective: 0, hostRunsKernels: true, algorithm: 'direct' }
      : {};
  const inputs: CostInputs = { ...defaultCostInputs, ...fromDevice, ...options.inputs };
  for (const name of ['gemmEfficiency', 'attentionEfficiency', 'memoryEfficiency'] as const) {
    const share = inputs[name];
    if (share !== undefined && !(share > 0 && share <= 1)) {
      throw new InputError(`${name} is ${share}`, {
        expected: 'a share of the peak, more than 0 and at most 1',
      });
    }
  }
  if (inputs.expertProducts.length === 0)
    throw new InputError('no way of the products of experts', { expected: productWays.join(', ') });
  for (const name of [
    'kernelOverheadSeconds',
    'hostOverheadSeconds',
    'collectiveOverheadSeconds',
    'multiprocessorsPerCollective',
  ] as const) {
    if (!(inputs[name] >= 0 && Number.isFinite(inputs[name]))) {
      throw new InputError(`${name} is ${inputs[name]}`, { expected: 'a number of at least 0' });
    }
  }
  const total = device.multiprocessors;
  if (total !== undefined && inputs.multiprocessorsPerCollective >= total) {
    throw new InputError(
      `a collective takes ${inputs.multiprocessorsPerCollective} of the ${total} multiprocessors of ${device.name}`,
      { expected: `multiprocessorsPerCollective below ${total}, or nothing else could run` },
    );
  }
  const given: Partial<Record<keyof CostInputs, string>> = {};
  for (const name of Object.keys(fromDevice) as (keyof CostInputs)[]) given[name] = 'a device without multiprocessors';
  for (const name of Object.keys(options.inputs ?? {}) as (keyof CostInputs)[]) {
    given[name] = options.inputSource ?? 'given';
  }
  return { device, inputs, given, curves: options.curves, kernels: options.kernels };
}

/** Every input of the model, its value and where it comes from. */
export function describeCostModel(model: CostModel): ShownInput[] {
  return describeInputs(model.inputs, model.given);
}

/** A kernel as prices see it. */
export interface PricedKernel {
  readonly name: string;
  readonly kind: Work['kind'];
  readonly flops: number;
  readonly bytes: number;
  readonly rows: number;
  /** What it does one after the other. */
  readonly parts: readonly WorkPart[];
}

/** A kernel of the schedule on so many rows. */
export const pricedKernel = (name: string, work: Work, rows: number): PricedKernel => ({
  name,
  kind: work.kind,
  flops: rows * work.flopsPerRow,
  bytes: rows * work.bytesPerRow + work.fixedBytes,
  rows,
  parts: work.parts,
});

/**
 * Time of a kernel that runs alone: from its measured rates if there are any; else, where its kind has an efficiency
 * among the inputs, the roofline of the device, overhead + max(flops / (peak x efficiency), bytes / (memory bandwidth x
 * efficiency)) (Williams et al., CACM 52(4),
 * 2009); else from kernels timed on a GPU, by shape. Unknown when the datasheet lacks the peak that is needed.
 */
export function kernelSeconds(model: CostModel, kernel: PricedKernel): Estimate {
  const { name, kind, flops, bytes, rows, parts } = kernel;
  const rate = model.kernels?.get(name);
  if (rate) {
    const seconds = rate.overheadSeconds + Math.max(part(flops, rate.flopsPerSecond), part(bytes, rate.bytesPerSecond));
    if (Number.isFinite(seconds)) return knownEstimate(seconds, rate.basis ?? 'fitted', `rates of kernel ${name}`);
    return unknownEstimate(`rates of kernel ${name} above zero`);
  }
  const { device, inputs } = model;
  const { gemmEfficiency, attentionEfficiency, memoryEfficiency, computeType, kernelOverheadSeconds } = inputs;
  const efficiency = { gemm: gemmEfficiency, attention: attentionEfficiency, memory: memoryEfficiency }[kind];
  if (efficiency === undefined) {
    if (parts.length === 0) return unknownEstimate(`the shape of kernel ${name}`);
    const bases: Basis[] = [];
    let seconds = 0;
    for (const shape of kernelShapes(parts, rows)) {
      const grouped = shape.kind === 'grouped';
      const one = grouped
        ? expertSeconds({ device, computeType, shape, overheadSeconds: kernelOverheadSeconds }, inputs.expertProducts)
        : shapedSeconds(device, computeType, shape);
      if (!one.known) return one;
      seconds += one.seconds + (grouped ? 0 : kernelOverheadSeconds);
      bases.push(one.basis);
    }
    return knownEstimate(seconds, weakestBasis(bases), fittedDetail(device, computeType));
  }
  const peak = device.flopsPerSecond[computeType];
  if (flops > 0 && !(peak !== undefined && peak > 0)) {
    return unknownEstimate(`peak ${computeType} FLOP/s of ${device.name}, or rates of kernel ${name}`);
  }
  const matrix = (peak ?? 0) * (kind === 'memory' ? (gemmEfficiency ?? 1) : efficiency);
  const memory = device.memoryBytesPerSecond * (memoryEfficiency ?? 1);
  const seconds = kernelOverheadSeconds + Math.max(part(flops, matrix), part(bytes, memory));
  if (!Number.isFinite(seconds)) return unknownEstimate(`memory bandwidth of ${device.name}`);
  return knownEstimate(seconds, 'datasheet', `roofline of ${device.name} x efficiency`);
}

function part(amount: number, perSecond: number): number {
  return amount === 0 ? 0 : amount / perSecond;
}
