/** Flags and help of `monta cluster`; what it does is in `cluster.ts`, loaded when it runs. */
import { countUpTo, limits } from '@monta/core/units';
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import type { ClusterFlags } from './cluster.flags.js';

export const clusterCommand = buildCommand<ClusterFlags, [name?: string], MontaContext>({
  loader: lazy(async () => (await import('./cluster.js')).runCluster),
  parameters: {
    flags: {
      json: jsonFlag,
      yaml: { kind: 'boolean', brief: 'Print the cluster as a file to start from', default: false, withNegated: false },
      nodes: {
        kind: 'parsed',
        parse: countUpTo(limits.ranks),
        placeholder: 'N',
        brief: 'Of a topology: how many such nodes there are (default: 1)',
        optional: true,
      },
      gpu: {
        kind: 'parsed',
        parse: String,
        placeholder: 'h100',
        brief: 'Of a topology that does not say it: the GPU',
        optional: true,
      },
      nvlinkDomain: {
        kind: 'parsed',
        parse: countUpTo(limits.ranks),
        placeholder: '72',
        brief: 'Of the topology of a tray: GPUs that NVLink joins over several trays (of --nodes)',
        optional: true,
      },
      calibration: {
        kind: 'parsed',
        parse: String,
        placeholder: 'calibration.json',
        brief: 'Say of every tier whether it is measured there',
        optional: true,
      },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          placeholder: 'name|file',
          brief: 'A known cluster, a pattern like h100-16x8, a cluster file, or the topology of a node',
          optional: true,
        },
      ],
    },
  },
  docs: {
    brief: briefs.cluster,
    fullDescription: helpText(
      'Shows what the machine is: devices with memory and peak FLOP/s, and the tiers of the network from the ' +
        'inside out with\n' +
        'ports, bandwidth and latency. Without a name it lists the clusters that are known. Every figure cites its ' +
        'source.\n' +
        "Of a node's topology (nvidia-smi topo -m, NCCL's XML, hwloc's XML) it makes a cluster, and says of " +
        'every\ntier whether its bandwidth is measured (by a calibration), given by the file, or guessed.',
      [
        ['monta cluster', 'all known clusters'],
        ['monta cluster a800-2x8-4nic', '2 nodes of 8 A800 behind 4 NICs each'],
        ['monta cluster h100-16x8', 'any number of nodes, by pattern'],
        ['monta cluster a800-2x8 --yaml > cluster.yaml', 'a file to edit'],
        ['monta cluster cluster.yaml', 'check a file of yours'],
        ['monta cluster topo.xml --nodes 4 --gpu h100 --yaml > cluster.yaml', 'from the topology of a node'],
        ['monta cluster tray.txt --gpu gb200 --nodes 18 --nvlink-domain 72', '18 trays of a rack'],
        ['monta cluster b200-2x8 --json', 'for scripts'],
      ],
    ),
  },
});
