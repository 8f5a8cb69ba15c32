/** A job as its ranks get it, and the memory that each has for it. */
import type { Launcher } from '../launch/index.js';
import { readByteText, sharedText, type ByteText } from './data/byte-data.js';
import type { TrainJob } from './job.js';

/** Threads share the text that was read once, processes read it themselves. */
export interface RankTrainJob extends TrainJob {
  readonly bytes?: ByteText;
}

const mebibyte = 2 ** 20;
/** First size of a rank's memory, which grows, and its limit. */
export const trainingMemory = { memoryBytes: 64 * mebibyte, maximumMemoryBytes: 2048 * mebibyte } as const;

/** Reads the text, so that one that cannot be used is refused before ranks start. Throws `InputError`. */
export function rankJob(job: TrainJob, launcher: Launcher): RankTrainJob {
  const text = readByteText(job.text, job.step.sequence);
  return launcher.backend === 'local' ? { ...job, bytes: sharedText(text) } : job;
}

export const textOf = ({ bytes, text, step }: RankTrainJob): ByteText => bytes ?? readByteText(text, step.sequence);
