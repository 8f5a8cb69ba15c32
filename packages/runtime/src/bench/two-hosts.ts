/**
 * The exchange of a dispatch half between two hosts on a slow link, measured over MPI without kernels: the AllToAll
 * between the hosts and the AllGather inside them. Beside each time stand the bytes that one host must send, and what
 * the same link carries for plain TCP and for one pair over MPI in the same job.
 */
import type { Launcher } from '../launch/index.js';
import type { Exchange, TwoHostsJob, TwoHostsRankResult } from './two-hosts-types.js';
import { maxOf } from '@monta/core/units';

export interface ExchangesRequest {
  readonly launcher: Launcher;
  /** Host a's address on the link. */
  readonly address: string;
  /** Ranks on each host. */
  readonly tp: number;
  readonly exchanges: readonly Exchange[];
  readonly repetitions: number;
  readonly signal?: AbortSignal;
}

/** What the line carries each way while both are busy, bytes/s. */
export interface LineRates {
  readonly tcpBytesPerSecond: number;
  readonly mpiBytesPerSecond: number;
}

export interface ExchangeFigure {
  readonly exchange: Exchange;
  /** Of every repetition, from the last rank's start to the last rank's end. */
  readonly seconds: readonly number[];
  /** Bytes that a host sends to the other one. */
  readonly lineBytes: number;
  /** Elements that came out wrong. */
  readonly wrong: number;
}

const warmUps = 2;
const ceilingBytes = 32 << 20;
const memoryBytes = 64 << 20;

export async function measureExchanges(
  request: ExchangesRequest,
): Promise<{ readonly rates: LineRates; readonly figures: readonly ExchangeFigure[] }> {
  const { launcher, tp, exchanges, repetitions, address, signal } = request;
  const workerData: TwoHostsJob = { address, ceilingBytes, exchanges, repetitions: repetitions + warmUps };
  const results = (await launcher.launch({
    ranks: 2 * tp,
    memoryBytes,
    workerModule: new URL('./two-hosts.worker.ts', import.meta.url),
    workerData,
    ...(signal === undefined ? {} : { signal }),
  })) as TwoHostsRankResult[];
  const [first] = results;
  if (first === undefined) throw new Error('the job returned nothing');
  const { tcpBytesPerSecond, mpiBytesPerSecond } = first;
  const figures = exchanges.map((exchange, index): ExchangeFigure => {
    const runs = results.map((result) => result.exchanges[index]).filter((run) => run !== undefined);
    const seconds = Array.from({ length: repetitions }, (_, repetition) => {
      const ofRanks = runs.map(({ times }) => times[repetition + warmUps]).filter((time) => time !== undefined);
      return maxOf(ofRanks.map(({ end }) => end)) - maxOf(ofRanks.map(({ start }) => start));
    });
    return {
      exchange,
      seconds,
      lineBytes: lineBytes(exchange, tp),
      wrong: runs.reduce((sum, run) => sum + run.wrong, 0),
    };
  });
  return { rates: { tcpBytesPerSecond, mpiBytesPerSecond }, figures };
}

function lineBytes({ strategy, bytes }: Exchange, tp: number): number {
  if (strategy === 'all_gather') return 0;
  // Half of every rank's rows go to the other host.
  return (strategy === 'duplicated' ? tp * bytes : bytes) / 2;
}
