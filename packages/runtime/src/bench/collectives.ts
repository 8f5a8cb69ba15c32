/** How fast the local backend moves bytes, beside a plain copy of as many bytes by one thread. */
import { median } from '@monta/core/units';
import { builtModule } from '../launch/built-module.js';
import { launchLocal } from '../launch/launch-local.js';

const measuredCollectives = ['all_to_all', 'all_gather', 'reduce_scatter', 'all_reduce'] as const;
export type MeasuredCollective = (typeof measuredCollectives)[number];

export interface CollectiveFigure {
  readonly collective: MeasuredCollective;
  readonly ranks: number;
  /**
   * Bytes of all ranks' larger buffers together: what all_to_all and all_gather write, what reduce_scatter and
   * all_reduce read.
   */
  readonly bytes: number;
  /** Median of the rounds, from one operation's end to the next one's, as rank 0 sees it. */
  readonly seconds: number;
  readonly bytesPerSecond: number;
  /** Median time in which one thread copies `bytes` between two shared buffers. */
  readonly copySeconds: number;
}

export interface BarrierFigure {
  readonly ranks: number;
  readonly seconds: number;
}

export interface CollectiveBenchOptions {
  readonly ranks: readonly number[];
  /** The larger buffer of each rank. */
  readonly bytesPerRank: number;
  readonly rounds: number;
}

/** In a dozen rounds the engine has not compiled yet what runs in each. */
export const defaultCollectiveBench: CollectiveBenchOptions = { ranks: [2, 4, 8], bytesPerRank: 4 << 20, rounds: 101 };

/** What the ranks are told, and what each returns: the seconds of every round. */
export interface CollectiveBenchData {
  readonly bytesPerRank: number;
  readonly rounds: number;
}
export interface CollectiveBenchResult {
  readonly collectives: Readonly<Record<MeasuredCollective, readonly number[]>>;
  readonly barrier: readonly number[];
}

/** Measures every collective for every number of ranks, at memory speed; takes seconds. */
export async function measureCollectives(
  options: CollectiveBenchOptions = defaultCollectiveBench,
): Promise<{ collectives: CollectiveFigure[]; barriers: BarrierFigure[] }> {
  const collectives: CollectiveFigure[] = [];
  const barriers: BarrierFigure[] = [];
  for (const ranks of options.ranks) {
    // Blocks of whole elements, aligned, for any number of ranks.
    const bytesPerRank = Math.ceil(options.bytesPerRank / (64 * ranks)) * 64 * ranks;
    const workerData: CollectiveBenchData = { bytesPerRank, rounds: options.rounds };
    const results = await launchLocal({
      ranks,
      memoryBytes: 2 * bytesPerRank + 4096,
      workerModule: builtModule('./collectives.worker.js', import.meta.url),
      workerData,
    });
    const [first] = results as CollectiveBenchResult[];
    const bytes = ranks * bytesPerRank;
    const copySeconds = measureCopy(bytes, bytesPerRank, options.rounds);
    for (const collective of measuredCollectives) {
      const seconds = median(first.collectives[collective]);
      collectives.push({ collective, ranks, bytes, seconds, bytesPerSecond: bytes / seconds, copySeconds });
    }
    barriers.push({ ranks, seconds: median(first.barrier) });
  }
  return { collectives, barriers };
}

/** Copies `bytes` in pieces of `piece` between shared buffers, as the ranks' memories are. */
function measureCopy(bytes: number, piece: number, rounds: number): number {
  const source = new Uint8Array(new SharedArrayBuffer(bytes)).fill(1);
  const target = new Uint8Array(new SharedArrayBuffer(bytes)).fill(2);
  const seconds: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const start = process.hrtime.bigint();
    for (let at = 0; at < bytes; at += piece) target.set(source.subarray(at, at + piece), at);
    seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
  }
  return median(seconds.slice(1));
}
