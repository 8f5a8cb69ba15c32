/**
 * What every communication backend offers a rank: named groups on the queues of its device, and collectives that run
 * beside computation and end events of the device. A backend passes the suite in `conformance.ts` unchanged.
 */
import type { DeviceEvent, Queue } from '../device/device.js';
import type { Reduction } from '../device/reduction.js';
import type { View } from '../device/view.js';

export type { Reduction } from '../device/reduction.js';

/**
 * What is common to all submissions. Submitting never blocks; the buffers belong to the operation until its event is
 * done.
 */
export interface Submission {
  /**
   * The operation starts only when these events (of this rank) are done; collectives of one communicator keep their
   * order besides.
   */
  readonly after?: readonly DeviceEvent[];
  /** Shown in traces and error messages. */
  readonly label?: string;
}

/** One block for each member of a group, one after another in group order. */
export interface Blocks {
  readonly view: View;
  /** Elements of each. */
  readonly counts: Int32Array;
}

/**
 * One group of ranks on one lane. All members submit the same collectives in the same order; a mismatch (operation,
 * type, sizes) is an error that names both sides and ends the job. Counts are in elements, one per member, in group
 * order. Sums are taken in rank order, so results are the same bits on every member and in every run.
 */
export interface Communicator {
  readonly name: string;
  /** This rank's place in the group. */
  readonly rank: number;
  readonly size: number;
  /** Global ranks, in group order. */
  readonly members: readonly number[];

  /** Equal splits: send and receive hold size equal blocks, block j goes to (comes from) member j. */
  allToAll(send: View, receive: View, options?: Submission): DeviceEvent;
  /** send.counts[j] here must equal receive.counts[me] at member j. */
  allToAllV(send: Blocks, receive: Blocks, options?: Submission): DeviceEvent;
  /** Member j contributes counts[j] elements (its `send`); every member receives all, in member order. */
  allGather(send: View, receive: View, options?: Submission & { readonly counts?: Int32Array }): DeviceEvent;
  /** Every member contributes all blocks (sum of counts); member j receives the reduction of block j. */
  reduceScatter(
    send: View,
    receive: View,
    options?: Submission & { readonly counts?: Int32Array; readonly reduction?: Reduction },
  ): DeviceEvent;
  /** In place. */
  allReduce(buffer: View, options?: Submission & { readonly reduction?: Reduction }): DeviceEvent;
  /** In place; `root` is a place in the group. */
  broadcast(buffer: View, root: number, options?: Submission): DeviceEvent;
  /** Point to point, matched in order per pair and direction; `peer` is a place in the group. */
  send(buffer: View, peer: number, options?: Submission): DeviceEvent;
  receive(buffer: View, peer: number, options?: Submission): DeviceEvent;
  barrier(options?: Submission): DeviceEvent;
}

/** What became of one collective on this rank; times in seconds on a clock that all ranks of the job share. */
export interface TransferRecord {
  readonly event: number;
  readonly label: string;
  /** Reached the head of its lane with its dependencies done. */
  readonly issued: number;
  /** The last member had got there too. */
  readonly ready: number;
  readonly end: number;
  /** Bytes this rank sent. */
  readonly bytes: number;
}

/** One rank's access to the job's communication. */
export interface Endpoint {
  readonly backend: 'local' | 'mpi' | 'nccl';
  readonly rank: number;
  readonly size: number;
  /** Bytes sent to each rank so far, without headers, where the backend counts them by peer. */
  readonly sentBytes?: Float64Array;
  /**
   * The communicator of a group on a queue of the rank's device, made at the first call. All members make it with the
   * same name, lane and members; different lanes progress independently.
   */
  communicator(name: string, members: readonly number[], queue: Queue): Communicator;
  /** Gives the backend a moment of this thread; kernels call it between tiles. Cheap when there is nothing to do. */
  progress(): void;
  /** Seconds on the job's shared clock. */
  now(): number;
  /** Records of collectives that ended since the last call; empty unless tracing is on. */
  takeRecords(): TransferRecord[];
  /**
   * Waits until records of all that this rank has submitted can be taken, where that needs others' word: ranks call it
   * together. Absent: they can be once their events are done.
   */
  completeRecords?(): void;
  close(): void;
}

/** Thrown out of blocking calls when the job ends because of another rank. */
export class JobAborted extends Error {
  override readonly name = 'JobAborted';
}
