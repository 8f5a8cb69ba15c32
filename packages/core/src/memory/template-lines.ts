/**
 * What templates of a block cost at any number of tokens. Regions are straight in the tokens, so that two counts say
 * what lives while each operation runs; a template's peak is the highest of these lines.
 */
import type { Program } from '../schedule/schedule.js';
import { Costs, type Cost } from './closed-form.js';
import type { TimelineOptions } from './timeline.js';

/** Bytes at no tokens, and for each. */
interface Line {
  readonly at: number;
  readonly slope: number;
}

interface CostLines {
  /** Only those that no other line lies above at every number of tokens. */
  readonly peaks: readonly Line[];
  readonly kept: Line;
}

const valueOf = ({ at, slope }: Line, tokens: number): number => at + slope * tokens;

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
export class TemplateLines {
  readonly templates: Program['templates'];
  readonly #tokens: readonly [number, number];
  readonly #costs: readonly [Costs, Costs];
  readonly #lines = new Map<string, CostLines>();
  readonly #shared = new Map<string, Line>();

  constructor([few, many]: readonly [CompiledAt, CompiledAt], options: TimelineOptions) {
    this.templates = few.templates;
    this.#tokens = [few.tokens, many.tokens];
    this.#costs = [new Costs(few.templates, options), new Costs(many.templates, options)];
  }

  of(name: string, tokens: number): Cost {
    const lines = this.#lines.get(name) ?? this.#linesOf(name);
    this.#lines.set(name, lines);
    let peak = 0;
    for (const line of lines.peaks) peak = Math.max(peak, valueOf(line, tokens));
    return { peak, kept: valueOf(lines.kept, tokens) };
  }

  /** Of a region of the micro-batch; nothing where no template declares it. */
  shared(id: string, tokens: number): number {
    const [few, many] = this.#costs;
    const line = this.#shared.get(id) ?? this.#between(few.shared(id), many.shared(id));
    this.#shared.set(id, line);
    return valueOf(line, tokens);
  }

  #linesOf(name: string): CostLines {
    const [few, many] = this.#costs;
    const most = many.whileRunning(name);
    const peaks = few.whileRunning(name).map((bytes, operation) => this.#between(bytes, most[operation] ?? 0));
    return { peaks: highest(peaks), kept: this.#between(few.kept(name), many.kept(name)) };
  }

  #between(a: number, b: number): Line {
    const [few, many] = this.#tokens;
    const slope = (b - a) / (many - few);
    return { at: a - slope * few, slope };
  }
}
