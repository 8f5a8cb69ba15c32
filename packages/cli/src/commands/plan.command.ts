/** Flags and help of `monta plan`; what it does is in `plan.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import { limits } from '@monta/core/units';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { costFlags } from './cost-flags.js';
import { calibrationFlag, countFlag, helpText, jsonFlag, lazy, seedFlag } from './flags.js';
import { stepFlags, subjectFlags } from './layer-inputs.js';
import { memoryFlags, parseRecompute, sharingNames } from './memory-flags.js';
import { searchFlags } from './search-flags.js';
import { routingFlag } from './routing-flag.js';
import type { PlanFlags } from './plan.flags.js';

export const planCommand = buildCommand<PlanFlags, [], MontaContext>({
  loader: lazy(async () => (await import('./plan.js')).runPlan),
  parameters: {
    flags: {
      ...subjectFlags,
      layout: {
        kind: 'parsed',
        parse: String,
        placeholder: 'tp=8,dp=2,ep=2',
        brief: 'Choose how tokens travel under these degrees (tp, cp, dp, pp, ep, etp, sp); left out: search them all',
        optional: true,
      },
      ...stepFlags,
      ...memoryFlags,
      weightShards: {
        ...countFlag(
          'count',
          'Ranks that each dense weight is split over beside tp (searched; with a layout 1)',
          limits.ranks,
        ),
        optional: true,
      },
      expertWeightShards: {
        ...countFlag('count', "The same of experts' weights, beside etp", limits.ranks),
        optional: true,
      },
      sharing: {
        kind: 'enum',
        values: sharingNames,
        optional: true,
        brief: 'How ranks share parameters, gradients and states (searched; with a layout distributed-optimizer)',
      },
      recompute: {
        kind: 'parsed',
        parse: parseRecompute,
        placeholder: 'none|selective|full|modules',
        optional: true,
        brief: 'What the backward computes again (searched; with a layout none)',
      },
      ...searchFlags,
      routing: routingFlag(),
      scope: {
        kind: 'enum',
        values: ['dispatch', 'layer'],
        brief: 'Compare dispatch and combine alone, or the MoE layer with router and experts',
        default: 'layer',
      },
      dtype: {
        kind: 'enum',
        values: ['bf16', 'f32'],
        brief: 'Type of activations and of the arithmetic',
        default: 'bf16',
      },
      seed: seedFlag('Of skewed routing'),
      flips: {
        kind: 'boolean',
        brief: 'Look for the tokens and bandwidths at which the answer changes',
        default: true,
      },
      ...costFlags,
      calibration: calibrationFlag,
      json: jsonFlag,
    },
  },
  docs: {
    brief: briefs.plan,
    fullDescription: helpText(
      'Without --layout: searches degrees, virtual stages, micro-batches, schedules, exchanges, sharing and ' +
        'recomputation for the\n' +
        'fastest step that fits, and prints it beside the best of other kinds: what binds, bytes, memory, bounds, ' +
        'what would change the\n' +
        'answer. Ctrl-C ends with the best so far.\n' +
        'With --layout: simulates every way to dispatch and combine, with chunk counts of their own forward and ' +
        'backward, and prints them fastest\n' +
        'first: time of one layer, bytes that a rank sends on each tier, the share of communication that is ' +
        'hidden, and what the\n' +
        'figures rest on. Then why, how far the next one is, where the answer flips, and the predicted step. ' +
        'Nothing is measured.',
      [
        ['monta plan --model deepseek-v3 --cluster h800-256x8 --global-batch 15360', 'the layout of a whole run'],
        [
          'monta plan --model mixtral-8x22b --cluster h100-16x8 --framework megatron --pp 1..4 --output plan.json',
          'bounded, for Megatron-Core',
        ],
        [
          'monta plan --model 2x70b --cluster a800-2x8 --layout tp=8,dp=2,ep=2 --sequence 8192',
          'the case of the paper',
        ],
        ['monta plan --model mixtral-8x7b --cluster h100-2x8 --layout tp=4,dp=4,ep=4,sp', 'with sequence parallelism'],
        ['monta plan --model dbrx --cluster a800-2x8-1nic --layout tp=8,dp=2,ep=2 --routing zipf:1', 'skewed experts'],
        [
          'monta plan --model deepseek-v3 --cluster h100-8x8 --layout tp=1,dp=64,ep=64 --routing group-limited=4/8',
          'experts of a token from 4 of 8 groups, as the model routes',
        ],
        [
          'monta plan --model dbrx --cluster a800-2x8-1nic --layout tp=8,dp=2,ep=2 --routing recorded=routing.json',
          'as a run recorded it (docs/planning.md)',
        ],
        [
          'monta plan --model 2x70b --cluster a800-2x8 --layout tp=8,dp=2,ep=2 --calibration cluster.json',
          'with measured link curves',
        ],
        ['monta plan --model 2x70b --cluster a800-2x8 --layout tp=8,dp=2,ep=2 --json', 'for scripts'],
      ],
    ),
  },
});
