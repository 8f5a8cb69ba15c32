/** Flags and help of `monta lint`; what it does is in `lint.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import { limits } from '@monta/core/units';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { countFlag, helpText, jsonFlag, lazy, scriptVariablesFlag, sequenceFlag } from './flags.js';
import type { LintFlags } from './lint.flags.js';

export const lintCommand = buildCommand<LintFlags, [file: string, ...sourced: string[]], MontaContext>({
  loader: lazy(async () => (await import('./lint.js')).runLint),
  parameters: {
    flags: {
      json: jsonFlag,
      sarif: { kind: 'boolean', brief: 'Print SARIF 2.1.0, for code hosts', default: false, withNegated: false },
      gpus: {
        ...countFlag('count', 'Ranks of the job, where the script does not say', limits.ranks),
        optional: true,
      },
      cluster: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name|file',
        brief: 'Where it runs: some rules depend on the GPU',
        optional: true,
      },
      model: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name|config.json',
        brief: 'The model that the flags should describe',
        optional: true,
      },
      env: scriptVariablesFlag,
      args: {
        kind: 'parsed',
        parse: String,
        placeholder: '"a b c"',
        brief: 'Arguments of the script ($1 …), between spaces',
        optional: true,
      },
      sequence: sequenceFlag('Tokens of a sequence, where neither script nor configuration says it (DeepSpeed)'),
      software: {
        kind: 'parsed',
        parse: String,
        placeholder: 'name=version',
        brief: 'Version of torch or te (TransformerEngine): some flags need one; may be repeated',
        optional: true,
        variadic: true,
      },
    },
    positional: {
      kind: 'array',
      minimum: 1,
      parameter: {
        parse: String,
        placeholder: 'script',
        brief:
          'A launch script, then files that it sources or names; bare flags; or a configuration (YAML, TOML, JSON, ' +
          'Python)',
      },
    },
  },
  docs: {
    brief: briefs.lint,
    fullDescription: helpText(
      'Reads a shell script the way the shell would (variables, arrays, conditions, sourced files) and checks the ' +
        'flags of every\n' +
        'run in it: what stops the job, what is changed without a word, what makes it slow. Reads overrides of ' +
        'Megatron-Bridge\n' +
        'and NeMo (command line, YAML, Python), configurations of DeepSpeed and torchtitan. What only a running\n' +
        'machine knows is assumed, and said. With a cluster it also prices the step, names the changes of flags\n' +
        'that would save most, and the best plan beside. Exit code 1 when something stops the job.',
      [
        ['monta lint train_mixtral.sh', 'check a script'],
        ['monta lint train.sh common.sh --gpus 64 --cluster h100-8x8', 'with a file it sources, and the machine'],
        ['monta lint train.sh --env NNODES=4 --env MODEL_SIZE=8x7b', 'with variables of its environment'],
        ['monta lint overrides.yaml --gpus 64 --cluster h100-8x8', 'overrides of a recipe of Megatron-Bridge'],
        ['monta lint train.sh ds_config.json --cluster h100-2x8 --model mixtral-8x7b', 'DeepSpeed, priced'],
        ['monta lint flags.txt --model mixtral-8x7b', 'bare flags, against a model'],
        ['monta lint train.sh --cluster h100-8x8 --model mixtral-8x7b', 'priced, with changes by what they save'],
        ['monta lint train.sh --sarif > lint.sarif', 'for a code host'],
      ],
    ),
  },
});
