/** Seconds of the communication that every micro-batch of a layer does. */
import type { MoeModel } from '../model/model.js';
import { wholePower } from '../units/same-everywhere.js';
import { rowWidth } from './hybrid-models.js';
import type { StepConstants } from './constants.js';
import { ranksInDomain, ringSeconds, type Line, type Links } from './links.js';
import type { DispatchKind } from './run-setting.js';

const elementBytes = 2;

/** Parts of `parts` that the experts of a token touch, experts drawn without preference. */
export const touched = (parts: number, topK: number): number => parts * (1 - wholePower(1 - 1 / parts, topK));

/** A layer's exchange with its experts, of so many tokens of the rank. */
export interface ExpertExchange {
  readonly model: MoeModel;
  readonly ep: number;
  readonly etp: number;
  readonly tokens: number;
  readonly links: Links;
  readonly dispatcher: DispatchKind;
  readonly constants: StepConstants;
}

/** Bytes of a count, of an expert's number and of a probability. */
const numberBytes = 4;

/**
 * What travels beside the rows, as the programs send it. To the experts: counts of rows an expert, gathered over all
 * ranks that exchange rows; or, where a row serves several picks, numbers and probabilities of every token's picks. On
 * the way back of the gradients, those of such probabilities, one a row.
 */
export function routeSeconds(exchange: ExpertExchange): { readonly forward: number; readonly backward: number } {
  const { model, ep, etp, tokens, links, dispatcher } = exchange;
  const group = ep * etp;
  if (dispatcher === 'all_to_all')
    return { forward: ringSeconds(links, group, 1, group * model.experts * numberBytes), backward: 0 };
  const picks = group * tokens * model.topK * 2 * numberBytes;
  return {
    forward: ringSeconds(links, group, 1, picks),
    backward: rowsSeconds({ ...exchange, dispatcher: 'all_to_all' }, numberBytes),
  };
}

/** One way of the rows. */
export const expertSeconds = (exchange: ExpertExchange): number =>
  rowsSeconds(exchange, rowWidth(exchange.model) * elementBytes);

/**
 * One way of rows of so many bytes. Inside a domain a token goes to every rank with one of its experts; between domains
 * once to each domain (deduplicated) or once an expert (all_to_all). Both overlap, so the slower one counts.
 */
function rowsSeconds({ model, ep, etp, tokens, links, dispatcher, constants }: ExpertExchange, row: number): number {
  const { topK } = model;
  if (dispatcher === 'gathered')
    return (
      ringSeconds(links, etp, 1, tokens * ep * etp * row) / constants.epSplit +
      ringSeconds(links, ep, etp, tokens * ep * row)
    );
  const copies = dispatcher === 'deduplicated' ? touched(ep, topK) : topK;
  // Ranks that split an expert gather one another's rows.
  const split = etp > 1 ? ringSeconds(links, etp, 1, tokens * topK * row * etp) / constants.epSplit : 0;
  if (ep <= 1) return split;
  const inside = ranksInDomain(links, ep, etp);
  const domains = Math.ceil(ep / inside);
  const inner = (tokens * row * copies * (inside - 1)) / inside / (links.innerBytesPerSecond * constants.epInner);
  const crossing = dispatcher === 'deduplicated' ? touched(domains, topK) : topK;
  const outer = (tokens * row * crossing * (domains - 1)) / domains / (links.outerBytesPerSecond * constants.epOuter);
  return split + Math.max(inner, outer) + (domains > 1 ? links.outerLatency : links.innerLatency);
}

/** One all_gather or reduce_scatter of a micro-batch's hidden states over the TP group. */
export const tensorSeconds = (links: Links, tp: number, tokens: number, hiddenSize: number): number =>
  ringSeconds(links, tp, 1, tokens * hiddenSize * elementBytes);

/** Keys and values of all CP ranks past each of them once. */
export function contextSeconds(links: Links, cp: number, tp: number, keyValueElements: number): number {
  if (cp <= 1) return 0;
  const rate = ranksInDomain(links, cp, tp) >= cp ? links.innerBytesPerSecond : links.outerBytesPerSecond;
  return ((cp - 1) * keyValueElements * elementBytes) / rate;
}

/** Hidden states from one stage to the next, by the token. */
export function stageLine(links: Links, gpusOfStage: number, hiddenSize: number): Line {
  const crosses = gpusOfStage >= links.domain;
  const rate = crosses ? links.outerBytesPerSecond : links.innerBytesPerSecond;
  return { fixed: crosses ? links.outerLatency : links.innerLatency, slope: (hiddenSize * elementBytes) / rate };
}

/** Seconds of so many tokens. */
export function stageSeconds(links: Links, gpusOfStage: number, tokens: number, hiddenSize: number): number {
  const { fixed, slope } = stageLine(links, gpusOfStage, hiddenSize);
  return fixed + slope * tokens;
}
