/** What torchtitan refuses (torchtitan/config, distributed/parallel_dims.py, trainer.py at b5bcd76c, 0.3.0). */
import { nearest } from '../../units/nearest.js';
import { lastName } from '../assigned/assignment.js';
import type { Finding } from '../finding.js';
import { degreeKeys, parallelismDefaults, type TorchtitanRun } from './run.js';

interface Broken {
  readonly message: string;
  readonly mend: string;
}

export interface TorchtitanRule {
  readonly id: string;
  /** Keys that take part, the one to change first. */
  readonly keys: readonly string[];
  readonly check: (run: TorchtitanRun) => Broken | undefined;
}

const when = (condition: boolean, message: string, mend: string): Broken | undefined =>
  condition ? { message, mend } : undefined;

const backends = ['standard', 'alltoall', 'deepep', 'hybridep', 'minimal_async_ep'];
const overlap = (name: string): string => `compile.ep_overlap.${name}`;
const overlapChoices: readonly (readonly [name: string, choices: readonly string[]])[] = [
  ['chunk_dim', ['batch', 'seq']],
  ['strategy', ['eager', 'graph']],
  ['module_fqn', ['layers.*', 'layers.*.moe']],
];

export const torchtitanRules: readonly TorchtitanRule[] = [
  {
    id: 'torchtitan-world',
    keys: degreeKeys.map((name) => `parallelism.${name}`),
    check: (run) => {
      const { gpus } = run.context;
      const [beside, shards] = [run.besideShards, run.degree('data_parallel_shard_degree')];
      if (gpus === undefined || beside === undefined || shards === undefined) return undefined;
      return shards === -1
        ? when(
            gpus % beside !== 0,
            `${gpus} ranks are not a multiple of ${beside}, the product of the degrees`,
            `a multiple of ${beside}`,
          )
        : when(
            beside * shards !== gpus,
            `the degrees' product is ${beside * shards}, and the job has ${gpus} ranks`,
            'data_parallel_shard_degree -1 takes what is left',
          );
    },
  },
  {
    id: 'torchtitan-expert-ranks',
    keys: ['parallelism.expert_parallel_degree'],
    check: (run) => {
      const [ep, shards] = [run.degree('expert_parallel_degree'), run.shards];
      const [cp, tp] = [run.degree('context_parallel_degree'), run.degree('tensor_parallel_degree')];
      if (ep === undefined || shards === undefined || cp === undefined || tp === undefined) return undefined;
      return when(
        (shards * cp * tp) % ep !== 0,
        `expert_parallel_degree ${ep} does not divide the ${shards * cp * tp} ranks of shards, context and tensor`,
        `a divisor of ${shards * cp * tp}`,
      );
    },
  },
  {
    id: 'torchtitan-experts',
    keys: ['parallelism.expert_parallel_degree'],
    check: (run) => {
      const [ep, experts] = [run.degree('expert_parallel_degree'), run.context.model?.experts];
      if (ep === undefined || experts === undefined) return undefined;
      return when(
        ep > 1 && experts % ep !== 0,
        `${experts} experts do not divide over expert_parallel_degree ${ep}`,
        `a divisor of ${experts}`,
      );
    },
  },
  {
    id: 'torchtitan-expert-tensor-parallel',
    keys: ['parallelism.expert_tensor_parallel_degree'],
    check: (run) =>
      when(
        run.given('parallelism.expert_tensor_parallel_degree'),
        'expert_tensor_parallel_degree was removed (#3167)',
        'drop it: experts stay whole, and expert parallelism takes the tensor parallel ranks',
      ),
  },
  {
    id: 'torchtitan-backend',
    keys: ['parallelism.expert_parallel_comm_backend'],
    check: (run) =>
      when(
        !backends.includes(run.dispatcher),
        `expert_parallel_comm_backend ${run.dispatcher} is unknown`,
        `one of ${backends.join(', ')}`,
      ),
  },
  {
    id: 'torchtitan-expert-overlap',
    keys: overlapChoices.map(([name]) => overlap(name)),
    check: (run) => {
      for (const [name, choices] of overlapChoices) {
        const value = run.text(overlap(name));
        if (value !== undefined && !choices.includes(value))
          return { message: `ep_overlap's ${name} ${value} is unknown`, mend: `one of ${choices.join(', ')}` };
      }
      return when(
        run.text(overlap('chunk_dim')) === 'seq' && run.text(overlap('module_fqn')) !== 'layers.*.moe',
        'the sequence is cut, and whole layers overlap',
        'ep_overlap.module_fqn layers.*.moe, or chunk_dim batch',
      );
    },
  },
  {
    id: 'torchtitan-batch',
    keys: ['training.global_batch_size', 'training.local_batch_size'],
    check: (run) => {
      const [global, local] = [run.number('training.global_batch_size'), run.number('training.local_batch_size')];
      const { data } = run;
      if (global === undefined || local === undefined || data === undefined || global < 0) return undefined;
      return when(
        global % (local * data) !== 0,
        `global_batch_size ${global} is not a multiple of ${local} sequences x ${data} replicas`,
        `a multiple of ${local * data}`,
      );
    },
  },
  {
    id: 'torchtitan-sequence',
    keys: ['training.seq_len'],
    check: (run) => {
      const sequence = run.number('training.seq_len');
      const [cp, tp] = [run.degree('context_parallel_degree'), run.degree('tensor_parallel_degree')];
      if (sequence === undefined || cp === undefined || tp === undefined) return undefined;
      const parts = tp * (cp > 1 ? 2 * cp : 1);
      return when(
        sequence % parts !== 0,
        `seq_len ${sequence} is not a multiple of ${parts}: tensor and twice context parallel ranks share it`,
        `a multiple of ${parts}`,
      );
    },
  },
];

const ruleSource = 'torchtitan b5bcd76c (0.3.0)';

/** Keys of `parallelism` that it does not have. */
function unknownKeys(run: TorchtitanRun): Finding[] {
  const known = Object.keys(parallelismDefaults);
  const unknown = run.keys.filter(
    (key) =>
      key.startsWith('parallelism.') &&
      !known.includes(lastName(key)) &&
      !key.endsWith('.expert_tensor_parallel_degree'),
  );
  return unknown.map((key): Finding => {
    const [near, at] = [nearest(lastName(key), known), run.at(key)];
    return {
      severity: 'error',
      rule: 'torchtitan-unknown-key',
      flags: [key],
      message: `${key} is no key of torchtitan`,
      consequence: 'the configuration is refused',
      mend: near === undefined ? 'remove it, or check the version' : `did you mean parallelism.${near}?`,
      source: ruleSource,
      ...(at === undefined ? {} : { at }),
    };
  });
}

/** What is wrong with a run's configuration. */
export function checkTorchtitan(run: TorchtitanRun): Finding[] {
  const broken = torchtitanRules.flatMap(({ id, keys, check }): Finding[] => {
    const found = check(run);
    if (found === undefined) return [];
    const given = keys.filter((key) => run.given(key));
    const at = given.map((key) => run.at(key)).find((place) => place !== undefined);
    return [
      {
        severity: 'error',
        rule: id,
        flags: given.length > 0 ? given : keys.slice(0, 1),
        ...found,
        consequence: 'torchtitan stops at start',
        source: ruleSource,
        ...(at === undefined ? {} : { at }),
      },
    ];
  });
  return [...unknownKeys(run), ...broken];
}
