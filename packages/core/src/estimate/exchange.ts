/** Seconds of the communication that every micro-batch of a layer does. */
import type { MoeModel } from '../model/model.js';
import { rowWidth } from './hybrid-models.js';
import type { StepConstants } from './constants.js';
import { ranksInDomain, ringSeconds, type Links } from './links.js';
import type { DispatchKind } from './run-setting.js';

const elementBytes = 2;

/** Parts of `parts` that the experts of a token touch, experts drawn without preference. */
const touched = (parts: number, topK: number): number => parts * (1 - (1 - 1 / parts) ** topK);

/**
 * One way of the experts' exchange, `tokens` of the rank. Inside a domain a token goes to every rank with one of its
 * experts; between domains once to each domain (deduplicated) or once an expert (all_to_all). Both overlap, so the
 * slower one counts.
 */
export function expertSeconds({
  model,
  ep,
  etp,
  tokens,
  links,
  dispatcher,
  constants,
}: {
  readonly model: MoeModel;
  readonly ep: number;
  readonly etp: number;
  readonly tokens: number;
  readonly links: Links;
  readonly dispatcher: DispatchKind;
  readonly constants: StepConstants;
}): number {
  const row = rowWidth(model) * elementBytes;
  // Ranks that split an expert gather one another's rows.
  const split = etp > 1 ? ringSeconds(links, etp, 1, tokens * model.topK * row * etp) : 0;
  if (ep <= 1) return split;
  if (dispatcher === 'gathered') return split + ringSeconds(links, ep, etp, tokens * ep * row);
  const inside = ranksInDomain(links, ep, etp);
  const domains = Math.ceil(ep / inside);
  const { topK } = model;
  const copies = dispatcher === 'deduplicated' ? touched(ep, topK) : topK;
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

/** Hidden states from one stage to the next. */
export function stageSeconds(links: Links, gpusOfStage: number, tokens: number, hiddenSize: number): number {
  const crosses = gpusOfStage >= links.domain;
  const rate = crosses ? links.outerBytesPerSecond : links.innerBytesPerSecond;
  return (tokens * hiddenSize * elementBytes) / rate + (crosses ? links.outerLatency : links.innerLatency);
}
