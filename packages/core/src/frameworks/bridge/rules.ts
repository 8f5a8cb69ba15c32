/** What Megatron-Bridge checks otherwise than Megatron-LM (training/{config,comm_overlap}.py at 067f987d). */
import { megatronRules } from '../megatron/check.js';
import { broken, type Rule } from '../megatron/rule.js';
import type { MegatronRun } from '../megatron/run.js';
import { lengthFields } from './fields.js';

const stops = 'the configuration is refused';
const mxfp8 = (run: MegatronRun): boolean => run.given('fp8') && run.text('fp8_recipe') === 'mxfp8';

/** Rules of Megatron-LM's argument parser, which a configuration does not go through; and one that any recipe keeps. */
const ofParser: readonly string[] = [
  'sequence-parallel-alone',
  'tensor-parallel-overlap',
  'te-cross-entropy',
  'expert-parallel-without-experts',
];

/** A recipe's launcher sets the variable where nothing else does. */
const whereSet = (rule: Rule): Rule =>
  rule.id === 'connections-must-be-1'
    ? {
        ...rule,
        check: (run) => (run.variable('CUDA_DEVICE_MAX_CONNECTIONS') === undefined ? undefined : rule.check(run)),
      }
    : rule;

const own: readonly Rule[] = [
  {
    id: 'bridge-sequence-parallel-alone',
    severity: 'error',
    fields: ['sequence_parallel', 'tensor_model_parallel_size'],
    check: (run) =>
      run.on('sequence_parallel') && run.tensor === 1
        ? broken('sequence parallelism with tensor parallel size 1', 'model.sequence_parallel=false', stops)
        : undefined,
  },
  {
    id: 'bridge-tensor-parallel-overlap',
    severity: 'changed',
    fields: ['tp_comm_overlap'],
    check: (run) =>
      run.on('tp_comm_overlap') && ((run.tensor ?? 2) < 2 || !run.on('sequence_parallel'))
        ? broken(
            'tp_comm_overlap without tensor and sequence parallelism',
            'drop it, or switch both on',
            'it is dropped without a word',
          )
        : undefined,
  },
  {
    id: 'bridge-stage-overlap',
    severity: 'changed',
    fields: ['overlap_p2p_comm', 'align_param_gather'],
    check: (run) => {
      const asked = ['overlap_p2p_comm', 'align_param_gather'].filter(
        (field) => run.settings.fields.has(field) && run.on(field),
      );
      return asked.length > 0 && !run.interleaved
        ? broken(`${asked.join(' and ')} without interleaving`, 'drop it, or give virtual stages', 'it is switched off')
        : undefined;
    },
  },
  {
    id: 'bridge-delayed-weight-gradients',
    severity: 'error',
    fields: ['delay_wgrad_compute'],
    check: (run) =>
      run.on('delay_wgrad_compute') && run.olderThan('te', '2.7')
        ? broken('delay_wgrad_compute with an old TransformerEngine', 'TransformerEngine 2.7', stops)
        : undefined,
  },
  {
    id: 'bridge-mxfp8-parameters',
    severity: 'error',
    fields: ['fp8_param_gather', 'reuse_grad_buf_for_mxfp8_param_ag'],
    check: (run) =>
      mxfp8(run) && run.on('fp8_param_gather') && !run.on('reuse_grad_buf_for_mxfp8_param_ag')
        ? broken(
            'parameters gathered in mxfp8 without the buffer of the gradients',
            'reuse_grad_buf_for_mxfp8_param_ag=true',
            stops,
          )
        : undefined,
  },
  {
    id: 'bridge-training-length',
    severity: 'error',
    fields: ['train_iters', 'train_samples'],
    check: (run) => {
      const given = lengthFields.filter((field) => run.settings.fields.has(field));
      return given.length > 1 ? broken(`${given.join(' and ')} at once`, 'one of them', stops) : undefined;
    },
  },
  {
    id: 'bridge-packing-overlap',
    severity: 'changed',
    fields: ['overlap_moe_expert_parallel_comm', 'delay_wgrad_compute'],
    check: (run) =>
      run.settings.fields.has('packing_buffer_size') &&
      (run.on('overlap_moe_expert_parallel_comm') || run.on('delay_wgrad_compute'))
        ? broken(
            'the overlap of experts with native packing of sequences (dataset.packing_buffer_size)',
            'keep one of them',
            'the overlap and delayed weight gradients are switched off, with a warning',
          )
        : undefined,
  },
  {
    id: 'bridge-order-with-fsdp',
    severity: 'error',
    fields: ['use_tp_pp_dp_mapping', 'use_megatron_fsdp'],
    check: (run) =>
      run.on('use_tp_pp_dp_mapping') && run.fullyShardedMegatron
        ? broken('use_tp_pp_dp_mapping with Megatron-FSDP', 'one of them', stops)
        : undefined,
  },
];

export const bridgeRules: readonly Rule[] = [
  ...megatronRules.filter(({ id }) => !ofParser.includes(id)).map(whereSet),
  ...own,
];
/** Those that are not Megatron-LM's. */
export const ownBridgeRules = own;
