/** Rules about pipeline stages (megatron/training/arguments.py, core/pipeline_parallel/schedules.py). */
import { broken, divisors, whenKnown, type Rule } from './rule.js';
import { countSign } from './read-stage-layout.js';
import type { MegatronRun } from './run.js';

const unevenFields = ['decoder_first_pipeline_num_layers', 'decoder_last_pipeline_num_layers'];
const accountFields = ['account_for_embedding_in_pipeline_split', 'account_for_loss_in_pipeline_split'];
const virtualFields = [
  'num_layers_per_virtual_pipeline_stage',
  'num_virtual_stages_per_pipeline_rank',
  'pipeline_model_parallel_layout',
];

const givenOf = (run: MegatronRun, fields: readonly string[]): string[] => fields.filter((field) => run.given(field));
const flags = (fields: readonly string[]): string =>
  fields.map((field) => `--${field.replaceAll('_', '-')}`).join(', ');

/** Virtual stages a rank; 1 without interleaving, undefined where a layout string decides. */
function virtualStages(run: MegatronRun): number | undefined {
  if (run.given('pipeline_model_parallel_layout')) return undefined;
  const stages = run.number('num_virtual_stages_per_pipeline_rank');
  if (stages !== undefined) return stages;
  const layers = run.number('num_layers_per_virtual_pipeline_stage');
  const [all, ranks] = [run.number('num_layers'), run.pipeline];
  return layers === undefined ? 1 : all === undefined || ranks === undefined ? undefined : all / ranks / layers;
}

export const pipelineRules: readonly Rule[] = [
  {
    id: 'layers-over-stages',
    severity: 'error',
    fields: ['num_layers', 'pipeline_model_parallel_size'],
    check: (run) => {
      const other = [...unevenFields, 'pipeline_model_parallel_layout', 'hybrid_layer_pattern'];
      if (givenOf(run, other).length > 0) return undefined;
      const extra = accountFields.filter((field) => run.on(field)).length;
      return whenKnown([run.number('num_layers'), run.pipeline], (layers, stages) =>
        (layers + extra) % stages === 0
          ? undefined
          : broken(
              `${layers} layers${extra > 0 ? ` and ${extra} for the ends` : ''} are not divisible by ${stages} stages`,
              `stages of ${divisors(layers + extra, 64).join(', ')}, --pipeline-model-parallel-layout, or an ` +
                'uneven first or last stage',
            ),
      );
    },
  },
  {
    id: 'one-way-to-virtual-stages',
    severity: 'error',
    fields: virtualFields,
    check: (run) => {
      const given = givenOf(run, virtualFields);
      return given.length > 1 ? broken(`${flags(given)} at once`, 'keep one of them') : undefined;
    },
  },
  {
    id: 'layout-alone',
    severity: 'error',
    fields: ['pipeline_model_parallel_layout'],
    check: (run) => {
      const given = givenOf(run, [...unevenFields, ...accountFields]);
      return run.given('pipeline_model_parallel_layout') && given.length > 0
        ? broken(`a layout string together with ${flags(given)}`, 'say it in the layout string alone')
        : undefined;
    },
  },
  {
    id: 'layout-stages',
    severity: 'error',
    fields: ['pipeline_model_parallel_layout'],
    check: (run) =>
      whenKnown([run.layoutStages?.length, run.pipeline], (count, ranks) =>
        count % ranks === 0
          ? undefined
          : broken(`a layout of ${count} stages over ${ranks} ranks`, `a multiple of ${ranks}`),
      ),
  },
  {
    id: 'layout-layers',
    severity: 'error',
    fields: ['pipeline_model_parallel_layout', 'num_layers', 'mtp_num_layers'],
    check: (run) => {
      const stages = run.layoutStages;
      if (stages === undefined) return undefined;
      const [layers, multi] = [run.number('num_layers'), run.number('mtp_num_layers') ?? 0];
      const found = countSign(stages, 't');
      if (layers !== undefined && found !== layers)
        return broken(`a layout of ${found} decoder layers, and --num-layers ${layers}`, 'as many t as layers');
      if (!run.settings.fields.has('mtp_num_layers') && run.context.from === 'overrides') return undefined;
      const predicted = countSign(stages, 'm');
      return predicted === multi
        ? undefined
        : broken(`a layout of ${predicted} multi-token layers, and --mtp-num-layers ${multi}`, 'as many m as layers');
    },
  },
  {
    id: 'layout-ends',
    severity: 'error',
    fields: ['pipeline_model_parallel_layout'],
    check: (run) => {
      const stages = run.layoutStages;
      if (stages === undefined) return undefined;
      const one = countSign(stages, 'E') === 1 && countSign(stages, 'L') === 1;
      return one && stages.join('').startsWith('E') && stages.join('').endsWith('L')
        ? undefined
        : broken('a layout that does not begin with the embedding and end with the loss', 'E first, L last, each once');
    },
  },
  {
    id: 'uneven-with-ends',
    severity: 'error',
    fields: unevenFields,
    check: (run) =>
      givenOf(run, unevenFields).length > 0 && accountFields.some((field) => run.on(field))
        ? broken('an uneven first or last stage together with layers accounted for the ends', 'keep one of the two')
        : undefined,
  },
  {
    id: 'middle-stages',
    severity: 'error',
    fields: unevenFields,
    check: (run) => {
      const ends = givenOf(run, unevenFields);
      if (ends.length === 0) return undefined;
      return whenKnown(
        [run.number('num_layers'), run.pipeline, ...ends.map((field) => run.number(field))],
        (layers, stages, ...taken) => {
          const middle = layers - taken.reduce((sum, count) => sum + count, 0);
          const ranks = stages - taken.length;
          const each = middle / ranks;
          const virtual = virtualStages(run) ?? 1;
          if (ranks <= 0 ? middle === 0 : Number.isInteger(each) && each % virtual === 0) return undefined;
          return broken(
            `${middle} layers are left for ${ranks} middle stages${virtual > 1 ? ` of ${virtual} virtual ones` : ''}`,
            'other numbers for the ends, so that the rest divides',
          );
        },
      );
    },
  },
  {
    id: 'virtual-stages-divide',
    severity: 'error',
    fields: virtualFields,
    check: (run) => {
      if (givenOf(run, [...unevenFields, ...accountFields, 'hybrid_layer_pattern']).length > 0) return undefined;
      return whenKnown([run.number('num_layers'), run.pipeline, virtualStages(run)], (layers, stages, virtual) =>
        virtual === 1 || (Number.isInteger(virtual) && (layers / stages) % virtual === 0)
          ? undefined
          : broken(
              `${layers / stages} layers a rank do not make whole virtual stages`,
              'layers a virtual stage that divide the layers of a rank',
            ),
      );
    },
  },
  {
    id: 'micro-batch-group',
    severity: 'error',
    fields: ['microbatch_group_size_per_vp_stage', 'global_batch_size'],
    check: (run) => {
      if (!run.interleaved) return undefined;
      const group = run.number('microbatch_group_size_per_vp_stage') ?? run.pipeline;
      return whenKnown([group, run.pipeline, run.microBatches], (size, stages, batches) => {
        const rest = batches % size;
        return size >= stages && size <= batches && (rest === 0 || rest >= stages)
          ? undefined
          : broken(
              `groups of ${size} micro-batches with ${stages} stages and ${batches} micro-batches`,
              `a group from ${stages} to ${batches} whose remainder is 0 or at least ${stages}`,
            );
      });
    },
  },
  {
    id: 'interleaving-needs-stages',
    severity: 'error',
    fields: virtualFields,
    check: (run) => {
      const least = run.on('overlap_p2p_comm') ? 2 : 3;
      return run.interleaved && (run.pipeline ?? least) < least
        ? broken(`interleaving with ${run.pipeline} stages`, `at least ${least} stages`)
        : undefined;
    },
  },
  {
    id: 'warm-up-overlap',
    severity: 'error',
    fields: ['overlap_p2p_comm_warmup_flush'],
    check: (run) =>
      run.on('overlap_p2p_comm_warmup_flush') && !(run.interleaved && run.on('overlap_p2p_comm'))
        ? broken(
            '--overlap-p2p-communication-warmup-flush without interleaving or without overlapped point-to-point ' +
              'transfers',
            'add virtual stages and drop --no-overlap-p2p-communication',
          )
        : undefined,
  },
  {
    id: 'stages-in-the-pattern',
    severity: 'error',
    fields: ['hybrid_layer_pattern'],
    check: (run) => {
      const given = givenOf(run, [...virtualFields, ...accountFields]);
      return run.text('hybrid_layer_pattern')?.includes('|') === true && given.length > 0
        ? broken(`stages in --hybrid-layer-pattern together with ${flags(given)}`, 'say it in the pattern alone')
        : undefined;
    },
  },
  {
    id: 'last-stage-load',
    severity: 'slow',
    fields: ['mtp_num_layers', 'pipeline_model_parallel_size'],
    check: (run) => {
      const even = givenOf(run, [...unevenFields, 'pipeline_model_parallel_layout']).length === 0;
      const ends = accountFields.some((field) => run.on(field));
      return (run.number('mtp_num_layers') ?? 0) > 0 && (run.pipeline ?? 1) > 1 && even && !ends
        ? broken(
            'multi-token prediction and the output layer both stand on the last stage, which has as many layers as ' +
              'the others',
            'give the last stage fewer layers (--pipeline-model-parallel-layout or --decoder-last-pipeline-num-layers)',
            'the last stage is the slowest, and all wait for it',
          )
        : undefined;
    },
  },
];
