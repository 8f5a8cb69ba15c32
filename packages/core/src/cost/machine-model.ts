/** The cost model of a machine that runs ranks itself: kernels as measured on it, the network as emulated or linked. */
import type { Cluster } from '../cluster/index.js';
import { hostInputs } from './inputs.js';
import { costModel, type CollectiveCurves, type CostModel, type KernelRate } from './model.js';
import { scaledCurves } from './scaled-curves.js';

export interface MachineCosts {
  readonly kernels: ReadonlyMap<string, KernelRate>;
  /** What the machine adds to every collective, seconds. */
  readonly overheadSeconds: number;
  /** Seconds here for a second of the cluster, where its network is emulated. */
  readonly timeScale?: number;
  /** Measured curves of the cluster at its own speed, used where the network is emulated. */
  readonly curves?: CollectiveCurves;
}

/** `device`: of the cluster as ranks see it. */
export function machineModel(
  device: Cluster['device'],
  { kernels, overheadSeconds, timeScale, curves }: MachineCosts,
): CostModel {
  return costModel(device, {
    kernels,
    ...(curves === undefined || timeScale === undefined
      ? {}
      : { curves: scaledCurves(curves, { volumeShare: 1, timeScale, overheadSeconds }) }),
    inputs: {
      computeType: device.flopsPerSecond.f32 === undefined ? 'bf16' : 'f32',
      ...hostInputs(overheadSeconds),
    },
    inputSource: 'measured on this machine',
  });
}
