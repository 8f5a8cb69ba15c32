/** What the bandwidth of each tier rests on, and the wiring of a node, as text. */
import { gpuKey, nearestNics, type Calibration, type Cluster, type TierGround, type Topology } from '@monta/core';
import type { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';

/**
 * Grounds of the tiers: those of a topology, and `measured` where a calibration has curves of this device inside a node
 * (innermost tier) or across nodes (the others). Empty where neither is there.
 */
export function groundsOf({
  cluster,
  written,
  calibration,
  calibrationFile,
}: {
  readonly cluster: Cluster;
  readonly written: readonly TierGround[];
  readonly calibration: Calibration | undefined;
  readonly calibrationFile: string;
}): TierGround[] {
  if (calibration === undefined) return [...written];
  return cluster.tiers.map(({ name }, index) => {
    const series = calibration.series.filter(
      ({ gpu, nodes }) => gpuKey(gpu) === gpuKey(cluster.device.name) && (nodes ?? 1) > 1 === index > 0,
    );
    const operations = [...new Set(series.map(({ op }) => op))].sort();
    if (operations.length > 0)
      return { tier: name, ground: 'measured', because: `${operations.join(', ')} in ${calibrationFile}` };
    return (
      written[index] ?? {
        tier: name,
        ground: 'given',
        because: `${calibrationFile} has no curve of it: the figures of the cluster, with their sources`,
      }
    );
  });
}

/** Prints which NICs are next to which GPU. */
export function printTopology(console: Console, topology: Topology): void {
  const rows = topology.gpus.map((gpu, index) => {
    const near = nearestNics(topology, index);
    const [first] = near;
    return [
      gpu.name,
      gpu.model ?? '–',
      gpu.numa === undefined ? '–' : String(gpu.numa),
      near.map((nic) => topology.nics[nic]?.name ?? '').join(' '),
      first === undefined ? '–' : (topology.proximity[index]?.[first] ?? '–'),
    ];
  });
  console.print(`\n${console.style.bold(topology.form)}`);
  console.print(
    renderTable(
      [
        { header: 'GPU' },
        { header: 'model' },
        { header: 'NUMA', align: 'number' },
        { header: 'nearest NICs' },
        { header: 'by' },
      ],
      rows,
      { style: console.style },
    ),
  );
  console.print();
}
