/** Readers of dropped files: model, cluster, topology of a node, logs of nccl-tests. */
import {
  busBytesPerSecond,
  type Calibration,
  type Cluster,
  countUpTo,
  fitCalibration,
  groundsOf,
  formatBandwidth,
  limits,
  looksTopology,
  maxOf,
  type MoeModel,
  readCluster,
  readModel,
  type Reading,
  readNcclTests,
  readTopology,
  seriesOfTier,
  type TierGround,
  topologyCluster,
} from '@monta/core';
import { about } from '../base/shown-error.js';
import { type DroppedFile, type Evidence, given } from './given.js';

/** A Hugging Face `config.json`, or a shape in YAML. Throws `InputError`. */
export const modelOfFile = ({ name, text }: DroppedFile): MoeModel => readModel(text, name);

interface NamedCluster {
  readonly cluster: Cluster;
  readonly grounds?: readonly TierGround[];
  readonly notes?: readonly string[];
}

/**
 * A cluster file, or the topology of one node: then `nodes` of them, of the GPU that `gpu` names where the file does
 * not say it. Throws `InputError`.
 */
export function clusterOfFile({ name, text }: DroppedFile, fields: Readonly<Record<string, string>>): NamedCluster {
  if (!looksTopology(text)) return { cluster: readCluster(text, name) };
  const nodes = given(fields['nodes']);
  const gpu = given(fields['gpu']);
  const count = nodes === undefined ? undefined : about('nodes', () => countUpTo(limits.ranks)(nodes));
  const topology = readTopology(text, name);
  // What it complains of is the GPU, which the file does not say.
  return about('gpu', () =>
    topologyCluster(topology, {
      ...(count === undefined ? {} : { nodes: count }),
      ...(gpu === undefined ? {} : { gpu }),
    }),
  );
}

/** A log that does not say its GPU was measured on the cluster's, as it was given with it. */
function readingOf({ name, text }: DroppedFile, cluster: Cluster): Reading {
  const reading = readNcclTests(text, name);
  if (reading.measurements.every(({ gpu }) => gpu !== '')) return reading;
  const gpu = cluster.device.name;
  return {
    measurements: readNcclTests(text, name, { gpu }).measurements,
    warnings: [`${name} does not say its GPU: taken for the cluster's ${gpu}`],
  };
}

/** What a cluster rests on, where files say something of it. Throws `InputError` for logs that cannot be read. */
export function evidenceOf(
  { cluster, grounds, notes = [] }: NamedCluster,
  logs: readonly DroppedFile[],
): Evidence | undefined {
  if (logs.length === 0) return grounds === undefined ? undefined : { grounds, notes };
  const readings = logs.map((log) => readingOf(log, cluster));
  const { calibration, warnings } = fitCalibration(readings.flatMap(({ measurements }) => measurements));
  const source = logs.map(({ name }) => name).join(', ');
  return {
    calibration,
    grounds: groundsOf({ cluster, written: grounds ?? [], calibration, calibrationFile: source }),
    notes: [...notes, ...readings.flatMap((one) => one.warnings), ...warnings],
  };
}

/** One tier of the cluster, and what its figures rest on. */
export interface EvidenceRow {
  readonly tier: string;
  readonly ports: string;
  readonly ground: string;
  readonly because: string;
  /** The highest bus bandwidth that logs show of it. */
  readonly measured: string | undefined;
}

/** The highest bus bandwidth of a device inside a node (innermost tier) or across nodes, bytes/s. */
function highestBus(calibration: Calibration, cluster: Cluster, tier: number): number | undefined {
  const rates = seriesOfTier(calibration, cluster, tier).flatMap(({ op, ranks, points }) =>
    points.map(({ bytes, seconds }) => busBytesPerSecond(op, ranks, bytes, seconds)),
  );
  return rates.length === 0 ? undefined : maxOf(rates);
}

/** What is shown of the evidence, tier by tier. */
export function evidenceRows(cluster: Cluster, { grounds, calibration }: Evidence): EvidenceRow[] {
  return cluster.tiers.map(({ name, ports, bytesPerSecond }, tier) => {
    const bus = calibration === undefined ? undefined : highestBus(calibration, cluster, tier);
    return {
      tier: name,
      ports: `${ports} x ${formatBandwidth(bytesPerSecond)}`,
      ground: grounds[tier]?.ground ?? 'given',
      because: grounds[tier]?.because ?? '',
      measured: bus === undefined ? undefined : formatBandwidth(bus),
    };
  });
}
