/**
 * A binding from routing. All sizes of a layer's templates follow from it by the rules that the templates bring along;
 * simulator and executor bind the same class, one with expected or recorded routing, the other with what was exchanged.
 */
import type { Layout } from '../layout/layout.js';
import type { GroupRouting, Part } from '../routing/group-routing.js';
import { rankPlace, type Exchange, type ExchangeCounts, type RankPlace, type RowRule } from './rows.js';
import type { Binding, Likeness } from './schedule.js';

/** Chunk counts that answers are kept for are below it. */
const mostChunks = 1024;

/** Routing of the expert group of `rank` at `node`. */
export type RoutingOf = (rank: number, node: number) => GroupRouting;

export class RoutingBinding implements Binding {
  readonly #layout: Layout;
  readonly #routingOf: RoutingOf;
  readonly #places: RankPlace[] = [];
  readonly #counts = new WeakMap<Exchange, Map<number, ExchangeCounts>>();
  readonly #rows = new WeakMap<RowRule, Map<number, number>>();

  readonly alike?: Likeness;

  /** `alike`: what the caller knows of the routing; nothing when left out. */
  constructor(layout: Layout, routingOf: RoutingOf, alike?: Likeness) {
    this.#layout = layout;
    this.#routingOf = routingOf;
    if (alike !== undefined) this.alike = alike;
  }

  counts(exchange: Exchange, rank: number, node: number, part: Part): ExchangeCounts {
    return this.#once({ answers: this.#counts, of: exchange, rank, part }, () => {
      const at = this.#place(rank);
      return exchange.fixed?.(at, part) ?? exchange.counts(at, part, this.#routingOf(rank, node));
    });
  }

  rows(rule: RowRule, rank: number, node: number, part: Part): number {
    return this.#once({ answers: this.#rows, of: rule, rank, part }, () =>
      rule.count(this.#place(rank), part, () => this.#routingOf(rank, node)),
    );
  }

  /** Nodes where ranks are alike have the same routing: what it comes to is worked out once for all of them. */
  #once<Of extends object, Value>(
    {
      answers,
      of,
      rank,
      part: { chunk, of: chunks },
    }: {
      readonly answers: WeakMap<Of, Map<number, Value>>;
      readonly of: Of;
      readonly rank: number;
      readonly part: Part;
    },
    ask: () => Value,
  ): Value {
    if (this.alike === undefined || chunks >= mostChunks) return ask();
    let known = answers.get(of);
    if (known === undefined) answers.set(of, (known = new Map()));
    const key = (rank * mostChunks + chunk) * mostChunks + chunks;
    let answer = known.get(key);
    if (answer === undefined) known.set(key, (answer = ask()));
    return answer;
  }

  #place(rank: number): RankPlace {
    return (this.#places[rank] ??= rankPlace(this.#layout, rank));
  }
}
