/**
 * How fast the simulator is, on a synthetic MoE step: sliced dispatch in chunks on a cluster of nodes, with or without
 * skew.
 */
import type { Cluster } from '../cluster/cluster.js';
import { costModel } from '../cost/index.js';
import type { Layout } from '../layout/layout.js';
import { worldSize } from '../layout/mesh.js';
import { chunkRows } from '../routing/group-routing.js';
import { gatherReceived, scatterReceived, sliceExchange } from '../schedule/dispatchers/exchanges.js';
import { expertRows } from '../schedule/rows.js';
import type { Binding, Operation, Program, Template, Work } from '../schedule/schedule.js';
import { Random } from '../units/index.js';
import { placeOf, simulate } from './simulate.js';
import type { SimulationJob } from './simulate.js';

export interface SimulatorBenchShape {
  readonly nodes: number;
  /** Also the TP degree. */
  readonly devicesPerNode: number;
  readonly layers: number;
  readonly chunks: number;
  /** 0: balanced; s: counts vary evenly between 1-s and 1+s times the mean. */
  readonly skew: number;
}

export interface SimulatorBenchResult extends SimulatorBenchShape {
  /** Operations of all ranks in one run. */
  readonly operations: number;
  readonly events: number;
  /** Of the fastest run. */
  readonly seconds: number;
  readonly operationsPerSecond: number;
}

/** The shapes that are worth watching: one layer, and a whole step. */
export const simulatorBenchShapes: readonly SimulatorBenchShape[] = [
  { nodes: 2, devicesPerNode: 8, layers: 1, chunks: 8, skew: 0 },
  { nodes: 2, devicesPerNode: 8, layers: 1, chunks: 8, skew: 0.5 },
  { nodes: 2, devicesPerNode: 8, layers: 32, chunks: 8, skew: 0.5 },
  { nodes: 8, devicesPerNode: 8, layers: 4, chunks: 4, skew: 0.5 },
];

/**
 * Simulates one shape three times, and on for `atLeastSeconds`: a small one is compiled by then. `now` is a clock in
 * seconds.
 */
export function benchSimulator(
  shape: SimulatorBenchShape,
  now: () => number,
  atLeastSeconds = 0,
): SimulatorBenchResult {
  const job = syntheticJob(shape);
  let seconds = Infinity;
  let operations = 0;
  let events = 0;
  const begin = now();
  for (let run = 0; run < 3 || now() - begin < atLeastSeconds; run++) {
    const start = now();
    const result = simulate(job);
    seconds = Math.min(seconds, now() - start);
    if (!result.known) throw new RangeError(`no price for ${result.missing.join(', ')}`);
    operations = result.trace.spans.length;
    events = result.summary.events;
  }
  return { ...shape, operations, events, seconds, operationsPerSecond: operations / seconds };
}

/** Forward and backward of `layers` equal layers on a made-up cluster. Seeded: equal shapes give equal jobs. */
export function syntheticJob(shape: SimulatorBenchShape): SimulationJob {
  const { nodes, devicesPerNode: tp } = shape;
  const cluster: Cluster = {
    name: 'synthetic',
    device: {
      name: 'synthetic device',
      memoryBytes: 80e9,
      flopsPerSecond: { bf16: 300e12 },
      memoryBytesPerSecond: 2e12,
      multiprocessors: 108,
    },
    tiers: [
      {
        name: 'nvlink',
        size: tp,
        bytesPerSecond: 200e9,
        latencySeconds: 3e-6,
        ports: 1,
        railAligned: false,
        crossRailSlowdown: 1,
      },
      {
        name: 'network',
        size: nodes,
        bytesPerSecond: 25e9,
        latencySeconds: 6e-6,
        ports: Math.ceil(tp / 2),
        railAligned: true,
        crossRailSlowdown: 2,
      },
    ],
    sources: ['synthetic'],
  };
  const layout: Layout = { tp, cp: 1, dp: nodes, pp: 1, ep: nodes, etp: tp, edp: 1, sequenceParallel: false };
  return {
    place: placeOf(layout, cluster),
    programs: [syntheticProgram(shape)],
    bindings: [skewedBinding(shape, worldSize(layout))],
    model: costModel(cluster.device),
  };
}

const columns = 4096;
const rowsPerPeer = 2048;

function syntheticProgram({ layers, chunks }: SimulatorBenchShape): Program {
  const forward = syntheticTemplate('forward', chunks);
  const backward = syntheticTemplate('backward', chunks);
  const nodes = Array.from({ length: 2 * layers }, (_, index) => ({
    template: index < layers ? 'forward' : 'backward',
    layer: index < layers ? index : 2 * layers - 1 - index,
    microBatch: 0,
    pass: index < layers ? ('forward' as const) : ('backward' as const),
    after: index === 0 ? [] : [index - 1],
  }));
  return { stage: 0, templates: { forward, backward }, nodes };
}

/** Per chunk: dispatch, gather, experts, scatter, combine; before and after them dense kernels. */
function syntheticTemplate(name: string, chunks: number): Template {
  const rows = { rule: expertRows, expected: rowsPerPeer, max: 64 * rowsPerPeer } as const;
  const operations: Operation[] = [
    kernel({ task: 'attention', flopsPerRow: 1e8, after: [] }),
    kernel({ task: 'router', flopsPerRow: 1e6, after: ['attention'] }),
  ];
  const exchange = ({
    task,
    chunk,
    lane,
    collective,
    after,
  }: {
    readonly task: string;
    readonly chunk: number;
    readonly lane: 'inter' | 'intra';
    readonly collective: 'all_to_all' | 'all_gather' | 'reduce_scatter';
    readonly after: string;
  }): void => {
    const use = { region: 'rows', chunk, of: chunks };
    const counts =
      collective === 'all_to_all' ? sliceExchange : collective === 'all_gather' ? gatherReceived : scatterReceived;
    const group = collective === 'all_to_all' ? 'ep' : 'etp';
    operations.push({
      id: `${task}.${chunk}`,
      task,
      chunk,
      of: chunks,
      lane,
      body: { kind: 'collective', name: collective, group, counts },
      uses: [
        { ...use, role: 'from', mode: 'read' },
        { ...use, role: 'to', mode: 'write' },
      ],
      after: [after],
      priority: 0,
    });
  };
  // stage by stage, so that no chunk stands in a queue behind a later stage of the chunk before
  const each = (step: (chunk: number) => void): void => {
    for (let chunk = 0; chunk < chunks; chunk++) step(chunk);
  };
  each((c) => operations.push(kernel({ task: 'pack', flopsPerRow: 0, after: ['router'], chunk: c, of: chunks })));
  each((c) => {
    exchange({ task: 'dispatch', chunk: c, lane: 'inter', collective: 'all_to_all', after: `pack.${c}` });
    exchange({ task: 'gather', chunk: c, lane: 'intra', collective: 'all_gather', after: `dispatch.${c}` });
  });
  each((c) => {
    operations.push(kernel({ task: 'experts', flopsPerRow: 3e7, after: [`gather.${c}`], chunk: c, of: chunks }));
    exchange({ task: 'scatter', chunk: c, lane: 'intra', collective: 'reduce_scatter', after: `experts.${c}` });
    exchange({ task: 'combine', chunk: c, lane: 'inter', collective: 'all_to_all', after: `scatter.${c}` });
  });
  each((c) =>
    operations.push(kernel({ task: 'unpack', flopsPerRow: 0, after: [`combine.${c}`], chunk: c, of: chunks })),
  );
  operations.push(kernel({ task: 'sum', flopsPerRow: 0, after: [`unpack.${chunks - 1}`] }));
  const region = { id: 'rows', dtype: 'bf16', rows, columns, order: 'chunks', life: 'layer' } as const;
  return { name, input: 'sequence', output: 'sequence', regions: [region], operations };
}

/** The work of a task, or with a chunk given of a piece of it. */
function kernel({
  task,
  flopsPerRow,
  after,
  chunk,
  of = 1,
}: {
  readonly task: string;
  readonly flopsPerRow: number;
  readonly after: readonly string[];
  readonly chunk?: number;
  readonly of?: number;
}): Operation {
  const work: Work = {
    kind: flopsPerRow > 0 ? 'gemm' : 'memory',
    rows: rowsPerPeer,
    chunk: chunk ?? 0,
    of,
    flopsPerRow,
    bytesPerRow: 4 * columns,
    fixedBytes: 0,
    parts:
      flopsPerRow > 0
        ? [{ kind: 'product', columns, depth: flopsPerRow / (2 * columns) }]
        : [{ kind: 'gather', bytesPerRow: 4 * columns }],
  };
  return {
    id: chunk === undefined ? task : `${task}.${chunk}`,
    task,
    chunk: chunk ?? 0,
    of,
    lane: 'compute',
    body: { kind: 'kernel', name: task, arguments: {}, work },
    uses: [],
    after,
    priority: 0,
  };
}

/** Exchange sizes drawn once; consistent in that what i sends to j is one number. */
function skewedBinding({ nodes, devicesPerNode, skew }: SimulatorBenchShape, ranks: number): Binding {
  const random = new Random(7);
  const draw = (): number => Math.round(rowsPerPeer * (1 + skew * (2 * random.uniform() - 1)));
  const pairs = Array.from({ length: ranks * nodes }, draw);
  const own = Array.from({ length: ranks }, draw);
  return {
    counts: (exchange, rank, _node, { chunk, of }) => {
      const group = exchange === sliceExchange ? nodes : devicesPerNode;
      const send = Int32Array.from({ length: group }, (_, j) =>
        chunkRows((group === nodes ? pairs[rank * nodes + j] : own[rank]) ?? 0, chunk, of),
      );
      const receive = Int32Array.from({ length: group }, () => chunkRows(own[rank] ?? 0, chunk, of));
      return { send, receive };
    },
    rows: (_symbol, rank, _node, { chunk, of }) => chunkRows(own[rank] ?? 0, chunk, of),
  };
}
