/**
 * Flags of `monta plan` and `monta simulate` that stand in for what no cluster file holds, and what they make of the
 * cost model.
 */
import type { Algorithm, Cluster, CostInputs, CostModel, LibraryName, ProductWay } from '@monta/core';
import { formatInteger, formatSeconds, InputError, limits, parseSeconds } from '@monta/core/units';
import { algorithms } from '@monta/core/traffic';
import { communicationLibraries, costModel, describeCostModel, productWays } from '@monta/core/cost';
import { loadCalibration } from '../inputs.js';
import { countFlag } from './flags.js';

export interface CostFlags {
  readonly cluster: string;
  readonly dtype: 'bf16' | 'f32';
  readonly calibration?: string;
  readonly gemmEfficiency?: number;
  readonly expertProducts?: readonly ProductWay[];
  readonly latency?: string;
  readonly hostTime?: number;
  readonly algorithm: Algorithm | 'nccl';
  readonly library: LibraryName;
  readonly multiprocessors?: number;
}

/** `0.65`, a share. */
function parseShare(text: string): number {
  const share = Number(text);
  if (text.trim() === '' || !(share >= limits.leastFactor && share <= 1))
    throw new InputError(`"${text}" is not a share`, {
      expected: `a number like 0.65, from ${limits.leastFactor} to 1`,
    });
  return share;
}

/** `grouped,batched`. */
function parseProducts(text: string): ProductWay[] {
  return text.split(',').map((word) => {
    const way = productWays.find((one) => one === word.trim());
    if (way === undefined)
      throw new InputError(`"${word}" is no way of the products of experts`, { expected: productWays.join(', ') });
    return way;
  });
}

/** The flags, to be spread into a command's. */
export const costFlags = {
  gemmEfficiency: {
    kind: 'parsed',
    parse: parseShare,
    placeholder: 'share',
    brief: 'Share of the peak that matrix products reach (default: by shape, from kernels timed on an H200)',
    optional: true,
  },
  expertProducts: {
    kind: 'parsed',
    parse: parseProducts,
    placeholder: 'ways',
    brief: `How products of experts can run, the fastest counts: ${productWays.join(', ')} (default: grouped,loop)`,
    optional: true,
  },
  latency: {
    kind: 'parsed',
    parse: String,
    placeholder: 'tier:time',
    brief: 'One-way latencies in place of the cluster file, like infiniband:20us or nvlink:1us,infiniband:20us',
    optional: true,
  },
  hostTime: {
    kind: 'parsed',
    parse: parseSeconds,
    placeholder: 'time',
    brief:
      'What the host spends on issuing one operation of the schedule, like 100us for an eager framework (default: ' +
      '5 us)',
    optional: true,
  },
  algorithm: {
    kind: 'enum',
    values: ['nccl', ...algorithms],
    brief: 'How gathers and reductions move: nccl takes the fastest of ring, tree and NVLS, as NCCL does',
    default: 'nccl',
  },
  library: {
    kind: 'enum',
    values: communicationLibraries.map(({ name }) => name),
    brief: 'Whose multiprocessors collectives hold',
    default: 'nccl',
  },
  multiprocessors: {
    ...countFlag(
      'count',
      'Multiprocessors that each running collective holds (default: by library)',
      limits.multiprocessors,
      0,
    ),
    optional: true,
  },
} as const;

/** The cluster with the latencies of `--latency`. Throws `InputError` for a tier that it does not have. */
export function withLatencies(cluster: Cluster, text: string | undefined): Cluster {
  if (text === undefined) return cluster;
  const given = new Map<string, number>();
  for (const part of text.split(',')) {
    const [name = '', time, ...rest] = part.split(':');
    if (time === undefined || rest.length > 0 || !cluster.tiers.some((tier) => tier.name === name))
      throw new InputError(`"${part}" is not a latency of ${cluster.name}`, {
        file: '--latency',
        expected:
          `TIER:TIME with a tier of ${cluster.tiers.map((tier) => tier.name).join(', ')}, like ` +
          `${cluster.tiers.at(-1)?.name}:20us`,
      });
    given.set(name, parseSeconds(time));
  }
  const tiers = cluster.tiers.map((tier) => ({ ...tier, latencySeconds: given.get(tier.name) ?? tier.latencySeconds }));
  return { ...cluster, tiers, sources: [...cluster.sources, `latencies: --latency ${text}`] };
}

/** The cost model of the flags. A device without multiprocessors keeps what it has. */
export function costsOf(flags: CostFlags, cluster: Cluster): CostModel {
  const measured = flags.calibration === undefined ? {} : loadCalibration(flags.calibration, cluster, flags.dtype);
  const library = communicationLibraries.find(({ name }) => name === flags.library);
  const gpu = cluster.device.multiprocessors !== undefined;
  const given: Partial<CostInputs> = {
    computeType: flags.dtype,
    ...measured.inputs,
    ...(flags.gemmEfficiency === undefined ? {} : { gemmEfficiency: flags.gemmEfficiency }),
    ...(flags.expertProducts === undefined ? {} : { expertProducts: flags.expertProducts }),
    ...(flags.hostTime === undefined ? {} : { hostOverheadSeconds: flags.hostTime }),
    ...(flags.algorithm === 'nccl' ? {} : { algorithm: flags.algorithm }),
    ...(flags.multiprocessors === undefined
      ? gpu && library && flags.library !== 'nccl'
        ? { multiprocessorsPerCollective: library.multiprocessors }
        : {}
      : { multiprocessorsPerCollective: flags.multiprocessors }),
  };
  const model = costModel(cluster.device, { ...measured, inputs: given });
  const sources: Partial<Record<keyof CostInputs, string>> = {
    computeType: '--dtype',
    gemmEfficiency: flags.gemmEfficiency === undefined ? measured.inputSource : '--gemm-efficiency',
    expertProducts: '--expert-products',
    hostOverheadSeconds: '--host-time',
    algorithm: '--algorithm',
    multiprocessorsPerCollective: flags.multiprocessors === undefined ? library?.source : '--multiprocessors',
  };
  const origin = Object.fromEntries(
    (Object.keys(model.given) as (keyof CostInputs)[]).map((name) => [name, sources[name] ?? model.given[name]]),
  );
  return { ...model, given: origin };
}

/** What the prices rest on besides the schedule, one line each with its source. */
export function inputLines(model: CostModel, cluster: Cluster): string[] {
  const shown: readonly (keyof CostInputs)[] = [
    'gemmEfficiency',
    'expertProducts',
    'algorithm',
    'multiprocessorsPerCollective',
    'hostOverheadSeconds',
    'collectiveOverheadSeconds',
    'kernelOverheadSeconds',
  ];
  const text = ({ name, value, unit }: ReturnType<typeof describeCostModel>[number]): string =>
    unit === 's'
      ? formatSeconds(Number(value))
      : unit === 'multiprocessors'
        ? `${formatInteger(Number(value))} of ${cluster.device.multiprocessors ?? 0}`
        : name === 'gemmEfficiency' && value !== 'fitted'
          ? `${value} of peak`
          : value;
  const lines = describeCostModel(model)
    .filter(({ name }) => shown.includes(name))
    .map((input) => `${input.meaning}: ${text(input)} (${input.source})`);
  const latencies = cluster.tiers.map(({ name, latencySeconds }) => `${name} ${formatSeconds(latencySeconds)}`);
  const source = cluster.sources.filter((one) => /latenc/u.test(one)).at(-1) ?? 'the cluster file';
  return [...lines, `latency of a hop: ${latencies.join(', ')} (${source})`];
}
