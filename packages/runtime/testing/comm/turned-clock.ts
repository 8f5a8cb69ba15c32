/** For tests: operations, and an emulated network whose clock the test turns itself, so that times are exact. */
import type { FabricEngine } from '#runtime/comm/local/fabric.js';
import type { Operation } from '#runtime/comm/operation.js';
import type { Party } from '#runtime/comm/party.js';

/** An all_reduce of nothing unless told otherwise; lengths are float32 elements. */
export function operationOf(changes: Partial<Operation>): Operation {
  return {
    kind: 'all_reduce',
    communicator: 0,
    sequence: 0,
    event: 0,
    label: 0,
    type: 'f32',
    reduction: 'sum',
    peer: 0,
    send: { byteOffset: 0, length: 0 },
    receive: { byteOffset: 0, length: 0 },
    after: [],
    counts: new Int32Array(),
    receiveCounts: new Int32Array(),
    ...changes,
  };
}

/** A rank's side of an operation that it has issued at time zero. */
export const partyOf = (rank: number, place: number, changes: Partial<Operation>): Party => ({
  rank,
  place,
  label: '',
  issued: 0,
  operation: operationOf(changes),
});

/** Starts operations, given by their parties, at time zero; when each party ended, seconds. */
export function endTimes(engine: FabricEngine, operations: readonly (readonly Party[])[]): Map<Party, number> {
  const ends = new Map<Party, number>();
  for (const parties of operations) engine.start({ parties, communicator: 'test', ready: 0 });
  let now = 0;
  while (engine.busy) {
    for (const party of engine.advance(now)) ends.set(party, now);
    if (engine.busy) now = Math.max(now, engine.nextWake());
  }
  return ends;
}
