/** How many GPUs one NVLink domain joins, where it reaches beyond the tray or node that a file describes. */
import { InputError } from '../../units/errors.js';
import type { Family } from '../families.js';
import type { Ground, Topology } from './topology.js';

/** Domains of several trays, and domains that there are. */
export interface NvLinkDomain {
  /** GPUs of one domain. */
  readonly gpus: number;
  /** Trays, as the file describes one, of one domain. */
  readonly trays: number;
  /** Domains of the whole cluster. */
  readonly count: number;
  /** Whether its size was given, or is that of the family's racks. */
  readonly ground: Ground;
}

const flag = '--nvlink-domain';

const refuse = (message: string, expected: string): InputError =>
  new InputError(message, { path: flag, expected, hint: 'it counts the GPUs that NVLink joins, like 72 of an NVL72' });

/** The domain that somebody gave, with so many trays. Throws `InputError` where trays do not make whole domains. */
function givenDomain(topology: Topology, trays: number, asked: number): NvLinkDomain {
  const own = topology.gpus.length;
  const { kind } = topology.nvlinks;
  if (kind === 'pairs' || kind === 'none')
    throw refuse(
      `a domain of ${asked} GPUs, where ${topology.where} says ` +
        (kind === 'none' ? 'that no NVLink joins the GPUs' : 'that NVLink joins pairs of GPUs, without a switch'),
      'a file whose GPUs have all their links into switches',
    );
  if (asked % own !== 0) throw refuse(`${asked} GPUs are no whole trays of ${own}`, `a multiple of ${own}`);
  const each = asked / own;
  // fewer trays than a domain holds are one domain, not filled
  if (trays <= each) return { gpus: trays * own, trays, count: 1, ground: 'given' };
  if (trays % each !== 0)
    throw refuse(`${trays} trays of ${own} GPUs do not fill domains of ${asked}`, `a multiple of ${each} trays`);
  return { gpus: asked, trays: each, count: trays / each, ground: 'given' };
}

/**
 * The domains of `trays` trays: of the size that was `asked` for, else, where the family's NVLink reaches beyond the
 * file's GPUs and the file does not say how far, of the family's racks, filled equally. Undefined where NVLink ends
 * with the file. Throws `InputError`.
 */
export function nvLinkDomain(
  topology: Topology,
  { domain: most }: Pick<Family, 'domain'>,
  { trays, asked }: { readonly trays: number; readonly asked?: number | undefined },
): NvLinkDomain | undefined {
  if (asked !== undefined) return givenDomain(topology, trays, asked);
  if (!reachesBeyond(topology, most)) return undefined;
  const own = topology.gpus.length;
  const count = Math.ceil((trays * own) / most);
  if (trays % count !== 0)
    throw refuse(
      `${trays} trays of ${own} GPUs do not fill ${count} racks of up to ${most} equally, and the file does not say ` +
        'how many GPUs NVLink joins',
      `${flag} with the GPUs of one domain, or other --nodes`,
    );
  return { gpus: (trays * own) / count, trays: trays / count, count, ground: 'guessed' };
}

/** Domains of families beyond a board of eight are racks of trays. */
const boardGpus = 8;

/** Whether NVLink of the family goes on to other trays than the file's, through switches outside of it. */
const reachesBeyond = ({ gpus, nvlinks }: Topology, most: number): boolean =>
  most > boardGpus && gpus.length < most && (nvlinks.kind === 'switched' || nvlinks.kind === 'unsaid');
