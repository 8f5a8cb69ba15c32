/** What a framework can run of the space, each limit with where it is said. */
import type { MoeModel } from '../../model/model.js';
import type { SharingName } from '../../memory/states.js';
import type { AxisName } from './bounds.js';
import type { Degrees } from './rules.js';

export const frameworkNames = ['megatron', 'deepspeed', 'monta'] as const;
export type FrameworkName = (typeof frameworkNames)[number];

/** Why a framework refuses a value of an axis, given those before it. */
export interface FrameworkRule {
  readonly axis: AxisName;
  readonly holds: (degrees: Degrees, model: MoeModel) => boolean;
  readonly why: string;
  readonly expected: string;
}

export interface FrameworkLimits {
  readonly rules: readonly FrameworkRule[];
  /** Whether TP ranks hold slices of the tokens outside attention and experts. */
  readonly sequenceParallel: boolean;
  readonly sharings: readonly SharingName[];
}

const only = (axis: AxisName, why: string): FrameworkRule => ({
  axis,
  holds: (degrees) => degrees[axis] === 1,
  why,
  expected: `${axis}=1`,
});

/** Of a search that names no framework. */
export const unlimited: FrameworkLimits = {
  rules: [],
  sequenceParallel: true,
  sharings: ['none', 'distributed-optimizer', 'zero2', 'zero3', 'fsdp'],
};

export const frameworkLimits: Readonly<Record<FrameworkName, FrameworkLimits>> = {
  // megatron/training/arguments.py: experts beside TP ask for sequence parallelism; FSDP runs without a pipeline
  megatron: { rules: [], sequenceParallel: true, sharings: ['none', 'distributed-optimizer', 'fsdp'] },
  deepspeed: {
    rules: [
      only('cp', 'AutoEP runs without context parallelism'),
      only('pp', 'expert parallelism beside tensor parallelism runs without a pipeline'),
      only('etp', 'AutoEP takes expert tensor parallel size 1 alone'),
      only('virtualStages', 'there is no pipeline'),
      {
        axis: 'tp',
        holds: ({ tp }, { latentAttention, keyValueHeads }) =>
          latentAttention !== undefined || keyValueHeads % tp === 0,
        why: 'AutoTP splits heads of keys and values and does not copy them',
        expected: 'a divisor of the key-value heads',
      },
    ],
    sequenceParallel: false,
    // beside tensor parallelism AutoEP takes stage 2 at most
    sharings: ['zero1', 'zero2'],
  },
  monta: {
    rules: [
      {
        axis: 'cp',
        holds: ({ tp, cp }, { attentionHeads, keyValueHeads }) =>
          attentionHeads % (tp * cp) === 0 && (keyValueHeads % (tp * cp) === 0 || cp === 1),
        why: 'attention exchanges heads over context parallel ranks',
        expected: 'tp·cp that divides the heads',
      },
    ],
    sequenceParallel: true,
    sharings: ['none'],
  },
};

export const limitsOf = (framework: FrameworkName | undefined): FrameworkLimits =>
  framework === undefined ? unlimited : frameworkLimits[framework];
