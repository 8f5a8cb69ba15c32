/** How many ranks a launcher starts: torchrun, deepspeed, mpirun, srun. */
import type { Located } from './place.js';

/** Flags of launchers that count what they start: ranks a node, nodes, and ranks in all. */
const perNode = ['--nproc_per_node', '--nproc-per-node', '--num_gpus', '--ntasks-per-node', '--gpus-per-node'];
const nodes = ['--nnodes', '--num_nodes', '--nodes', '-N'];
const total = ['-np', '-n', '--ntasks'];

/** By the words in front of the program; undefined where they do not say. */
export function startedRanks(words: readonly Located[]): number | undefined {
  const each = count(words, perNode);
  const hosts = count(words, nodes);
  const starts = words.some(({ text }) => /(?:^|\/)(?:torchrun|deepspeed)$|torch\.distributed/u.test(text));
  if (starts && each !== undefined) return hosts === undefined && names(words, nodes) ? undefined : each * (hosts ?? 1);
  return count(words, total) ?? (each === undefined || hosts === undefined ? undefined : each * hosts);
}

const names = (words: readonly Located[], flags: readonly string[]): boolean =>
  words.some(({ text }) => flags.includes(text.split('=')[0] ?? ''));

/** The number behind one of these flags. */
function count(words: readonly Located[], flags: readonly string[]): number | undefined {
  // Of several the last counts: a launcher's own words stand behind those of what starts it.
  const at = words.findLastIndex(({ text }) => flags.includes(text.split('=')[0] ?? ''));
  if (at < 0) return undefined;
  const [, inline] = (words[at]?.text ?? '').split('=');
  const text = inline ?? words[at + 1]?.text ?? '';
  return /^\d+$/u.test(text) ? Number(text) : undefined;
}
