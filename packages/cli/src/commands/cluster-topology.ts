/** The wiring of a node, as text. */
import type { Topology } from '@monta/core';
import { nearestNics } from '@monta/core/cluster';
import type { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';

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
