/**
 * What a rank submits to a communicator, in the terms that all backends share; its form in 32-bit words is in
 * `operation-words.ts`.
 */
import { collectiveNames, type CollectiveName } from '@monta/core/schedule';
import type { Reduction } from './communicator.js';
import { elementBytes, type ElementType } from '../device/view.js';

/** Those of programs. */
export const operationKinds = collectiveNames;
export type OperationKind = CollectiveName;

/** A range of a rank's memory. */
export interface Extent {
  readonly byteOffset: number;
  readonly length: number;
}

export interface Operation {
  readonly kind: OperationKind;
  /** The submitting rank's number for the communicator. */
  readonly communicator: number;
  /** Place among the rank's collectives of the communicator, or among its messages to (from) `peer`. */
  readonly sequence: number;
  readonly event: number;
  /** The submitting rank's number for the label; 0 is the empty label. */
  readonly label: number;
  readonly type: ElementType;
  readonly reduction: Reduction;
  /** Place in the group: root of a broadcast, peer of a message; else 0. */
  readonly peer: number;
  /** What this rank gives; for operations in place, the buffer. */
  readonly send: Extent;
  readonly receive: Extent;
  readonly after: readonly number[];
  /** Elements per member; for all_to_all what this rank sends, else the blocks of all members. */
  readonly counts: Int32Array;
  /** Elements per member that this rank receives; all_to_all only. */
  readonly receiveCounts: Int32Array;
}

/** Bytes of a span of elements. */
export function bytesOf(type: ElementType, elements: number): number {
  return elements * elementBytes[type];
}
