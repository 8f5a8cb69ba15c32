/**
 * Prices a kernel by its shape: coefficients fitted on one device, carried to another by the ratios of their
 * datasheets.
 */
import type { Device } from '../../cluster/cluster.js';
import { knownEstimate, unknownEstimate, type Estimate } from '../estimate.js';
import { fittedOn, kernelCoefficients } from './coefficients.js';
import { amounts, type GemmShape, type GroupedShape, type KernelShape, type KernelResource } from './features.js';
import { productOfGroup } from './shapes.js';

export type ComputeType = 'bf16' | 'f32' | 'fp8';

/** By how much longer a unit of each resource takes on a device than on the one that was fitted. */
function ratios(device: Device, computeType: ComputeType): Readonly<Record<KernelResource, number>> {
  const { bf16, fp8 } = fittedOn.flopsPerSecond;
  const peak = device.flopsPerSecond[computeType] ?? Number.NaN;
  const compute = (computeType === 'fp8' ? fp8 : bf16) / peak;
  return {
    call: 1,
    compute,
    memory: fittedOn.memoryBytesPerSecond / device.memoryBytesPerSecond,
    multiprocessor: compute * ((device.multiprocessors ?? fittedOn.multiprocessors) / fittedOn.multiprocessors),
  };
}

const isFitted = ({ name }: Device, computeType: ComputeType): boolean =>
  name === fittedOn.device && computeType !== 'f32';

/** What fitted kernels of a device rest on, for people. */
export function fittedDetail(device: Device, computeType: ComputeType): string {
  return isFitted(device, computeType)
    ? `kernels timed on ${fittedOn.device}, fitted by shape`
    : `kernels timed on ${fittedOn.device}, carried to ${device.name} by the ratio of datasheets`;
}

/**
 * Time of a kernel by its shape, no less than its bytes take at the datasheet's bandwidth: few rows by many weights,
 * whose gradients are added to in f32, lie beyond what was timed. `fitted` on the device that was measured, `scaled`
 * elsewhere. Unknown when the datasheet lacks the peak of the compute type.
 */
export function shapedSeconds(device: Device, computeType: ComputeType, shape: KernelShape): Estimate {
  const coefficients =
    shape.kind === 'gemm' && computeType === 'fp8' ? kernelCoefficients.gemmFp8 : kernelCoefficients[shape.kind];
  const ratio = ratios(device, computeType);
  const parts = amounts(shape, device.multiprocessors ?? fittedOn.multiprocessors);
  const fitted = parts.reduce(
    (sum, { resource, of }, index) => sum + of * (coefficients[index] ?? 0) * ratio[resource],
    0,
  );
  const gigabytes = parts.reduce((sum, { resource, of }) => sum + (resource === 'memory' ? of : 0), 0);
  const seconds = Math.max(fitted, (gigabytes * 1e9) / device.memoryBytesPerSecond);
  if (Number.isNaN(seconds)) return unknownEstimate(`peak ${computeType} FLOP/s of ${device.name}`);
  return knownEstimate(seconds, isFitted(device, computeType) ? 'fitted' : 'scaled', fittedDetail(device, computeType));
}

/**
 * What the host spends on one call of cuBLAS, seconds: a loop over 128 small experts runs no faster (H200, docs/gpu.md,
 * shape Q).
 */
const hostSecondsPerCall = 8e-6;

/**
 * How the products of all experts can run: one grouped call (`torch._grouped_mm`); a call an expert
 * (TransformerEngine's grouped linear layer); or counts padded to a multiple of `bucketRows`, and one batched call for
 * all experts of a size (Monta's layer on one GPU).
 */
export const productWays = ['grouped', 'loop', 'batched'] as const;
export type ProductWay = (typeof productWays)[number];

/** Half of it is padded in the mean. */
const bucketRows = 64;

/** Sizes that counts padded to `bucketRows` have: evenly drawn, they keep within two deviations of their mean. */
const paddedSizes = ({ rows, groups }: GroupedShape): number =>
  Math.min(groups, 1 + (4 * Math.sqrt(rows / groups)) / bucketRows);

/** Products of experts on a device. */
interface Products {
  readonly device: Device;
  readonly computeType: ComputeType;
  readonly shape: GroupedShape;
  /** Comes on top of every call. */
  readonly overheadSeconds: number;
}

/** So many calls of `batch` products each, no faster than their bytes move. */
function callsSeconds({ device, computeType, overheadSeconds }: Products, calls: number, shape: GemmShape): Estimate {
  const call = shapedSeconds(device, computeType, shape);
  if (!call.known) return call;
  const bytes = amounts(shape, 1).reduce((sum, { resource, of }) => sum + (resource === 'memory' ? of : 0), 0);
  const moved = bytes * (kernelCoefficients.copy[0] ?? 0) * ratios(device, computeType).memory;
  const seconds = Math.max(hostSecondsPerCall, Math.max(call.seconds, moved) + overheadSeconds);
  return { ...call, seconds: calls * seconds };
}

function waySeconds(products: Products, way: ProductWay): Estimate {
  const { device, computeType, shape, overheadSeconds } = products;
  if (way === 'loop') return callsSeconds(products, shape.groups, productOfGroup(shape));
  if (way === 'batched') {
    const sizes = paddedSizes(shape);
    const padded = { ...shape, rows: shape.rows + (shape.groups * bucketRows) / 2 };
    return callsSeconds(products, sizes, { ...productOfGroup(padded), batch: shape.groups / sizes });
  }
  const call = shapedSeconds(device, computeType, shape);
  return call.known ? { ...call, seconds: call.seconds + overheadSeconds } : call;
}

/** Products of all experts, by the fastest of the ways that there are. */
export function expertSeconds(products: Products, ways: readonly ProductWay[]): Estimate {
  const priced = ways.map((way) => waySeconds(products, way));
  return priced.reduce((best, one) => (one.known && best.known && one.seconds < best.seconds ? one : best));
}
