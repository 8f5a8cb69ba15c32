/** Clusters and models as people name them: a preset, or a file. */
import type {
  Calibration,
  Cluster,
  CollectiveCurves,
  CostInputs,
  CostModelOptions,
  MoeModel,
  ProbedCard,
  Topology,
} from '@monta/core';
import { InputError } from '@monta/core/units';
import {
  clusterPresets,
  getCluster,
  looksTopology,
  readCluster,
  readTopology,
  topologyCluster,
} from '@monta/core/cluster';
import { getModel, modelPresets, readModel } from '@monta/core/model';
import {
  CalibrationLookup,
  cardShares,
  gemmShareOf,
  gpuKey,
  mergeCalibrations,
  readCalibration,
} from '@monta/core/cost';
import { join } from 'node:path';
import { pathExists, readTextFile } from './files.js';
import type { Console } from './output/console.js';

/** Whether a person means a file: the text has a folder or an ending that files have, or there is such a file. */
function meansFile(text: string): boolean {
  return /[/\\]|\.(?:ya?ml|json|xml)$/iu.test(text) || pathExists(text);
}

/** `mistralai/Mixtral-8x7B-v0.1`: an owner and a name as Hugging Face has them, and no file there. */
const meansRepository = (text: string): boolean =>
  /^[\w-][\w.-]*\/[\w-][\w.-]*$/u.test(text) && !/\.(?:ya?ml|json)$/iu.test(text) && !pathExists(text);

/** Adds to the complaint about an unknown name that a file would do too. */
function orFile<T>(text: string, known: ReadonlyMap<string, unknown>, kind: string, get: () => T): T {
  try {
    return get();
  } catch (error) {
    if (!(error instanceof InputError) || known.has(text) || error.hint !== undefined) throw error;
    throw error.at({ hint: `or the path of a ${kind} file; there is no file of this name` });
  }
}

/**
 * Reads a cluster: `a800-2x8`, `h100-16x8`, `cluster.yaml`, or the topology of one node (`nvidia-smi topo -m`, NCCL's
 * or hwloc's XML) that says which GPU it is. What of a topology is guessed or left out goes to the console. Throws
 * `InputError`.
 */
export function loadCluster(nameOrFile: string, console?: Pick<Console, 'warn'>): Cluster {
  if (!meansFile(nameOrFile)) return orFile(nameOrFile, clusterPresets, 'cluster', () => getCluster(nameOrFile));
  const text = readTextFile(nameOrFile);
  if (!looksTopology(text)) return readCluster(text, nameOrFile);
  const { cluster, notes } = topologyCluster(readTopology(text, nameOrFile));
  for (const note of notes) console?.warn(note);
  return cluster;
}

/** Reads the topology of a node where `file` is one; undefined for names and for cluster files. Throws `InputError`. */
export function loadTopology(file: string): Topology | undefined {
  if (!meansFile(file)) return undefined;
  const text = readTextFile(file);
  return looksTopology(text) ? readTopology(text, file) : undefined;
}

/**
 * Reads a model: `mixtral-8x7b`, a Hugging Face `config.json` or the folder that it lies in, a shape in YAML. Throws
 * `InputError`.
 */
export function loadModel(nameOrFile: string): MoeModel {
  if (!meansFile(nameOrFile) || meansRepository(nameOrFile))
    return orFile(nameOrFile, modelPresets, 'model', () => getModel(nameOrFile));
  const inside = join(nameOrFile, 'config.json');
  const file = pathExists(inside) ? inside : nameOrFile;
  return readModel(readTextFile(file), file);
}

/** Reads a calibration file, or several of one cluster with commas between them, as one. Throws `InputError`. */
export function readCalibrationFile(path: string): Calibration {
  const paths = pathExists(path) ? [path] : path.split(',').map((one) => one.trim());
  const [first, ...others] = paths.map((one) => readCalibration(readTextFile(one), one));
  return first === undefined || others.length > 0 ? mergeCalibrations([...(first ? [first] : []), ...others]) : first;
}

/**
 * What a calibration file says of a cluster, for `costModel`: curves of collectives (of the series that are named like
 * the cluster, else of its device, else carried), and, where a probe timed matrix products on this very device, the
 * share of its peak that they reached; all that a probe of its card found, where there is one. Throws `InputError` for
 * a bad file, and when it holds nothing that helps with this cluster's device.
 */
export function loadCalibration(
  path: string,
  cluster: Cluster,
  computeType: CostInputs['computeType'] = 'bf16',
): Pick<CostModelOptions, 'curves' | 'inputs' | 'inputSource'> {
  const calibration = readCalibrationFile(path);
  const curves = new CalibrationLookup(calibration, { gpu: cluster.device.name, system: cluster.name });
  const size = 2 ** 20;
  const usable = calibration.series.some(
    ({ op, ranks, nodes }) => !('unknown' in curves.find({ op, ranks, nodes: nodes ?? 1, bytes: size })),
  );
  const probes = (calibration.probes ?? []).filter((one) => gpuKey(one.computeDevice) === gpuKey(cluster.device.name));
  const card = probes.find((one) => one.card !== undefined)?.card;
  const probe = probes.find(({ gemms }) => gemms.length > 0);
  if (!usable && card === undefined) {
    const devices = [...new Set(calibration.series.map((s) => s.gpu || 'unnamed device'))];
    throw new InputError(`says nothing about ${cluster.device.name}`, {
      file: path,
      expected: `measurements of ${cluster.device.name}, or of a device of its family (it holds ${devices.join(', ')})`,
      hint: 'monta calibrate --gpu names the device of logs that do not say',
    });
  }
  const peak = cluster.device.flopsPerSecond[computeType];
  if (card !== undefined) return cardInputs(card, cluster, { path, ...(usable ? { curves } : {}) });
  const gemmEfficiency = probe === undefined || peak === undefined ? undefined : gemmShareOf(probe, peak);
  return gemmEfficiency === undefined
    ? { curves }
    : { curves, inputs: { gemmEfficiency }, inputSource: `matrix products probed, ${path}` };
}

/** Of a probed card: its shares of the datasheet where kernels run in what it was probed in. */
function cardInputs(
  card: ProbedCard,
  { device }: Cluster,
  { path, curves }: { readonly path: string; readonly curves?: CollectiveCurves },
): Pick<CostModelOptions, 'curves' | 'inputs' | 'inputSource'> {
  const { bf16 } = device.flopsPerSecond;
  const shares =
    bf16 === undefined
      ? undefined
      : cardShares(card, { flopsPerSecond: bf16, memoryBytesPerSecond: device.memoryBytesPerSecond });
  return {
    ...(curves === undefined ? {} : { curves }),
    inputs: {
      hostOverheadSeconds: card.hostLaunchSeconds,
      ...(shares === undefined
        ? {}
        : {
            gemmEfficiency: shares.gemm,
            memoryEfficiency: shares.memory,
            ...(shares.attention === undefined ? {} : { attentionEfficiency: shares.attention }),
          }),
    },
    inputSource: `one card probed, ${path}${curves === undefined ? '; links of the datasheet' : ''}`,
  };
}

/**
 * The curves of a calibration for predictions of an emulated network. Warns when they were not measured on that
 * emulation: it follows the cluster file, whatever the real links do. Throws `InputError`.
 */
export function loadEmulatedCurves(path: string, cluster: Cluster, console: Console): CollectiveCurves | undefined {
  const { curves } = loadCalibration(path, cluster);
  const probed = readCalibrationFile(path).probes ?? [];
  if (!probed.some(({ system, emulatedTimeScale }) => system === cluster.name && emulatedTimeScale !== null)) {
    console.warn(
      `${path} was not measured on the emulated network of ${cluster.name}, which follows the cluster file: ` +
        'predictions will be of other links than those that run',
    );
  }
  return curves;
}
