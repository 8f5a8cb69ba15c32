/** Where the ranks of a job meet each other: every rank's listener, and what the others connect to. */
import { join } from 'node:path';
import { Listener } from './sockets.js';

export interface Meeting {
  /** Of this rank; the mesh closes it when all have come. */
  readonly listener: Listener;
  /** By rank. */
  readonly addresses: readonly string[];
}

/** Ranks of one machine: sockets in a folder that nobody else may enter. */
export function meetInFolder(
  folder: string,
  { rank, size }: { readonly rank: number; readonly size: number },
): Meeting {
  const addresses = Array.from({ length: size }, (_, other) => join(folder, `rank-${other}`));
  return { listener: new Listener(addresses[rank] ?? ''), addresses };
}
