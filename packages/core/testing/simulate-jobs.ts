/** Small programs for tests: sizes are chosen so that times are round numbers. Not exported from core. */
import type { Cluster } from '#core/cluster/cluster.js';
import { costModel } from '#core/cost/index.js';
import type { CostInputs, CostModel } from '#core/cost/index.js';
import type { Group } from '#core/layout/layout.js';
import { fabricOf } from '#core/traffic/index.js';
import type {
  Binding,
  CollectiveName,
  Lane,
  Operation,
  Program,
  ProgramNode,
  Region,
  Template,
} from '#core/schedule/schedule.js';
import type { Place } from '#core/simulate/simulate.js';

/** One row of the test region is this many bytes. */
export const rowBytes = 2;

/** Bandwidths of 1 byte/s make bytes and seconds the same number. */
export function testCluster(
  nodes: number,
  perNode: number,
  options: {
    intra?: number;
    inter?: number;
    ports?: number;
    intraLatency?: number;
    interLatency?: number;
    multiprocessors?: number;
  } = {},
): Cluster {
  return {
    name: 'test',
    device: {
      name: 'test device',
      memoryBytes: 1,
      flopsPerSecond: { bf16: 1 },
      memoryBytesPerSecond: 1,
      multiprocessors: options.multiprocessors,
    },
    tiers: [
      {
        name: 'inside',
        size: perNode,
        bytesPerSecond: options.intra ?? 1,
        latencySeconds: options.intraLatency ?? 0,
        ports: 1,
        railAligned: false,
        crossRailSlowdown: 1,
      },
      {
        name: 'network',
        size: nodes,
        bytesPerSecond: options.inter ?? 1,
        latencySeconds: options.interLatency ?? 0,
        ports: options.ports ?? perNode,
        railAligned: false,
        crossRailSlowdown: 1,
      },
    ],
    sources: ['test'],
  };
}

/** Everything that would blur round numbers is off; a kernel's FLOPs are its seconds. */
export function testModel(cluster: Cluster, inputs: Partial<CostInputs> = {}): CostModel {
  return costModel(cluster.device, {
    inputs: {
      gemmEfficiency: 1,
      attentionEfficiency: 1,
      memoryEfficiency: 1,
      kernelOverheadSeconds: 0,
      hostOverheadSeconds: 0,
      hostRunsKernels: false,
      collectiveOverheadSeconds: 0,
      multiprocessorsPerCollective: 0,
      algorithm: 'direct',
      ...inputs,
    },
  });
}

export function region(id: string, rows: number): Region {
  return { id, dtype: 'bf16', rows, columns: 1, order: 'rows', life: 'layer' };
}

export function kernel(
  id: string,
  seconds: number,
  after: readonly string[] = [],
  lane: Lane = 'compute',
  name = 'gemm',
): Operation {
  const work = {
    kind: 'gemm',
    rows: 1,
    chunk: 0,
    of: 1,
    flopsPerRow: seconds,
    bytesPerRow: 0,
    fixedBytes: 0,
    parts: [],
  } as const;
  const body = { kind: 'kernel', name, arguments: {}, work } as const;
  return { id, task: id, chunk: 0, of: 1, lane, body, uses: [], after, priority: 0 };
}

export function collective(
  id: string,
  lane: Lane,
  name: CollectiveName,
  group: Group,
  regionId: string,
  options: { after?: readonly string[]; chunk?: number; of?: number; priority?: number } = {},
): Operation {
  const { after = [], chunk = 0, of = 1, priority = 0 } = options;
  const uses = [
    { role: 'from', region: regionId, chunk, of, mode: 'read' },
    { role: 'to', region: regionId, chunk, of, mode: 'write' },
  ] as const;
  const body = { kind: 'collective', name, group } as const;
  return { id, task: id, chunk: 0, of: 1, lane, body, uses, after, priority };
}

export function template(name: string, regions: readonly Region[], operations: readonly Operation[]): Template {
  return { name, input: 'replicated', output: 'replicated', regions, operations };
}

export function programOf(templates: readonly Template[], nodes?: readonly ProgramNode[]): Program {
  const list = nodes ?? templates.map((each, index) => nodeOf(each.name, index === 0 ? [] : [index - 1]));
  return { stage: 0, templates: Object.fromEntries(templates.map((each) => [each.name, each])), nodes: list };
}

export function nodeOf(
  name: string,
  after: readonly number[] = [],
  pass: ProgramNode['pass'] = 'forward',
  layer = 0,
): ProgramNode {
  return { template: name, layer, microBatch: 0, pass, after };
}

/** For programs whose sizes are all numbers. */
export const noBinding: Binding = {
  counts: ({ name }) => {
    throw new RangeError(`no counts for ${name}`);
  },
  rows: ({ name }) => {
    throw new RangeError(`no rows for ${name}`);
  },
};

/** Ranks of a cluster in one stage: tp groups are nodes, ep groups are ranks of the same place on all nodes. */
export function testPlace(cluster: Cluster): Place {
  const fabric = fabricOf(cluster);
  const perNode = cluster.tiers[0]?.size ?? 1;
  const nodes = fabric.ranks / perNode;
  const groups = (group: Group, rank: number): number[] => {
    const node = Math.floor(rank / perNode);
    if (group === 'tp' || group === 'etp') return Array.from({ length: perNode }, (_, i) => node * perNode + i);
    if (group === 'ep') return Array.from({ length: nodes }, (_, i) => i * perNode + (rank % perNode));
    return Array.from({ length: fabric.ranks }, (_, i) => i);
  };
  return { ranks: fabric.ranks, stageOf: () => 0, groups, fabric };
}
