/** Which schedules of a pipeline go with its stages and micro-batches. */
import type { PipelineSchedule } from '../../estimate/index.js';
import { limitsOf } from './frameworks.js';
import type { PlanProblem, SpacePoint } from './problem.js';

/** Whether a schedule goes with the stages and micro-batches of a point. */
export function runsAs(
  schedule: PipelineSchedule,
  pp: number,
  { virtualStages, microBatches }: Pick<SpacePoint, 'virtualStages' | 'microBatches'>,
): boolean {
  switch (schedule) {
    case '1f1b':
      return virtualStages === 1;
    case 'zero-bubble':
      return pp > 1 && virtualStages === 1;
    // Megatron-Core interleaves in rounds of as many micro-batches as stages (`schedule/pipeline-order.ts`).
    case 'interleaved':
      return virtualStages > 1 && microBatches % pp === 0;
    // Micro-batches enter from both ends, two for every stage at least (deepseek-ai/DualPipe, dualpipe.py).
    case 'dualpipe':
      return virtualStages === 1 && pp > 1 && pp % 2 === 0 && microBatches % 2 === 0 && microBatches >= 2 * pp;
    // A device holds a stage of either half (deepseek-ai/DualPipe, dualpipev.py).
    case 'dualpipe-v':
      return virtualStages === 2 && microBatches >= 2 * pp;
  }
}

/** Schedules that a framework has and a person wants. */
export function wantedSchedules(
  problem: Pick<PlanProblem, 'fixed' | 'framework' | 'programs'>,
): readonly PipelineSchedule[] {
  const { schedule: fixed } = problem.fixed;
  const { schedules } = limitsOf(problem);
  if (fixed === undefined) return schedules;
  return schedules.filter((schedule) => (typeof fixed === 'string' ? fixed === schedule : fixed.includes(schedule)));
}
