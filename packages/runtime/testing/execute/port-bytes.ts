/** Dispatches over MPI: what is wrong in their rows, and the bytes of every port, of their messages and predicted. */
import {
  dispatchProgram,
  exchangesPicks,
  getCluster,
  GroupRouting,
  halvesName,
  placedOn,
  RoutingBinding,
  traffic,
  unsupportedStrategy,
  worldSize,
  type Layout,
  type Strategy,
} from '@monta/core';
import { route } from '@monta/core/cluster';
import type { DispatchJob, DispatchRankResult } from '#runtime/execute/measure-dispatch.js';
import { groupPicks } from '#runtime/execute/sample-picks.js';
import { launchMpi } from '#runtime/launch/index.js';
import { dispatchJob, dispatchShape } from './dispatch-jobs.js';
import { layoutOf, strategyOf } from './rank-cases.js';

type Halves = Pick<Strategy, 'dispatch' | 'combine'>;

/** Nodes of the ranks, and the layout. */
export type Place = readonly [cluster: string, layout: Partial<Layout>];

/** 16 ranks on four nodes. */
export const everyPlace: readonly Place[] = [
  ['laptop-4x4', { tp: 4, dp: 4, ep: 4 }],
  ['laptop-4x4', { tp: 2, dp: 8, ep: 16, etp: 1, sequenceParallel: true }],
];

export interface PortBytes {
  readonly layout: Layout;
  readonly halves: string;
  readonly payload: 'f32' | 'fp8';
  /** Of every rank and pass: the largest difference of a row from its closed form. */
  readonly errors: readonly number[];
  /** Bytes by port: of the messages that ranks sent, and as predicted. */
  readonly carried: Float64Array;
  readonly predicted: Float64Array;
}

/** Rows so wide that sums of them are exchanged in blocks, as large ones are. */
const shapeOf = (layout: Layout) => dispatchShape(layout, { hiddenSize: 192, experts: 16 });

const jobsOf = (layout: Layout, halves: readonly Halves[]): DispatchJob[] =>
  halves
    .map(({ dispatch, combine }, i) => dispatchJob(shapeOf(layout), strategyOf(dispatch, combine, 1 + (i % 2), 1)))
    .flatMap((job) => [job, { ...job, shape: { ...job.shape, payload: 'fp8' as const } }])
    .filter(({ shape, strategy }) => unsupportedStrategy(strategy, shape) === undefined);

/** The routing of every expert group, as the ranks draw it. */
export function routed({ shape, routing, seed, strategy }: DispatchJob): RoutingBinding {
  const cut = exchangesPicks(strategy) ? 'tokens' : 'rows';
  return new RoutingBinding(shape.layout, (rank) => {
    const ofGroup = groupPicks(shape, routing, seed, rank).map(({ ids }) => ({ ids, topK: shape.topK }));
    return GroupRouting.fromPicks(shape, ofGroup, { cut });
  });
}

/** Forward and backward of pairs of halves, f32 and fp8, on processes over MPI. */
export async function bytesOverMpi([name, part]: Place, halves: readonly Halves[]): Promise<PortBytes[]> {
  const cluster = getCluster(name);
  const layout = placedOn(layoutOf(part), cluster);
  const jobs = jobsOf(layout, halves);
  const results = (await launchMpi({
    ranks: worldSize(layout),
    memoryBytes: 8 << 20,
    workerModule: new URL('../../dist/execute/dispatch.worker.js', import.meta.url),
    workerData: jobs,
  })) as DispatchRankResult[][];
  return jobs.map((job, index): PortBytes => {
    const ofRanks = results.map((ofRank) => ofRank[index]);
    const program = dispatchProgram(job.shape, job.strategy, job.passes);
    const { ports } = traffic({ program, layout, cluster, binding: routed(job) });
    const carried = new Float64Array(ports.length);
    ofRanks.forEach((one, from) =>
      one?.sentBytes?.forEach((bytes, to) => {
        const way = route(cluster, from, to);
        for (const port of [...way.egress, ...way.ingress]) carried[port] = (carried[port] ?? 0) + bytes;
      }),
    );
    return {
      layout,
      halves: halvesName(job.strategy),
      payload: job.shape.payload ?? 'f32',
      errors: ofRanks.flatMap((one) => one?.repetitions.flat() ?? []).map(({ error = Number.NaN }) => error),
      carried,
      predicted: Float64Array.from(ports),
    };
  });
}
