/**
 * What of a searched plan's step runs beside what, chosen with its chunks by simulation: kinds within a layer as
 * `plan --layout` chooses them, then the kinds of a step, on the step itself.
 */
import type { Cluster } from '../cluster/cluster.js';
import type { CostModel, UnknownEstimate } from '../cost/index.js';
import type { MemorySetting } from '../memory/index.js';
import { moeShape, type StepOverlap, type StepShape } from '../schedule/step-shape.js';
import { chooseDispatch } from './choose.js';
import { withOverlap } from './choose-overlap.js';
import { roomForPairs } from '../memory/index.js';
import { simulateRun, type RunSimulation } from './simulate-run.js';

/** A step with the dispatcher of its plan, in chunks and with kinds of overlap of its own. */
export interface PlanOverlap {
  readonly step: StepShape;
  readonly simulated: RunSimulation;
}

type Ways = Pick<StepShape, 'strategy' | 'overlap'>;

/** Chooses for plans of one search: a layer that several plans have is looked at once. */
export class PlanOverlaps {
  readonly #layers = new Map<string, Ways>();

  constructor(
    private readonly cluster: Cluster,
    private readonly options: { readonly exact: boolean },
  ) {}

  /**
   * The fastest of the step as it is, with the layer's kinds, and with each kind of the step the other way; never
   * slower than as it is. `unknown` where something has no price.
   */
  choose(step: StepShape, model: CostModel, memory: MemorySetting): PlanOverlap | UnknownEstimate {
    const plain = this.#simulate(step, model);
    if (!plain.known) return plain;
    let best: PlanOverlap = { step, simulated: plain };
    // a pass by itself has none beside it: only a step in one knows what pairs of them take
    const pairs = plain.depth === 'whole' && roomForPairs(memory, this.cluster);
    for (const kinds of [this.#layerOf(step, model), ...reductionsOf(step), ...(pairs ? [pairsOfPasses] : [])]) {
      const other = { ...best.step, ...kinds };
      const simulated = this.#simulate(other, model);
      if (simulated.known && simulated.seconds < best.simulated.seconds) best = { step: other, simulated };
    }
    return this.options.exact ? this.#exactly(step, best, model) : best;
  }

  /** What was chosen, and the step as it is, each simulated in one: the faster. */
  #exactly(step: StepShape, best: PlanOverlap, model: CostModel): PlanOverlap | UnknownEstimate {
    const plain = this.#simulate(step, model, 'whole');
    if (!plain.known || best.step === step) return plain.known ? { step, simulated: plain } : plain;
    const simulated = this.#simulate(best.step, model, 'whole');
    return simulated.known && simulated.seconds < plain.seconds
      ? { step: best.step, simulated }
      : { step, simulated: plain };
  }

  #simulate(step: StepShape, model: CostModel, depth?: 'whole'): RunSimulation | UnknownEstimate {
    const routing = { kind: 'uniform' } as const;
    return simulateRun({
      cluster: this.cluster,
      step,
      routing,
      seed: 1,
      model,
      ...(depth === undefined ? {} : { depth }),
    });
  }

  /** Chunks and kinds of the layer alone; those of the step where it has no experts, or no price. */
  #layerOf(step: StepShape, model: CostModel): Ways {
    const { strategy } = step;
    if (!step.model.moeLayers.includes(true)) return { strategy };
    const shape = moeShape(step);
    const key = JSON.stringify([shape, strategy, model.inputs.computeType]);
    let ways = this.#layers.get(key);
    if (ways !== undefined) return ways;
    const workload = {
      cluster: this.cluster,
      shape,
      routing: { kind: 'uniform' },
      seed: 1,
      model,
      scope: 'layer',
    } as const;
    const { dispatch, combine } = strategy;
    const choice = chooseDispatch(workload, { halves: [{ dispatch, combine }], onlyBest: true });
    const found = choice.known ? withOverlap(workload, choice) : choice;
    ways = found.known
      ? { strategy: found.best.strategy, ...(found.best.overlap === undefined ? {} : { overlap: found.best.overlap }) }
      : { strategy };
    this.#layers.set(key, ways);
    return ways;
  }
}

const pairsOfPasses: StepOverlap = { passes: 'beside' };

/** The reductions of gradients the other way than the step has them, where there are any. */
const reductionsOf = ({ layout, reductions = 'beside' }: StepShape): StepOverlap[] =>
  layout.dp * layout.cp * layout.tp > 1 ? [{ reductions: reductions === 'behind' ? 'beside' : 'behind' }] : [];
