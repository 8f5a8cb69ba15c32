/** Prices of the passes of one shape, each worked out once: by halves, pass and chunk count. */
import type { UnknownEstimate } from '../cost/index.js';
import { inChunks, plainPair, type Halves } from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import type { Binding } from '../schedule/schedule.js';
import {
  passPrice,
  passProgram,
  routedBinding,
  simulatePass,
  type LayerPass,
  type PassPrice,
  type Workload,
} from './workload.js';

/** Draws of random routing: an odd number, so that the median is one of them. */
const usualDraws = 5;

type Prices = Readonly<Record<LayerPass, Map<number, PassPrice>>>;

/** What halves come to, by their names, and programs of the halves that stand for all that come to the same. */
interface Programs {
  readonly names: Map<string, string>;
  readonly texts: Map<string, ProgramText>;
}

/** What tells a program from another: the ids of its operations, and all of it. */
interface ProgramText {
  readonly ids: string;
  whole(): string;
}

/** By what programs depend on: what they cost on which cluster is another matter. */
const programsOf: Readonly<Record<Workload['scope'], WeakMap<MoeShape, Programs>>> = {
  layer: new WeakMap(),
  dispatch: new WeakMap(),
};

export class Pricer {
  readonly #workload: Workload;
  readonly #bindings: readonly Binding[];
  readonly #prices = new Map<string, Prices>();
  readonly #programs: Programs;

  /** `draws`: of skewed routing, whose hot experts fall on random ranks. */
  constructor(workload: Workload, draws = usualDraws) {
    const { shape, routing, seed } = workload;
    this.#workload = workload;
    const known = programsOf[workload.scope];
    this.#programs = known.get(shape) ?? { names: new Map(), texts: new Map() };
    known.set(shape, this.#programs);
    this.#bindings = Array.from({ length: routing.kind === 'zipf' ? draws : 1 }, (_, draw) =>
      routedBinding(shape, routing, seed + draw),
    );
  }

  /** A pass in so many chunks: of the median draw, with the range of all. */
  price(halves: Halves, pass: LayerPass, chunks: number): PassPrice | UnknownEstimate {
    const prices = this.#of(halves)[pass];
    const known = prices.get(chunks);
    if (known) return known;
    const draws: PassPrice[] = [];
    for (const binding of this.#bindings) {
      const simulation = simulatePass(this.#workload, inChunks(halves, chunks), pass, binding);
      if (!simulation.known) return simulation;
      draws.push(passPrice(simulation, this.#workload.cluster, chunks));
    }
    draws.sort((a, b) => a.seconds - b.seconds);
    const middle = draws[Math.floor((draws.length - 1) / 2)];
    const [least, most] = [draws[0], draws.at(-1)];
    if (!middle || !least || !most) return { known: false, missing: ['a draw of the routing'] };
    const price = draws.length === 1 ? middle : { ...middle, range: [least.seconds, most.seconds] as const };
    prices.set(chunks, price);
    return price;
  }

  /** All pairs of passes that were priced of these halves. */
  pairs(halves: Halves): [PassPrice, PassPrice][] {
    const { forward, backward } = this.#of(halves);
    return [...forward.values()].flatMap((one) =>
      [...backward.values()].map((other): [PassPrice, PassPrice] => [one, other]),
    );
  }

  /** What both passes do, in one piece: equal for halves that come to the same program. */
  programOf({ dispatch, combine }: Halves): string {
    // Where a replica is one rank there is nothing to slice, gather or scatter: all plain halves move the same rows
    // between the same ranks.
    if (this.#workload.shape.layout.tp === 1 && plainPair({ dispatch, combine })) return 'one rank a replica';
    const key = `${dispatch} ${combine}`;
    const { names, texts } = this.#programs;
    const known = names.get(key);
    if (known !== undefined) return known;
    const strategy = inChunks({ dispatch, combine }, 1);
    const templates = (['forward', 'backward'] as const).flatMap((pass) =>
      Object.values(passProgram(this.#workload, strategy, pass).templates),
    );
    // Texts are long: none is written where not even the names of operations are another's.
    const ids = templates.flatMap(({ operations }) => operations.map(({ id }) => id)).join();
    let written: string | undefined;
    const text: ProgramText = { ids, whole: () => (written ??= JSON.stringify(templates)) };
    // The first halves that came to it stand for it.
    for (const [name, other] of texts)
      if (other.ids === ids && other.whole() === text.whole()) {
        names.set(key, name);
        return name;
      }
    texts.set(key, text);
    names.set(key, key);
    return key;
  }

  #of({ dispatch, combine }: Halves): Prices {
    const key = this.programOf({ dispatch, combine });
    const prices = this.#prices.get(key) ?? { forward: new Map(), backward: new Map() };
    this.#prices.set(key, prices);
    return prices;
  }
}
