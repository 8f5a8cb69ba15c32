/** Flags and help of `monta simulate`; what it does is in `simulate.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import { limits } from '@monta/core/units';
import { parseDispatch } from '@monta/core/schedule';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { costFlags } from './cost-flags.js';
import { calibrationFlag, countFlag, helpText, jsonFlag, lazy, seedFlag } from './flags.js';
import { stepFlags, subjectFlags } from './layer-inputs.js';
import { routingFlag } from './routing-flag.js';
import type { AskedSimulateFlags } from './simulate.flags.js';

export const simulateCommand = buildCommand<AskedSimulateFlags, [], MontaContext>({
  loader: lazy(async () => (await import('./simulate.js')).runSimulate),
  parameters: {
    flags: {
      of: {
        kind: 'enum',
        values: ['layer', 'dispatch', 'step'],
        brief: 'One MoE layer, its dispatch and combine alone, or a training step; forward and backward',
        default: 'layer',
      },
      model: { ...subjectFlags.model, optional: true },
      cluster: { ...subjectFlags.cluster, optional: true },
      layout: { ...subjectFlags.layout, optional: true },
      plan: {
        kind: 'parsed',
        parse: String,
        placeholder: 'plan.json',
        brief: 'What monta plan --output wrote, in place of model, cluster, layout, dispatch and batch',
        optional: true,
      },
      dispatch: {
        kind: 'parsed',
        parse: parseDispatch,
        placeholder: 'auto|scattered:4/2',
        brief: 'How tokens travel, with chunk counts forward / backward; auto: what monta plan chooses',
        default: 'auto',
      },
      ...stepFlags,
      routing: routingFlag(),
      dtype: {
        kind: 'enum',
        values: ['bf16', 'f32'],
        brief: 'Type of activations and of the arithmetic',
        default: 'bf16',
      },
      exact: {
        kind: 'boolean',
        brief: 'Simulate every rank (default: one rank of every kind, with the same result)',
        default: false,
      },
      rank: { ...countFlag('number', 'Whose timeline is shown', limits.ranks, 0), default: '0' },
      seed: seedFlag('Of skewed routing'),
      perfetto: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file.json',
        brief: 'Write all ranks for ui.perfetto.dev',
        optional: true,
      },
      svg: {
        kind: 'parsed',
        parse: String,
        placeholder: 'file.svg',
        brief: 'Draw the timeline of the rank',
        optional: true,
      },
      ...costFlags,
      calibration: calibrationFlag,
      json: jsonFlag,
    },
  },
  docs: {
    brief: briefs.simulate,
    fullDescription: helpText(
      'Simulates a program on the cluster and prints the timeline of one rank: every operation with its start, ' +
        'waiting and end, what each\n' +
        'lane did and how much of it was hidden, the bytes of every tier and port, and the critical path with what ' +
        'binds it.\n' +
        'Everything is predicted, nothing is measured.',
      [
        [
          'monta simulate --model 2x70b --cluster a800-2x8 --layout tp=8,dp=2,ep=2 --dispatch scattered:4/2',
          'one MoE layer',
        ],
        [
          'monta simulate --of dispatch --model dbrx --cluster a800-2x8-1nic --layout tp=8,dp=2,ep=2 --svg ' +
            'timeline.svg',
          'dispatch and combine alone',
        ],
        [
          'monta simulate --of step --model mixtral-8x7b --cluster h100-2x8 --layout tp=4,dp=4,ep=4 --perfetto ' +
            'step.json',
          'a whole step',
        ],
        ['monta simulate --of step --plan plan.json', 'the step of a plan of one stage (plan --framework monta)'],
      ],
    ),
  },
});
