/**
 * What an exchange of a dispatch half takes between two nodes, without kernels: the ceiling of what slicing can gain is
 * `duplicated` over the bare AllToAll of the slice.
 */
import { maxOf, median } from '@monta/core/units';
import type { Launcher } from '../../launch/index.js';
import type { ExchangeTime } from '../exchange.js';
import type { Exchange } from '../two-hosts-types.js';

export type ExchangeWay = Omit<Exchange, 'bytes'>;

export interface ExchangesJob {
  /** Bytes of a replica's dispatched rows. */
  readonly volumes: readonly number[];
  readonly ways: readonly ExchangeWay[];
  readonly turns: number;
  /** No new volume is begun after so many. */
  readonly seconds: number;
}

/** What a rank tells of one volume. */
export interface RankExchanges {
  readonly place: number;
  readonly wrong: number;
  readonly times: readonly (readonly ExchangeTime[])[];
}

export interface ExchangeTimes extends ExchangeWay {
  /** Of every turn, from the last rank's start to the last rank's end. */
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
}

export interface VolumeExchanges {
  readonly bytes: number;
  /** Elements that came out wrong, of all ranks and ways. */
  readonly wrong: number;
  readonly ways: readonly ExchangeTimes[];
}

/** `duplicated`, the bare AllToAll of the slice, and the sliced exchange in every chunk count. */
export const exchangeWays = (chunkCounts: readonly number[]): ExchangeWay[] => [
  { strategy: 'duplicated', chunks: 1 },
  { strategy: 'all_to_all', chunks: 1 },
  ...chunkCounts.map((chunks): ExchangeWay => ({ strategy: 'sliced', chunks })),
];

/** Runs the exchanges; what is measured is told volume by volume. */
export async function measureNodeExchanges({
  launcher,
  tp,
  job,
  onVolume,
}: {
  readonly launcher: Launcher;
  /** Ranks of a node; there are two nodes. */
  readonly tp: number;
  readonly job: ExchangesJob;
  readonly onVolume: (one: VolumeExchanges) => void;
}): Promise<void> {
  const ranks = 2 * tp;
  const heard = job.volumes.map((): RankExchanges[] => []);
  await launcher.launch({
    ranks,
    memoryBytes: 16 * maxOf(job.volumes),
    workerModule: new URL('./exchanges.worker.ts', import.meta.url),
    workerData: job,
    onMessage: (_, message) => {
      const one = message as RankExchanges;
      const ofRanks = heard[one.place];
      ofRanks.push(one);
      if (ofRanks.length === ranks) onVolume(together(job, ofRanks));
    },
  });
}

function together({ volumes, ways, turns }: ExchangesJob, ranks: readonly RankExchanges[]): VolumeExchanges {
  return {
    bytes: volumes[ranks[0].place],
    wrong: ranks.reduce((sum, { wrong }) => sum + wrong, 0),
    ways: ways.map((way, index) => {
      const seconds = Array.from({ length: turns }, (_, turn) => {
        const times = ranks.map((rank) => rank.times[index][turn]);
        return maxOf(times.map(({ end }) => end)) - maxOf(times.map(({ start }) => start));
      });
      return { ...way, seconds, medianSeconds: median(seconds) };
    }),
  };
}
