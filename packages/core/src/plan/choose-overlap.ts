/**
 * What of a layer runs beside what, chosen together with how tokens travel: the close ways of a choice are simulated
 * with kinds of overlap switched off, in other chunk counts where that comes near. More overlap is not always faster:
 * transfers take multiprocessors from the GEMMs beside them.
 */
import type { UnknownEstimate } from '../cost/index.js';
import { placedOn } from '../layout/mesh.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { overlapKinds, overlaps, type Overlap, type OverlapKind } from '../schedule/overlap.js';
import {
  alikeShape,
  bySeconds,
  chunksOf,
  defaultChunkCounts,
  fastestPieces,
  inPieces,
  mappingText,
  withEtp,
  type Candidate,
  type Choice,
  type Way,
} from './choose.js';
import { layerPasses } from './dispatch-variants.js';
import { Pricer } from './pricer.js';
import { closeCandidates } from './trials.js';
import { passProgram, type Workload } from './workload.js';

/** A kind of overlap in the way that was chosen. */
export interface OverlapVerdict {
  readonly kind: OverlapKind | 'reductions' | 'passes';
  /** Whether it runs beside the rest. */
  readonly on: boolean;
  /** Whether a person fixed it. */
  readonly given: boolean;
  /**
   * The chosen way takes so many seconds more with this kind the other way: negative only where it was given, or where
   * passes beside each other had no room. Absent where the kind changes nothing here.
   */
  readonly otherwiseSeconds?: number;
}

export interface OverlapChoice {
  readonly known: true;
  /** With overlap chosen too: ways that are faster with kinds apart stand among the candidates, beside themselves. */
  readonly choice: Choice;
  readonly verdicts: readonly OverlapVerdict[];
}

export interface OverlapOptions {
  /** Kinds that a person fixed, as the workload's shape has them. */
  readonly given?: readonly OverlapKind[];
  readonly chunkCounts?: readonly number[];
  readonly draws?: number;
}

/** With a kind the other way, other chunk counts are tried where the same ones come as near as this share. */
const nearShare = 0.05;
/** Less is rounding. */
const leastGain = 1e-9;

class OverlapSearch {
  readonly #ways = new Map<string, Way>();
  readonly #shapes = new Map<string, MoeShape>();
  readonly #counts: readonly number[];

  constructor(
    private readonly workload: Workload,
    private readonly options: OverlapOptions,
  ) {
    this.#counts = options.chunkCounts ?? defaultChunkCounts;
  }

  overlapOf(candidate: Candidate): Overlap {
    return candidate.overlap ?? this.workload.shape.overlap ?? {};
  }

  /**
   * The candidate with a kind the other way; undefined where that is the same program. What cannot come below `enough`
   * seconds is not looked at in every chunk count.
   */
  flipped(candidate: Candidate, kind: OverlapKind, enough = Infinity): Candidate | UnknownEstimate | undefined {
    const now = this.overlapOf(candidate);
    const way = this.#way(candidate, { ...now, [kind]: !overlaps(now, kind) });
    if (this.#waits(this.#way(candidate, now), candidate) === this.#waits(way, candidate)) return undefined;
    const same = inPieces(way, chunksOf(candidate));
    if ('known' in same || same.seconds > candidate.seconds * (1 + nearShare)) return same;
    const other = fastestPieces(way, this.#counts, same, enough);
    return 'known' in other || other.seconds < same.seconds ? other : same;
  }

  /** Kind after kind is switched off as long as that is faster. */
  descend(candidate: Candidate): Candidate | UnknownEstimate {
    let best = candidate;
    for (let improved = true; improved;) {
      improved = false;
      for (const kind of overlapKinds) {
        if (this.options.given?.includes(kind) || !overlaps(this.overlapOf(best), kind)) continue;
        const enough = best.seconds * (1 - leastGain);
        const other = this.flipped(best, kind, enough);
        if (other === undefined) continue;
        if ('known' in other) return other;
        if (other.seconds >= enough) continue;
        best = other;
        improved = true;
      }
    }
    return best;
  }

  #way({ layout, strategy, way: plain }: Candidate, overlap: Overlap): Way {
    const { dispatch, combine } = strategy;
    const off = overlapKinds.filter((kind) => !overlaps(overlap, kind));
    const key = `${layout.etp} ${off.join(' ')}`;
    const id = `${key} ${dispatch} ${combine}`;
    let way = this.#ways.get(id);
    if (way !== undefined) return way;
    const { cluster, shape } = this.workload;
    const { ranksPerNode } = placedOn(shape.layout, cluster);
    const placed = this.#shapes.get(key) ?? alikeShape({ ...withEtp(shape, layout.etp, ranksPerNode), overlap });
    this.#shapes.set(key, placed);
    way = {
      pricer: new Pricer({ ...this.workload, shape: placed }, this.options.draws),
      layout,
      halves: { dispatch, combine },
      program: off.length > 0 ? `${plain} apart ${off.join(' ')}` : plain,
      way: plain,
      suffix: `${mappingText(layout, shape.layout)}${apartText(overlap)}`,
      overlap,
    };
    this.#ways.set(id, way);
    return way;
  }

  /** What waits for what in both passes. */
  #waits({ layout, halves, overlap }: Way, { strategy: { chunks } }: Candidate): string {
    const off = overlapKinds.filter((kind) => !overlaps(overlap, kind));
    const shape = this.#shapes.get(`${layout.etp} ${off.join(' ')}`) ?? this.workload.shape;
    return layerPasses
      .flatMap((pass) => Object.values(passProgram({ ...this.workload, shape }, { ...halves, chunks }, pass).templates))
      .flatMap(({ operations }) => operations.map(({ after }) => after.join()))
      .join('\n');
  }
}

/** Kinds as people read them. */
const overlapNames: Readonly<Record<OverlapKind, string>> = {
  chunks: 'chunks',
  experts: 'experts',
  shared: 'shared experts',
  weightGradients: 'weight gradients',
};

/** Kinds that are switched off, as people read them. */
export const apartNames = (overlap: Overlap | undefined): string[] =>
  overlapKinds.filter((kind) => !overlaps(overlap, kind)).map((kind) => overlapNames[kind]);

/** Behind a way's name: ` (chunks apart)`; nothing where all that can runs beside. */
export function apartText(overlap: Overlap | undefined): string {
  const off = apartNames(overlap);
  return off.length === 0 ? '' : ` (${off.join(', ')} apart)`;
}

/**
 * Chooses kinds of overlap for the close ways of a choice, and says what each kind of the chosen one is worth.
 * `unknown` when something has no price.
 */
export function chooseOverlap(
  workload: Workload,
  choice: Choice,
  options: OverlapOptions = {},
): OverlapChoice | UnknownEstimate {
  const search = new OverlapSearch(workload, options);
  const chosen = descended(search, choice);
  if (!chosen.known) return chosen;
  const { best } = chosen;
  const verdicts: OverlapVerdict[] = [];
  for (const kind of overlapKinds) {
    const other = search.flipped(best, kind);
    if (other !== undefined && 'known' in other) return other;
    verdicts.push({
      kind,
      on: overlaps(search.overlapOf(best), kind),
      given: options.given?.includes(kind) ?? false,
      ...(other === undefined ? {} : { otherwiseSeconds: other.seconds - best.seconds }),
    });
  }
  return { known: true, choice: chosen, verdicts };
}

/** The choice alone. `unknown` when something has no price. */
export const withOverlap = (
  workload: Workload,
  choice: Choice,
  options: OverlapOptions = {},
): Choice | UnknownEstimate => descended(new OverlapSearch(workload, options), choice);

function descended(search: OverlapSearch, choice: Choice): Choice | UnknownEstimate {
  const faster: Candidate[] = [];
  for (const candidate of closeCandidates(choice)) {
    const found = search.descend(candidate);
    if ('known' in found) return found;
    if (found !== candidate) faster.push(found);
  }
  if (faster.length === 0) return choice;
  const candidates = [...choice.candidates, ...faster].sort(bySeconds);
  const [fastest] = [choice.best, ...faster].sort(bySeconds);
  const best = fastest ?? choice.best;
  return {
    ...choice,
    candidates,
    best,
    within: (share) => {
      const most = best.seconds * (1 + share);
      const before = choice.within(most / choice.best.seconds - 1);
      return [...before, ...faster.filter(({ seconds }) => seconds <= most)].sort(bySeconds);
    },
    runnerUp: candidates.find((one) => one.way !== best.way),
  };
}
