/**
 * A layer answered in pieces: first the ways that led the last time, within a moment of a slider's move, then all. It
 * remembers which led.
 */
import {
  choiceName,
  type Candidate,
  namedStrategies,
  passPrice,
  routedBinding,
  simulatePass,
  type Strategy,
  unsupportedStrategy,
  withEtp,
  type Workload,
} from '@monta/core';
import type { Subject } from '../subject/subject.js';
import { choiceInSteps, firstAnswer, layerAnswer, type LayerAnswer, type LayerSliders, readLayer } from './answer.js';

/** A way that led; `whole`: experts are not split over TP. */
interface Leader {
  readonly strategy: Strategy;
  readonly whole: boolean;
}

/** Before anything is known: the usual winner of the paper's corner, and the baseline. */
let leaders: readonly Leader[] = (['scattered', 'duplicated'] as const).map((name) => ({
  strategy: { ...namedStrategies[name], chunks: { forward: 1, backward: 1 } },
  whole: false,
}));

/** How many are priced at once. */
const first = 2;

/** Both passes of one way; undefined where the layout forbids it or a price is not known. */
function priced(workload: Workload, { strategy, whole }: Leader): Candidate | undefined {
  const { layout } = workload.shape;
  const shape = withEtp(workload.shape, whole ? 1 : layout.etp);
  if (unsupportedStrategy(strategy, shape) !== undefined) return undefined;
  const binding = routedBinding(shape, workload.routing, workload.seed);
  const [forward, backward] = (['forward', 'backward'] as const).map((pass) => {
    const simulated = simulatePass({ ...workload, shape }, strategy, pass, binding);
    return simulated.known ? passPrice(simulated, workload.cluster, strategy.chunks[pass]) : undefined;
  });
  if (forward === undefined || backward === undefined) return undefined;
  const seconds = forward.seconds + backward.seconds;
  const { layout: placed } = shape;
  return {
    name: choiceName({ strategy, layout: placed }),
    program: '',
    way: '',
    strategy,
    layout: placed,
    forward,
    backward,
    seconds,
  };
}

/**
 * First the leaders' answer, then undefined after every other way that was priced, and the whole answer at the end.
 * Throws `InputError`.
 */
export function* layerInSteps(
  sliders: LayerSliders,
  subject: Subject,
): Generator<LayerAnswer | undefined, LayerAnswer> {
  const workload = readLayer(sliders, subject);
  const early: Candidate[] = [];
  for (const leader of leaders) {
    const way = priced(workload, leader);
    if (way === undefined) continue;
    early.push(way);
    yield firstAnswer(early, workload, subject);
  }
  const steps = choiceInSteps(workload);
  for (;;) {
    const { done, value } = steps.next();
    if (done !== true) {
      yield undefined;
      continue;
    }
    leaders = value.candidates
      .slice(0, first)
      .map(({ strategy, layout }) => ({ strategy, whole: layout.etp === 1 && layout.tp > 1 }));
    return layerAnswer(value, workload, subject);
  }
}
