/** What to say where no plan fits. */
import { deviceCount } from '../../cluster/index.js';
import { countParameters } from '../../model/index.js';
import { InputError } from '../../units/errors.js';
import { formatBytes, formatInteger } from '../../units/index.js';
import type { StepModel } from '../search/step-model.js';
import type { PlanProblem } from '../space/problem.js';
import { nearestPlan } from './nearest.js';
import { layoutText } from './plan-facts.js';

/** Why there is no plan, and what is near and fits. */
export function noPlan(problem: PlanProblem, stepModel: () => StepModel): InputError {
  const { model, cluster } = problem;
  const nearest = nearestPlan(problem, stepModel);
  const { total } = countParameters(model);
  return new InputError(
    `no layout of ${model.name} (${formatInteger(Math.round(total / 1e9))} billion parameters) fits on ` +
      `${formatInteger(deviceCount(cluster))} x ${formatBytes(cluster.device.memoryBytes, 'binary')}`,
    {
      path: 'plan',
      expected: 'more devices, more memory, or fewer bounds',
      hint:
        nearest === undefined
          ? `nothing near fits on this kind of cluster`
          : `the nearest that fits: ${layoutText(nearest.best.setting)} on ` +
            `${formatInteger(deviceCount(nearest.cluster))} ` +
            `devices (${formatBytes(nearest.best.memoryBytes, 'binary')} each)` +
            (nearest.change === 'nothing is fixed' ? ', with nothing fixed' : ''),
    },
  );
}
