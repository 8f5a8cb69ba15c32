/** `monta cluster`: lists the known clusters, or shows one. */
import type { Cluster, TierGround } from '@monta/core';
import { formatBandwidth, formatBytes, formatFlops, formatInteger, formatSeconds, InputError } from '@monta/core/units';
import { clusterPresets, deviceCount, topologyCluster, toYaml } from '@monta/core/cluster';
import { groundsOf } from '@monta/core/cost';
import type { MontaContext } from '../context.js';
import { loadCluster, loadTopology, readCalibrationFile } from '../inputs.js';
import { renderFacts, renderTable } from '../output/table.js';
import type { Console } from '../output/console.js';
import type { ClusterFlags } from './cluster.flags.js';
import { printTopology } from './cluster-topology.js';

/** Devices in a unit of every tier, from the inside out: `8 x 2`. */
const shapeOf = (cluster: Cluster) => cluster.tiers.map((tier) => tier.size).join(' x ');

function list(console: Console): void {
  const rows = [...clusterPresets.values()].map((cluster) => {
    const outer = cluster.tiers.length > 1 ? cluster.tiers.at(-1) : undefined;
    return [
      cluster.name,
      shapeOf(cluster),
      cluster.device.name,
      formatBytes(cluster.device.memoryBytes, 'binary'),
      formatFlops(cluster.device.flopsPerSecond.bf16),
      formatBandwidth(cluster.tiers[0]?.bytesPerSecond ?? 0),
      outer === undefined ? '–' : `${outer.ports} x ${formatBandwidth(outer.bytesPerSecond)}`,
    ];
  });
  console.print(
    renderTable(
      [
        { header: 'cluster' },
        { header: 'devices' },
        { header: 'device' },
        { header: 'memory', align: 'number' },
        { header: 'bf16 peak', align: 'number' },
        { header: 'inside a node', align: 'number' },
        { header: 'out of a node' },
      ],
      rows,
      { style: console.style },
    ),
  );
  console.print('\nBandwidths are per port and direction. Others by pattern: h100-16x8, a800-4x8-1nic.');
  console.print('monta cluster <name> shows the tiers and the sources of every figure.');
}

function show(console: Console, cluster: Cluster, grounds: readonly TierGround[]): void {
  const { device } = cluster;
  const count = deviceCount(cluster);
  const { bf16, f32, fp8 } = device.flopsPerSecond;
  const peaks = [
    `bf16 ${formatFlops(bf16)}`,
    ...(f32 === undefined ? [] : [`f32 ${formatFlops(f32)}`]),
    ...(fp8 === undefined ? [] : [`fp8 ${formatFlops(fp8)}`]),
  ];
  console.print(`${console.style.bold(cluster.name)} · ${formatInteger(count)} x ${device.name}\n`);
  console.print(
    renderFacts(
      [
        ['Device', `${formatBytes(device.memoryBytes, 'binary')} at ${formatBandwidth(device.memoryBytesPerSecond)}`],
        ['Peak', `${peaks.join(', ')} (dense)`],
        ...(device.multiprocessors === undefined ? [] : [['SMs', formatInteger(device.multiprocessors)] as const]),
      ],
      console.style,
    ),
  );
  showTiers(console, cluster, grounds);
  console.print(
    '\nPorts are those of one device (first tier) or of one unit of the tier below; bandwidth is one direction.',
  );
  if (cluster.sources.length > 0) {
    console.print(`\n${console.style.bold('Sources')}`);
    for (const source of cluster.sources) console.print(`  ${source}`);
  }
}

function showTiers(console: Console, { tiers }: Cluster, grounds: readonly TierGround[]): void {
  let below = 1;
  const rows = tiers.map((tier, index) => {
    const unitBytesPerSecond = (tier.bytesPerSecond * tier.ports) / below;
    const row = [
      tier.name,
      `${tier.size} ${index === 0 ? 'devices' : `of ${tiers[index - 1]?.name ?? ''}`}`,
      String(tier.ports),
      formatBandwidth(tier.bytesPerSecond),
      formatBandwidth(unitBytesPerSecond),
      formatSeconds(tier.latencySeconds),
      tier.railAligned ? `rails, across ÷ ${tier.crossRailSlowdown}` : '–',
      ...(grounds.length === 0 ? [] : [grounds[index]?.ground ?? '–']),
    ];
    below *= tier.size;
    return row;
  });
  console.print();
  console.print(
    renderTable(
      [
        { header: 'tier' },
        { header: 'joins' },
        { header: 'ports', align: 'number' },
        { header: 'per port', align: 'number' },
        { header: 'per device', align: 'number' },
        { header: 'latency', align: 'number' },
        { header: 'rails' },
        ...(grounds.length === 0 ? [] : [{ header: 'bandwidth is' }]),
      ],
      rows,
      { style: console.style },
    ),
  );
}

/** The cluster that was asked for, with its topology where a file describes one. */
function read(flags: ClusterFlags, name: string) {
  const topology = loadTopology(name);
  if (topology === undefined) {
    for (const [key, flag] of [
      ['nodes', 'nodes'],
      ['gpu', 'gpu'],
      ['nvlinkDomain', 'nvlink-domain'],
    ] as const) {
      if (flags[key] !== undefined)
        throw new InputError(`--${flag} without a topology`, {
          expected: 'the output of nvidia-smi topo -m, or an XML topology of NCCL or hwloc',
          hint: 'counts of known clusters are part of their names: h100-16x8',
        });
    }
    return { cluster: loadCluster(name), topology, grounds: [], notes: [] };
  }
  const made = topologyCluster(topology, {
    ...(flags.nodes === undefined ? {} : { nodes: flags.nodes }),
    ...(flags.gpu === undefined ? {} : { gpu: flags.gpu }),
    ...(flags.nvlinkDomain === undefined ? {} : { domain: flags.nvlinkDomain }),
  });
  return { ...made, topology };
}

/** Runs the command. Throws `InputError` for an unknown name or a bad file. */
export function runCluster({ console }: MontaContext, flags: ClusterFlags, name?: string): void {
  if (flags.json && flags.yaml) throw new InputError('--json and --yaml exclude each other', { hint: 'choose one' });
  if (name === undefined) {
    if (flags.yaml) throw new InputError('--yaml needs a cluster', { hint: 'like monta cluster a800-2x8 --yaml' });
    if (flags.json) console.json([...clusterPresets.values()].map(describe));
    else list(console);
    return;
  }
  const { cluster, topology, grounds: written, notes } = read(flags, name);
  const calibration = flags.calibration === undefined ? undefined : readCalibrationFile(flags.calibration);
  const grounds = groundsOf({ cluster, written, calibration, calibrationFile: flags.calibration ?? '' });
  if (flags.yaml) console.write(toYaml(cluster));
  else if (flags.json)
    console.json({
      ...describe(cluster),
      ...(grounds.length === 0 ? {} : { grounds }),
      ...(topology === undefined ? {} : { topology, notes }),
    });
  else {
    show(console, cluster, grounds);
    if (topology !== undefined) printTopology(console, topology);
    for (const { tier, ground, because } of grounds) console.print(`  ${tier}: ${ground}: ${because}`);
  }
  if (!flags.json) for (const note of notes) console.warn(note);
}

/** The JSON of a cluster: the fields of `Cluster`, and how many devices it has. */
const describe = (cluster: Cluster) => ({ ...cluster, devices: deviceCount(cluster) });
