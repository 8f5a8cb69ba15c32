/** One rank's side of an operation, and how messages name it. */
import type { Operation } from './operation.js';

/** One rank's side of an operation. */
export interface Party {
  /** Global rank. */
  readonly rank: number;
  /** Place in the group. */
  readonly place: number;
  readonly operation: Operation;
  readonly label: string;
  issued: number;
}

/** As messages show it: kind, label, place in its communicator. */
export function describeOperation({ operation, label }: Party, communicator: string): string {
  const named = label === '' ? '' : ` "${label}"`;
  return `${operation.kind}${named} (operation ${operation.sequence} of communicator ${communicator})`;
}

/** The rank and what it submitted. */
export function describeSide({ rank, operation, label }: Party): string {
  return `rank ${rank}: ${operation.kind}${label === '' ? '' : ` "${label}"`}`;
}
