/**
 * A binding from routing. All sizes of a layer's templates follow from it by the rules that the templates bring along;
 * simulator and executor bind the same class, one with expected or recorded routing, the other with what was exchanged.
 */
import type { Layout } from '../layout/layout.js';
import type { GroupRouting, Part } from '../routing/group-routing.js';
import { rankPlace, type Exchange, type ExchangeCounts, type RankPlace, type RowRule } from './rows.js';
import type { Binding, Likeness } from './schedule.js';

/** Routing of the expert group of `rank` at `node`. */
export type RoutingOf = (rank: number, node: number) => GroupRouting;

export class RoutingBinding implements Binding {
  readonly #layout: Layout;
  readonly #routingOf: RoutingOf;
  readonly #places: RankPlace[] = [];

  readonly alike?: Likeness;

  /** `alike`: what the caller knows of the routing; nothing when left out. */
  constructor(layout: Layout, routingOf: RoutingOf, alike?: Likeness) {
    this.#layout = layout;
    this.#routingOf = routingOf;
    if (alike !== undefined) this.alike = alike;
  }

  counts(exchange: Exchange, rank: number, node: number, part: Part): ExchangeCounts {
    const at = this.#place(rank);
    return exchange.fixed?.(at, part) ?? exchange.counts(at, part, this.#routingOf(rank, node));
  }

  rows(rule: RowRule, rank: number, node: number, part: Part): number {
    return rule.count(this.#place(rank), part, () => this.#routingOf(rank, node));
  }

  #place(rank: number): RankPlace {
    return (this.#places[rank] ??= rankPlace(this.#layout, rank));
  }
}
