/**
 * Closed forms for chunked work: the first guess that the simulator then checks. Source of the uniform formula: FSMoE
 * (arXiv 2501.10714), Tutel and PipeMoE use the same one; the optimum is its derivative.
 */

/** A stage's time for n chunks: n latencies and the volume once. */
export interface StageCost {
  /** Paid by every chunk, seconds. */
  readonly latencySeconds: number;
  /** Of the whole volume, seconds. */
  readonly volumeSeconds: number;
}

/**
 * Time of n equal chunks through stages in a row, each stage serving one chunk at a time:
 * the sum of the stages plus (n-1) times the slowest. `stageSeconds` are times of one chunk.
 */
export function pipelineSeconds(stageSeconds: readonly number[], chunks: number): number {
  requireChunks(chunks);
  let sum = 0;
  let slowest = 0;
  for (const seconds of stageSeconds) {
    sum += seconds;
    slowest = Math.max(slowest, seconds);
  }
  return sum + (chunks - 1) * slowest;
}

/**
 * The same for unequal chunks: `chunkSeconds[c][s]` is what chunk c takes in stage s. Chunk c enters stage s when it
 * has left stage s-1 and chunk c-1 has left stage s (the recurrence of a permutation flow shop).
 */
export function unevenPipelineSeconds(chunkSeconds: readonly (readonly number[])[]): number {
  const free: number[] = [];
  let end = 0;
  for (const chunk of chunkSeconds) {
    let left = 0;
    chunk.forEach((seconds, stage) => {
      left = Math.max(left, free[stage] ?? 0) + seconds;
      free[stage] = left;
    });
    end = Math.max(end, left);
  }
  return end;
}

/** Time of `chunks` equal chunks of stages with a latency per chunk and a volume to share. */
export function chunkedSeconds(stages: readonly StageCost[], chunks: number): number {
  requireChunks(chunks);
  return pipelineSeconds(
    stages.map((stage) => stage.latencySeconds + stage.volumeSeconds / chunks),
    chunks,
  );
}

/** The chunk count from 1 to `limit` with the least `chunkedSeconds`; the smallest one of equals. */
export function bestChunks(stages: readonly StageCost[], limit: number): { chunks: number; seconds: number } {
  requireChunks(limit);
  let best = { chunks: 1, seconds: chunkedSeconds(stages, 1) };
  for (let chunks = 2; chunks <= limit; chunks++) {
    const seconds = chunkedSeconds(stages, chunks);
    if (seconds < best.seconds) best = { chunks, seconds };
  }
  return best;
}

/**
 * The real-valued optimum when one stage is the slowest for every chunk count: the root of the other stages' volume
 * time over the slowest stage's latency. Infinity when the slowest stage has no latency; less than 1 means that
 * chunking does not pay.
 */
export function idealChunks(slowest: StageCost, others: readonly StageCost[]): number {
  let volume = 0;
  for (const stage of others) volume += stage.volumeSeconds;
  if (volume === 0) return 0;
  return slowest.latencySeconds > 0 ? Math.sqrt(volume / slowest.latencySeconds) : Infinity;
}

function requireChunks(chunks: number): void {
  if (!Number.isInteger(chunks) || chunks < 1) {
    throw new RangeError(`a chunk count is a whole number from 1, not ${chunks}`);
  }
}
