/**
 * Dispatch between two hosts on a slow link, measured over MPI: the exchanges of a dispatch half alone, and dispatch and combine of every
 * strategy through the executor. Beside each time stands the bound: the bytes that one host must send, over the rate that plain TCP reaches
 * on the same link in the same job.
 */
import type { Layout, MoeShape, Strategy } from '@monta/core';
import { strategyName } from '@monta/core';
import { measurement, type DispatchJob, type DispatchRankResult } from '../execute/measure-dispatch.js';
import { launchMpi, type MpiLaunchOptions } from '../launch/index.js';
import type { Exchange, TwoHostsJob, TwoHostsRankResult } from './two-hosts-types.js';

export interface TwoHostsOptions {
  /** Of the link, as `scripts/two-hosts` takes it; for the report. */
  readonly rate: string;
  readonly address: string;
  readonly agent: string;
  readonly network: string;
  readonly tp: readonly number[];
  /** V: dispatched bytes of a replica. */
  readonly volumes: readonly number[];
  readonly chunks: readonly number[];
  readonly repetitions: number;
  /** Also dispatch and combine through the executor. */
  readonly executor: boolean;
  readonly signal?: AbortSignal;
}

export interface Ceiling {
  readonly rate: string;
  readonly tp: number;
  /** Bytes a second each way, both ways busy. */
  readonly tcpBytesPerSecond: number;
  readonly mpiBytesPerSecond: number;
}

export interface TwoHostsFigure {
  readonly rate: string;
  readonly tp: number;
  readonly volumeBytes: number;
  /** `exchange`: AllToAll and AllGather of the dispatch half; else a pass of dispatch and combine. */
  readonly part: 'exchange' | 'forward' | 'backward';
  readonly strategy: string;
  readonly chunks: number;
  /** Median, and the fastest and slowest repetition. */
  readonly seconds: number;
  readonly fastest: number;
  readonly slowest: number;
  /** Bytes over the line, the larger of both ways, over the TCP ceiling. */
  readonly boundSeconds: number;
  /** Elements that came out wrong, or, of the executor, the largest error; 0 or rounding when all is well. */
  readonly error: number;
}

const repetitionWarmUps = 2;
const ceilingBytes = 32 << 20;
const hidden = 256;
const topK = 2;
const experts = 8;
/** Row elements lie in [-1, 1): a sum of few float32 products. */
const largestError = 1e-5;

type Hosts = Pick<MpiLaunchOptions, 'hosts' | 'bind' | 'agent' | 'network' | 'ranks' | 'memoryBytes' | 'signal'>;

export async function measureTwoHosts(
  options: TwoHostsOptions,
  onFigures: (ceiling: Ceiling, figures: readonly TwoHostsFigure[]) => void,
): Promise<void> {
  for (const tp of options.tp) {
    const hosts: Hosts = {
      ranks: 2 * tp,
      hosts: ['a', 'b'].map((name) => ({ name, slots: tp })),
      bind: options.address,
      agent: options.agent,
      network: options.network,
      memoryBytes: 64 << 20,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    };
    const { ceiling, figures } = await measureExchanges(options, hosts, tp);
    onFigures(ceiling, figures);
    if (options.executor) onFigures(ceiling, await measureExecutor(options, hosts, ceiling));
  }
}

async function measureExchanges(
  options: TwoHostsOptions,
  hosts: Hosts,
  tp: number,
): Promise<{ ceiling: Ceiling; figures: TwoHostsFigure[] }> {
  const exchanges = options.volumes.flatMap((bytes): Exchange[] => [
    { strategy: 'duplicated', bytes, chunks: 1 },
    ...[1, ...options.chunks].map((chunks): Exchange => ({ strategy: 'sliced', bytes, chunks })),
  ]);
  const workerData: TwoHostsJob = {
    address: options.address,
    ceilingBytes,
    exchanges,
    repetitions: options.repetitions + repetitionWarmUps,
  };
  const results = (await launchMpi({
    ...hosts,
    workerModule: new URL('./two-hosts.worker.ts', import.meta.url),
    workerData,
  })) as TwoHostsRankResult[];
  const [first] = results;
  if (first === undefined) throw new Error('the job returned nothing');
  const ceiling = {
    rate: options.rate,
    tp,
    tcpBytesPerSecond: first.tcpBytesPerSecond,
    mpiBytesPerSecond: first.mpiBytesPerSecond,
  };
  const figures = exchanges.map(({ strategy, bytes, chunks }, index): TwoHostsFigure => {
    const runs = results.map((result) => result.exchanges[index]).filter((run) => run !== undefined);
    const times = Array.from({ length: options.repetitions }, (_, repetition) => {
      const ofRanks = runs.map(({ times: all }) => all[repetition + repetitionWarmUps]).filter((t) => t !== undefined);
      return Math.max(...ofRanks.map(({ end }) => end)) - Math.max(...ofRanks.map(({ start }) => start));
    });
    // Half of every rank's rows go to the other host.
    const lineBytes = strategy === 'duplicated' ? (tp * bytes) / 2 : bytes / 2;
    return {
      rate: options.rate,
      tp,
      volumeBytes: bytes,
      part: 'exchange',
      strategy: strategy === 'sliced' && chunks > 1 ? 'pipelined' : strategy,
      chunks,
      ...spread(times),
      boundSeconds: lineBytes / ceiling.tcpBytesPerSecond,
      error: runs.reduce((sum, { wrong }) => sum + wrong, 0),
    };
  });
  return { ceiling, figures };
}

async function measureExecutor(options: TwoHostsOptions, hosts: Hosts, ceiling: Ceiling): Promise<TwoHostsFigure[]> {
  const { tp } = ceiling;
  const passes = ['forward', 'backward'] as const;
  const jobs = options.volumes.flatMap((bytes) =>
    strategies(options.chunks).map((strategy): DispatchJob => ({
      shape: shapeOf(tp, bytes),
      strategy,
      passes,
      routing: { kind: 'uniform' },
      seed: 1,
      warmUps: repetitionWarmUps,
      repetitions: options.repetitions,
      trace: true,
    })),
  );
  const results = (await launchMpi({
    ...hosts,
    trace: true,
    workerModule: new URL('../execute/dispatch.worker.ts', import.meta.url),
    workerData: jobs,
  })) as DispatchRankResult[][];
  return jobs.flatMap((job, index) => {
    const measured = measurement(
      job,
      results.map((ofRank) => ofRank[index]).filter((result) => result !== undefined),
    );
    return passes.map((part, pass): TwoHostsFigure => {
      // All that goes over the line goes in operations of lane inter; bytes are the same in every repetition.
      const sent = [0, 1].map((host) =>
        measured.spans
          .filter((span) => span.step === 0 && span.node === pass && span.lane === 'inter')
          .filter((span) => Math.floor(span.rank / tp) === host)
          .reduce((sum, span) => sum + span.bytes, 0),
      );
      return {
        rate: ceiling.rate,
        tp,
        volumeBytes: job.shape.topK * job.shape.tokens * hidden * 4,
        part,
        strategy: strategyName(job.strategy),
        chunks: job.strategy.chunks[part],
        ...spread(measured.passSeconds[pass] ?? []),
        boundSeconds: Math.max(...sent) / ceiling.tcpBytesPerSecond,
        error: measured.error <= largestError ? 0 : measured.error,
      };
    });
  });
}

const of = (dispatch: Strategy['dispatch'], combine: Strategy['combine'], chunks: number): Strategy => ({
  dispatch,
  combine,
  chunks: { forward: chunks, backward: chunks },
});

function strategies(chunkCounts: readonly number[]): Strategy[] {
  return [
    of('duplicated', 'duplicated', 1),
    ...[1, ...chunkCounts].flatMap((chunks) => [of('sliced', 'sliced', chunks), of('sliced', 'scattered', chunks)]),
  ];
}

function shapeOf(tp: number, bytes: number): MoeShape {
  const layout: Layout = { tp, cp: 1, dp: 2, pp: 1, etp: tp, ep: 2, edp: 1, sequenceParallel: false };
  return {
    tokens: Math.round(bytes / (topK * hidden * 4)),
    hiddenSize: hidden,
    expertFfn: hidden,
    experts,
    topK,
    layout,
    dtype: 'f32',
  };
}

function spread(times: readonly number[]): Pick<TwoHostsFigure, 'seconds' | 'fastest' | 'slowest'> {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return { seconds: (low + high) / 2, fastest: sorted[0] ?? Number.NaN, slowest: sorted.at(-1) ?? Number.NaN };
}
