/**
 * Which of a card's streams go first when work of several is ready: that which others wait for. Blocks that run are not
 * interrupted; a card starts those of the higher stream next.
 */

/** By lane (`inter`), or by lane and kind of group (`inter dp`), which counts more. 0 is the lowest. */
export type LanePriorities = Readonly<Record<string, number>>;

/**
 * - Exchanges between nodes hold up the slowest link and the ranks of other nodes: whatever else is late can catch up.
 *   Barriers and orders (`control`) hold up all ranks.
 * - Gathers inside a node hold up its ranks, over a fast link.
 * - Copies hold up the own rank, whose next exchange sends what they pack.
 * - Sums of gradients go in the same lane as exchanges, but nobody waits for them before the update.
 * - Products come last: they are long, and only what follows them waits.
 */
const usualPriorities: LanePriorities = {
  control: 3,
  inter: 3,
  intra: 2,
  copy: 1,
  gather: 1,
  'inter dense': 1,
  'inter dp': 1,
  'inter edp': 1,
  shared: 0,
  compute: 0,
};

/** Of a lane that nobody knows: before products, behind exchanges. */
const unknownPriority = 1;

/** Of a queue, `inter ep` say, with the priorities given over the usual ones. */
export function lanePriority(queue: string, given: LanePriorities = {}): number {
  return ofLane(given, queue) ?? ofLane(usualPriorities, queue) ?? unknownPriority;
}

/** A setting of a queue: its own, else that of its lane. */
export function ofLane(settings: Readonly<Record<string, number>> | undefined, queue: string): number | undefined {
  return settings?.[queue] ?? settings?.[queue.split(' ', 1)[0] ?? queue];
}
