/** Tensors that states are made of on a stage, as Megatron-Core allocates them: to know one by its size. */
import { stageProgram, type MemorySetting } from './setting.js';
import { partElements, stageElements, stageHolding } from './stage-elements.js';
import { precisions, sharingRules } from './states.js';
import { slotElements, type Elements } from '../schedule/template-elements.js';

export interface StateTensor {
  readonly what: string;
  readonly bytes: number;
}

/**
 * Weights one by one, their copies and moments in the optimizer where it does not share them, and the contiguous
 * buffers of gradients (`ParamAndGradBuffer` in megatron/core/distributed/param_and_grad_buffer.py: one for dense
 * parameters, one for experts).
 */
export function stateTensors(setting: MemorySetting, stage: number): StateTensor[] {
  const { templates } = stageProgram(setting, stage);
  const { layout } = setting.step;
  const [precision, sharing] = [precisions[setting.precision], sharingRules[setting.sharing]];
  const { all } = stageElements(stageHolding(setting.step, stage), partElements(setting.step, templates));
  const slots = slotElements(Object.values(templates));
  const ranksOf: Elements = { dense: layout.dp * layout.cp, expert: layout.edp };
  const share = (kind: keyof Elements, split: boolean): number => all[kind] / (split ? ranksOf[kind] : 1);
  const kinds = (['dense', 'expert'] as const).filter((kind) => all[kind] > 0);
  return [
    ...kinds.map((kind) => ({
      what: `the buffer of ${kind} gradients`,
      bytes: share(kind, sharing.gradients) * precision.gradient,
    })),
    ...kinds.map((kind) => ({
      what: `the optimizer's copy of all ${kind} weights, or a moment of them`,
      bytes: share(kind, sharing.optimizer) * Math.max(precision.main, precision.firstMoment),
    })),
    ...[...slots].flatMap(([slot, elements]) => [
      { what: `the weight ${slot}`, bytes: elements * precision.weight },
      { what: `the optimizer's copy of ${slot}, or a moment of it`, bytes: elements * precision.firstMoment },
    ]),
  ];
}
