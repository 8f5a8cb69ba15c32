/**
 * The rank's communication as its CPU device sees it: what moves bytes beside the kernels, on this thread or on
 * another.
 */
export interface Companion {
  /** Seconds on the job's shared clock. */
  now(): number;
  /** Throws `JobAborted` when the job is over. */
  check(): void;
  /** Moves what can be moved without waiting. Cheap when there is nothing to do. */
  progress(): void;
  /**
   * Blocks until `over`, which is asked again whenever an event may have been completed. Throws `JobAborted` when the
   * job ends before.
   */
  waitUntil(over: () => boolean): void;
  /** This thread has completed an event that a collective comes after. */
  completed(): void;
}

/** A rank that communicates with nobody: nothing ends unless this thread ends it. */
export const nobody: Companion = {
  now: () => performance.now() / 1000,
  check: () => undefined,
  progress: () => undefined,
  waitUntil: () => {
    throw new Error('the events waited for are of transfers, but the device communicates with nobody');
  },
  completed: () => undefined,
};
