/**
 * What templates of a block cost at any number of tokens. Regions are straight in the tokens, so that two counts say
 * what lives while each operation runs; a template's peak is the highest of these lines.
 */
import type { Program } from '../schedule/schedule.js';
import type { PassBlock } from '../schedule/step.js';
import { Costs } from './closed-form.js';
import { costAt, partAt, partsOf, sharedRegions } from './pass-costs.js';
import { writeBackwards } from './pass-peaks.js';
import type { TimelineOptions } from './timeline.js';

/** Bytes at no tokens, and for each. */
interface Line {
  readonly at: number;
  readonly slope: number;
}

/** A line of a place of a row of costs. */
interface PlacedLine extends Line {
  readonly place: number;
}

/** Only those that no other line lies above at every number of tokens. */
function highest(lines: readonly Line[]): Line[] {
  const kept: Line[] = [];
  for (const line of [...lines].sort((a, b) => b.at - a.at || b.slope - a.slope))
    if (line.slope > (kept.at(-1)?.slope ?? -Infinity)) kept.push(line);
  return kept;
}

/** Templates compiled for some tokens. */
export interface CompiledAt {
  readonly tokens: number;
  readonly templates: Program['templates'];
}

/** Templates of one block. */
export interface TemplateLines {
  readonly templates: Program['templates'];
  readonly lines: readonly PlacedLine[];
}

export function templateLines(
  block: PassBlock,
  [few, many]: readonly [CompiledAt, CompiledAt],
  options: TimelineOptions,
): TemplateLines {
  const [ofFew, ofMany] = [new Costs(few.templates, options), new Costs(many.templates, options)];
  const between = (a: number, b: number): Line => {
    const slope = (b - a) / (many.tokens - few.tokens);
    return { at: a - slope * few.tokens, slope };
  };
  const peaks = (name: string): Line[] => {
    const [least = [], most = []] = ofFew.whileRunningOf(name, [ofFew, ofMany]);
    return least.map((bytes, operation) => between(bytes, most[operation] ?? 0));
  };
  const kept = (name: string): Line => between(ofFew.kept(name), ofMany.kept(name));
  const placed = (place: number, lines: readonly Line[]): PlacedLine[] =>
    highest(lines).map((line) => ({ place, ...line }));
  const lines = [
    ...sharedRegions.flatMap(([place, id]) => placed(place, [between(ofFew.shared(id), ofMany.shared(id))])),
    ...partsOf[block].flatMap((part) => [
      ...placed(costAt[part] + partAt.forwardPeak, peaks(`${part}.forward`)),
      ...placed(costAt[part] + partAt.forwardKept, [kept(`${part}.forward`)]),
      ...placed(costAt[part] + partAt.againPeak, peaks(`${part}.recompute`)),
      ...placed(costAt[part] + partAt.againKept, [kept(`${part}.recompute`)]),
      ...placed(costAt[part] + partAt.backwardPeak, peaks(`${part}.backward`)),
    ]),
  ];
  return { templates: few.templates, lines: lines.filter(({ at, slope }) => at !== 0 || slope !== 0) };
}

/** Lines of all blocks, as rows of costs at so many tokens: each place holds the highest of its lines. */
export class CostLines {
  readonly #places: Uint8Array;
  readonly #at: Float64Array;
  readonly #slopes: Float64Array;
  readonly #whole: boolean;

  /** `whole`: layers are computed again from their input. */
  constructor(blocks: readonly TemplateLines[], whole: boolean) {
    const lines = blocks.flatMap((block) => block.lines);
    this.#places = Uint8Array.from(lines, ({ place }) => place);
    this.#at = Float64Array.from(lines, ({ at }) => at);
    this.#slopes = Float64Array.from(lines, ({ slope }) => slope);
    this.#whole = whole;
  }

  /** Costs, and what layers' backwards hold behind them. */
  write(row: Float64Array, tokens: number): void {
    for (let place = 0; place < row.length; place++) row[place] = 0;
    const places = this.#places;
    const ats = this.#at;
    const slopes = this.#slopes;
    for (let line = 0; line < places.length; line++) {
      const place = places[line] ?? 0;
      const bytes = (ats[line] ?? 0) + (slopes[line] ?? 0) * tokens;
      if (bytes > (row[place] ?? 0)) row[place] = bytes;
    }
    writeBackwards(row, this.#whole);
  }
}
