/**
 * Prices a kernel by its shape: coefficients fitted on one device, carried to another by the ratios of their
 * datasheets.
 */
import type { Device } from '../../cluster/cluster.js';
import { knownEstimate, unknownEstimate, type Estimate } from '../estimate.js';
import { fittedOn, kernelCoefficients } from './coefficients.js';
import { amounts, type GroupedShape, type KernelShape, type KernelResource } from './features.js';
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
 * Time of a kernel by its shape. `fitted` on the device that was measured, `scaled` elsewhere. Unknown when the
 * datasheet lacks the peak of the compute type.
 */
export function shapedSeconds(device: Device, computeType: ComputeType, shape: KernelShape): Estimate {
  const coefficients =
    shape.kind === 'gemm' && computeType === 'fp8' ? kernelCoefficients.gemmFp8 : kernelCoefficients[shape.kind];
  const ratio = ratios(device, computeType);
  const seconds = amounts(shape, device.multiprocessors ?? fittedOn.multiprocessors).reduce(
    (sum, { resource, of }, index) => sum + of * (coefficients[index] ?? 0) * ratio[resource],
    0,
  );
  if (Number.isNaN(seconds)) return unknownEstimate(`peak ${computeType} FLOP/s of ${device.name}`);
  return knownEstimate(seconds, isFitted(device, computeType) ? 'fitted' : 'scaled', fittedDetail(device, computeType));
}

/**
 * What the host spends on one call of cuBLAS, seconds: a loop over 128 small experts runs no faster (H200, docs/gpu.md,
 * shape Q).
 */
const hostSecondsPerCall = 8e-6;

/**
 * Products of all experts, by the faster of two ways: one grouped call, or a loop of a product an expert (Monta's CUDA
 * device takes the faster of such ways for each product; TransformerEngine's grouped linear layer is a loop).
 * `overheadSeconds` comes on top of every call.
 */
export function expertSeconds(
  device: Device,
  computeType: ComputeType,
  shape: GroupedShape,
  overheadSeconds: number,
): Estimate {
  const grouped = shapedSeconds(device, computeType, shape);
  const single = shapedSeconds(device, computeType, productOfGroup(shape));
  if (!grouped.known || !single.known) return grouped;
  const loop = shape.groups * Math.max(hostSecondsPerCall, single.seconds + overheadSeconds);
  return { ...grouped, seconds: Math.min(grouped.seconds + overheadSeconds, loop) };
}
