/** A configuration of torchtitan (b5bcd76c, 0.3.0), as TOML. */
import { deviceCount } from '../../cluster/index.js';
import { halvesName, plainPair } from '../../schedule/index.js';
import { InputError } from '../../units/errors.js';
import { architectureOf } from '../architecture.js';
import type { Exported, ExportOptions, ExportPlan, ExportSetting } from './exported.js';

const refuse = (path: string, message: string, expected: string): InputError =>
  new InputError(`torchtitan can't do this: ${message}`, { path, expected });

function dispatcherOf({ strategy, cluster, layout }: ExportPlan, { nearest = false }: ExportOptions): string {
  const name = halvesName(strategy);
  if (name === 'deduplicated') return architectureOf(cluster.device.name) === 'blackwell' ? 'hybridep' : 'deepep';
  const plain = layout.tp === 1 ? plainPair(strategy) : name === 'scattered' || name === 'sliced';
  if (!plain && !nearest)
    throw new InputError(`torchtitan has no dispatcher like ${name}`, {
      path: 'strategy',
      expected: 'scattered, sliced or deduplicated',
      hint: '--nearest writes alltoall',
    });
  return 'alltoall';
}

/** Keys as `section.name`. Throws `InputError` for layouts that torchtitan refuses. */
export function torchtitanSettings(plan: ExportPlan, options: ExportOptions): Exported {
  const { model, layout, sequence, sequences, microBatches, strategy, recompute = 'none', cluster } = plan;
  const { tp, pp, cp, dp, ep, etp } = layout;
  if (model.experts > 0 && etp > 1)
    throw refuse(
      'layout.etp',
      `expert tensor parallel size ${etp}: it was removed (#3167)`,
      'etp=1, with ep up to tp·cp·dp',
    );
  const { forward, backward } = strategy.chunks;
  const of = (field: string, value: ExportSetting['value'], reason: string): ExportSetting => ({
    field,
    value,
    reason,
  });
  return {
    settings: [
      of('parallelism.data_parallel_replicate_degree', 1, 'parameters are sharded over all replicas'),
      of(
        'parallelism.data_parallel_shard_degree',
        dp,
        `${dp} replicas; the product of all degrees is ${deviceCount(cluster)}`,
      ),
      of(
        'parallelism.context_parallel_degree',
        cp,
        cp === 1 ? 'sequences stay whole' : `${sequence} tokens over ${cp}`,
      ),
      of('parallelism.tensor_parallel_degree', tp, `${model.attentionHeads} heads over ${tp}`),
      of(
        'parallelism.pipeline_parallel_degree',
        pp,
        pp === 1 ? 'no pipeline' : `${model.layers} layers over ${pp} stages`,
      ),
      ...(pp > 1
        ? [of('parallelism.pipeline_parallel_microbatch_size', sequences, 'sequences of one micro-batch')]
        : []),
      ...(model.experts > 0
        ? [
            of('parallelism.expert_parallel_degree', ep, `${model.experts} experts, ${model.experts / ep} a rank`),
            of('parallelism.expert_parallel_comm_backend', dispatcherOf(plan, options), 'how tokens travel to experts'),
          ]
        : []),
      of('training.seq_len', sequence, 'tokens of a sequence'),
      of(
        'training.local_batch_size',
        pp > 1 ? sequences * microBatches : sequences,
        pp > 1
          ? 'sequences of a replica in a step, cut into micro-batches by the pipeline'
          : 'sequences of one micro-batch',
      ),
      of(
        'training.global_batch_size',
        sequences * microBatches * dp,
        `${sequences} x ${microBatches} micro-batches x ${dp} replicas`,
      ),
      of(
        'activation_checkpoint.mode',
        recompute === 'none' || recompute === 'full' ? recompute : 'selective',
        recompute === 'none' ? 'everything is kept' : 'parts are computed again',
      ),
    ],
    environment: [],
    notes: [
      ...(forward > 1 || backward > 1
        ? [
            `chunks: torchtitan's compile.ep_overlap cuts the batch or the sequence itself; the plan's ${forward} ` +
              `and ${backward} chunks have no key`,
          ]
        : []),
      ...(layout.tp > 1 && !layout.sequenceParallel
        ? ['torchtitan runs tensor parallelism with sequence parallelism']
        : []),
    ],
  };
}

const scalar = (value: ExportSetting['value']): string =>
  typeof value === 'string' ? JSON.stringify(value) : Array.isArray(value) ? JSON.stringify(value) : String(value);

/** The TOML of settings by section. */
export function writeTorchtitan(plan: ExportPlan, { settings, notes }: Exported): string {
  const sections = new Map<string, string[]>();
  for (const { field, value, reason } of settings) {
    const [section = '', name = ''] = field.split('.');
    const lines = sections.get(section) ?? [];
    sections.set(section, lines);
    lines.push(`${name} = ${scalar(value)}  # ${reason}`);
  }
  const body = [...sections].flatMap(([section, lines]) => ['', `[${section}]`, ...lines]);
  const head = `# ${plan.model.name} on ${plan.cluster.name}: written by monta export`;
  return [head, ...notes.map((note) => `# NOTE ${note}`), ...body, ''].join('\n');
}
