/**
 * A step simulated in one, with all that its stages do to each other. Where its pipeline comes to a steady state, a
 * step of fewer micro-batches is simulated and the periods that it lacks are added: the same time but for rounding.
 */
import type { UnknownEstimate } from '../cost/index.js';
import { pipelineStep } from '../schedule/step.js';
import type { StepShape } from '../schedule/step-shape.js';
import {
  periodOf,
  simulate,
  stageWork,
  type Simulation,
  type SimulationJob,
  type StageWork,
} from '../simulate/index.js';
import { likePrograms } from './like-programs.js';

export interface WholeStep extends StageWork {
  readonly known: true;
  readonly seconds: number;
  readonly basis: Simulation['summary']['basis'];
  /** Micro-batches that were simulated; the others are periods of the steady state. */
  readonly simulatedMicroBatches: number;
}

/**
 * Beyond those that fill the pipeline, micro-batches of the first try: two periods to compare, the one before, and a
 * start.
 */
const beyondFilled = 4;

/** Numbers of micro-batches that are tried, the last all of them: a multiple of `every` fewer, more each time. */
function microBatchesToTry({ microBatches, layout: { pp }, virtualStages = 1 }: StepShape, every: number): number[] {
  const tried: number[] = [];
  const filled = virtualStages > 1 ? 2 * every : pp;
  for (let wanted = filled + beyondFilled * every; ; wanted *= 2) {
    const left = Math.floor((microBatches - wanted) / every);
    if (left <= 0) return [...tried, microBatches];
    tried.push(microBatches - left * every);
  }
}

/** Simulates a step whose programs run as `jobOf` says. */
export function simulateWhole(
  step: StepShape,
  jobOf: (programs: SimulationJob['programs']) => SimulationJob,
): WholeStep | UnknownEstimate {
  // interleaved stages take micro-batches in rounds of as many as there are stages
  const every = (step.virtualStages ?? 1) > 1 ? step.layout.pp : 1;
  for (const microBatches of microBatchesToTry(step, every)) {
    const job = jobOf(pipelineStep({ ...step, microBatches }));
    // where ranks are alike, so are nodes: routing asks for neither layer nor micro-batch
    const anywhere = job.bindings.every(({ alike }) => alike !== undefined);
    const simulation = simulate(anywhere ? { ...job, programs: likePrograms(job.programs) } : job);
    if (!simulation.known) return simulation;
    const { summary, steps } = simulation;
    const { busySeconds, beforeUpdateSeconds } = stageWork(steps);
    const of = { known: true, basis: summary.basis, simulatedMicroBatches: microBatches } as const;
    const seconds = summary.makespanSeconds;
    if (microBatches === step.microBatches) return { ...of, seconds, busySeconds, beforeUpdateSeconds };
    const period = periodOf(steps, { microBatches, every });
    if (period === undefined) continue;
    const periods = (step.microBatches - microBatches) / every;
    return {
      ...of,
      seconds: seconds + periods * period.seconds,
      beforeUpdateSeconds: beforeUpdateSeconds + periods * period.seconds,
      busySeconds: busySeconds.map((busy, stage) => busy + periods * (period.busySeconds[stage] ?? 0)),
    };
  }
  throw new RangeError('no number of micro-batches was tried');
}
