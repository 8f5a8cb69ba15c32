/** Flags and help of `monta cluster`; what it does is in `cluster.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { helpText, jsonFlag, lazy } from './flags.js';

export interface ClusterFlags {
  readonly json: boolean;
  readonly yaml: boolean;
}

export const clusterCommand = buildCommand<ClusterFlags, [name?: string], MontaContext>({
  loader: lazy(async () => (await import('./cluster.js')).runCluster),
  parameters: {
    flags: {
      json: jsonFlag,
      yaml: { kind: 'boolean', brief: 'Print the cluster as a file to start from', default: false, withNegated: false },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: String,
          placeholder: 'name|file',
          brief: 'A known cluster, a pattern like h100-16x8, or a cluster file',
          optional: true,
        },
      ],
    },
  },
  docs: {
    brief: 'List known clusters, show one with its sources, or print it as a file',
    fullDescription: helpText(
      'Shows what the machine is: devices with memory and peak FLOP/s, and the tiers of the network from the ' +
        'inside out with\n' +
        'ports, bandwidth and latency. Without a name it lists the clusters that are known. Every figure cites its ' +
        'source.',
      [
        ['monta cluster', 'all known clusters'],
        ['monta cluster a800-2x8-4nic', '2 nodes of 8 A800 behind 4 NICs each'],
        ['monta cluster h100-16x8', 'any number of nodes, by pattern'],
        ['monta cluster a800-2x8 --yaml > cluster.yaml', 'a file to edit'],
        ['monta cluster cluster.yaml', 'check a file of yours'],
        ['monta cluster b200-2x8 --json', 'for scripts'],
      ],
    ),
  },
});
