/** Finds where two parties of one operation disagree. */
import { at } from './at.js';
import type { Operation } from './operation.js';
import { describeSide, type Party } from './party.js';

/** Names both sides of a disagreement, and where it arose; undefined when the two sides fit. */
export function describeMismatch(a: Party, b: Party, communicator: string): string | undefined {
  const difference = findMismatch(a, b);
  if (difference === undefined) return undefined;
  const where = `communicator ${communicator}, operation ${b.operation.sequence}`;
  return `mismatch on ${where}: ${difference} (${describeSide(a)}; ${describeSide(b)})`;
}

function findMismatch(a: Party, b: Party): string | undefined {
  const [x, y] = [a.operation, b.operation];
  const message = x.kind === 'send' || x.kind === 'receive';
  if (!message && x.kind !== y.kind) return `rank ${a.rank} submitted ${x.kind}, rank ${b.rank} ${y.kind}`;
  if (x.kind === 'barrier') return undefined;
  if (x.type !== y.type) return `element type ${x.type} on rank ${a.rank}, ${y.type} on rank ${b.rank}`;
  if (message) {
    const sent = x.kind === 'send' ? a : b;
    const received = sent === a ? b : a;
    const [sends, receives] = [sent.operation.send.length, received.operation.receive.length];
    if (sends === receives) return undefined;
    return `rank ${sent.rank} sends ${sends} elements to rank ${received.rank}, which receives ${receives}`;
  }
  if (x.kind === 'all_to_all') return blockMismatch(a, b) ?? blockMismatch(b, a);
  if (x.kind === 'broadcast' && x.peer !== y.peer) {
    return `root ${x.peer} on rank ${a.rank}, root ${y.peer} on rank ${b.rank} (places in the group)`;
  }
  if ((x.kind === 'reduce_scatter' || x.kind === 'all_reduce') && x.reduction !== y.reduction) {
    return `reduction ${x.reduction} on rank ${a.rank}, ${y.reduction} on rank ${b.rank}`;
  }
  if (x.kind === 'all_gather' || x.kind === 'reduce_scatter') {
    const place = x.counts.findIndex((count, index) => count !== y.counts[index]);
    if (place < 0) return undefined;
    return (
      `block ${place} has ${at(x.counts, place)} elements on rank ${a.rank}, ${at(y.counts, place)} on rank ` +
      `${b.rank}`
    );
  }
  return lengthMismatch(a, b, x, y);
}

/** What `from` sends to `to` against what `to` expects. */
function blockMismatch(from: Party, to: Party): string | undefined {
  const sent = at(from.operation.counts, to.place);
  const expected = at(to.operation.receiveCounts, from.place);
  if (sent === expected) return undefined;
  return `rank ${from.rank} sends ${sent} elements to rank ${to.rank}, which expects ${expected}`;
}

function lengthMismatch(a: Party, b: Party, x: Operation, y: Operation): string | undefined {
  if (x.send.length === y.send.length) return undefined;
  return `${x.send.length} elements on rank ${a.rank}, ${y.send.length} on rank ${b.rank}`;
}
