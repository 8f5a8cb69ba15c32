/** How far presets alone, without a calibration, are from measured collectives. */
import { getCluster } from '../cluster/presets.js';
import { fabricOf } from '../traffic/fabric.js';
import type { CollectiveLoad } from '../traffic/flows.js';
import type { Measurement, MeasuredOp } from './calibration/measurement.js';
import { busFactor } from './calibration/measurement.js';
import { collectiveSeconds, priceCollective } from './collective.js';
import { costModel } from './model.js';

export interface PresetError {
  readonly measurement: Measurement;
  readonly preset: string;
  readonly predictedSeconds: number;
  /** Predicted over measured, minus 1. */
  readonly error: number;
  /** The same of bytes over the nominal bandwidth of the NICs, without latency: what anyone would write first. */
  readonly naiveError: number;
}

/**
 * Presets of the machines whose nccl-tests logs over several nodes stand in `calibration/fixtures/nccl-tests-logs.csv`,
 * by `system`.
 */
const loggedMachines: Readonly<Record<string, string>> = {
  'a100-80gb_2node_16gpu': 'a100-2x8',
  'b200-ib': 'b200-2x8',
  b200_2node_16gpu_gcpa4: 'b200-2x8',
  'h100-80gb_2node_16gpu_a3high': 'h100-2x8-4nic-200g',
  'h100-80gb_2node_16gpu_a3high_dstack': 'h100-2x8-4nic-200g',
  'h100-80gb_2node_16gpu_a3mega': 'h100-2x8-8nic-200g',
  'h100-80gb_2node_16gpu_a3mega_dstack': 'h100-2x8-8nic-200g',
  'h100_2node_16gpu_nebius-ib': 'h100-2x8',
  h200_2node_16gpu_a3ultra: 'h200-2x8',
  h200_2node_16gpu_roce8x400: 'h200-2x8',
};

/** A balanced collective whose buffer, as nccl-tests counts it, has so many bytes. */
export function balanced(op: MeasuredOp, ranks: number, totalBytes: number): CollectiveLoad {
  if (op === 'all_to_all' || op === 'send')
    return { kind: 'pairs', bytes: new Float64Array(ranks * ranks).fill(totalBytes / ranks) };
  return { kind: 'blocks', bytes: new Float64Array(ranks).fill(op === 'broadcast' ? totalBytes : totalBytes / ranks) };
}

/** Seconds of a collective over the first `ranks` devices of a preset, by its datasheet and NCCL's tuning alone. */
export function presetSeconds(preset: string, op: MeasuredOp, ranks: number, totalBytes: number): number {
  const cluster = getCluster(preset);
  const members = Array.from({ length: ranks }, (_, rank) => rank);
  const fabric = fabricOf(cluster);
  const priced = priceCollective({
    model: costModel(cluster.device),
    fabric,
    name: op,
    members,
    load: balanced(op, ranks, totalBytes),
  });
  return collectiveSeconds(fabric, priced).seconds;
}

/** Errors of presets at measurements over two nodes or more of machines that `loggedMachines` knows. */
export function presetErrors(measurements: readonly Measurement[]): PresetError[] {
  return measurements.flatMap((measurement) => {
    const { op, ranks, nodes, bytes, seconds, system } = measurement;
    const preset = loggedMachines[system];
    if (preset === undefined || nodes === null || nodes < 2) return [];
    const predictedSeconds = presetSeconds(preset, op, ranks, bytes);
    const network = getCluster(preset).tiers[1];
    const perNode = (network?.bytesPerSecond ?? Number.NaN) * (network?.ports ?? 1);
    const naive = (bytes * busFactor(op, ranks)) / perNode;
    return [
      { measurement, preset, predictedSeconds, error: predictedSeconds / seconds - 1, naiveError: naive / seconds - 1 },
    ];
  });
}
