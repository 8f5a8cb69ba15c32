/** Megatron's flags as a shell script: bare, behind torchrun, or as a Slurm job. Each line says why it is there. */
import { deviceCount } from '../../cluster/index.js';
import { InputError } from '../../units/errors.js';
import { architectureOf } from '../architecture.js';
import { checkMegatron } from '../megatron/check.js';
import { megatronLaunches } from '../megatron/launch.js';
import { megatronFlags } from '../megatron/flags.js';
import { MegatronRun } from '../megatron/run.js';
import { readMegatronArguments } from '../megatron/settings.js';
import { readLaunchScript } from '../shell/launch-script.js';
import type { Exported, ExportPlan, ExportSetting } from './exported.js';

/** A word of a shell, quoted where the shell would read more into it. */
const word = (text: string): string => (/^[\w./:@%+,=-]+$/u.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Flag and values; a field without a flag of its own is a mistake of the exporter. */
function flagWords({ field, value }: ExportSetting): string {
  const flag = megatronFlags.ofField(field);
  const [name = ''] = flag.names;
  if (flag.kind === 'on' || flag.kind === 'off') {
    if (value !== (flag.kind === 'on')) throw new RangeError(`no flag sets ${field} to ${String(value)}`);
    return name;
  }
  const values = Array.isArray(value) ? (value as readonly string[]) : [String(value)];
  return [name, ...values.map(word)].join(' ');
}

const comment = (text: string): string => text.replaceAll(/\s+/gu, ' ');

function head({ model, cluster }: ExportPlan): string[] {
  return [
    '#!/usr/bin/env bash',
    `# ${model.name} on ${cluster.name}: written by monta export. Data, tokenizer, learning rate and checkpoints ` +
      'are added where "$@" stands.',
  ];
}

const environmentLines = ({ environment }: Exported): string[] =>
  environment.map(({ name, value, reason }) => `export ${name}=${word(value)}  # ${comment(reason)}`);

const notesLines = ({ notes }: Exported): string[] => notes.map((note) => `# NOTE ${comment(note)}`);

function flagLines({ settings }: Exported): string[] {
  return ['FLAGS=(', ...settings.map((setting) => `  ${flagWords(setting)}  # ${comment(setting.reason)}`), ')'];
}

const program = 'pretrain_gpt.py';

/** Text of a script; throws `InputError` with the rule's words where Megatron would stop at what was written. */
export function writeMegatron(plan: ExportPlan, exported: Exported, target: 'megatron' | 'torchrun' | 'slurm'): string {
  const world = deviceCount(plan.cluster);
  const each = Math.min(world, plan.cluster.tiers[0]?.size ?? world);
  const perNode = nodeSize(plan, each);
  const nodes = Math.ceil(world / perNode);
  const torchrun =
    nodes === 1
      ? [`torchrun --nproc_per_node ${perNode} ${program} "\${FLAGS[@]}" "$@"`]
      : [
          `torchrun --nnodes ${nodes} --nproc_per_node ${perNode} --node_rank "\${NODE_RANK:?which node this is, ` +
            `from 0}" --master_addr "\${MASTER_ADDR:?the first node}" --master_port "\${MASTER_PORT:-29500}" ` +
            `${program} "\${FLAGS[@]}" "$@"`,
        ];
  const [shebang = '', ...title] = head(plan);
  const batch = [
    `#SBATCH --nodes=${nodes}`,
    `#SBATCH --ntasks-per-node=${perNode}`,
    `#SBATCH --gpus-per-node=${perNode}`,
    '#SBATCH --exclusive',
  ];
  const slurmEnvironment = [
    'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)  # rank 0 is on the first node',
    `export MASTER_PORT=29500 WORLD_SIZE=${world}  # what torch.distributed reads; RANK and LOCAL_RANK differ by task`,
  ];
  const task =
    `srun --ntasks ${world} --ntasks-per-node ${perNode} bash -c 'RANK=$SLURM_PROCID ` +
    `LOCAL_RANK=$SLURM_LOCALID exec python ${program} "$@"' _ "\${FLAGS[@]}" "$@"`;
  const lines =
    target === 'slurm'
      ? [
          shebang,
          ...batch,
          ...title,
          ...notesLines(exported),
          ...slurmEnvironment,
          ...environmentLines(exported),
          ...flagLines(exported),
          task,
        ]
      : target === 'torchrun'
        ? [
            shebang,
            ...title,
            ...notesLines(exported),
            ...environmentLines(exported),
            ...flagLines(exported),
            ...torchrun,
          ]
        : [
            ...title,
            ...notesLines(exported),
            ...environmentLines(exported),
            ...exported.settings.map((setting) => `${flagWords(setting)}  # ${comment(setting.reason)}`),
          ];
  const text = `${lines.join('\n')}\n`;
  refuseWhatStops(plan, exported);
  return text;
}

/** Ranks that one host runs: NVLink domains of more than eight devices are racks of hosts of four (GB200, GB300). */
const nodeSize = (plan: ExportPlan, domain: number): number =>
  domain > 8 && /\bGB/u.test(plan.cluster.device.name) ? 4 : domain;

/** The exporter reads what it wrote as the linter does. */
export function refuseWhatStops(plan: ExportPlan, { settings, environment }: Exported): void {
  const source = { file: 'export', text: settings.map(flagWords).join(' ') };
  const [launch] = megatronLaunches(readLaunchScript(source, {}));
  const place = { source, start: 0, end: 0 };
  const architecture = architectureOf(plan.cluster.device.name);
  const run = new MegatronRun(readMegatronArguments(launch?.arguments ?? []), {
    gpus: deviceCount(plan.cluster),
    ...(architecture === undefined ? {} : { architecture }),
    environment: new Map(environment.map(({ name, value }) => [name, { text: value, place }])),
  });
  const stops = checkMegatron(run).filter(({ severity }) => severity === 'error');
  const [first] = stops;
  if (first === undefined) return;
  throw new InputError(`Megatron can't do this: ${stops.map(({ message }) => message).join('; ')}`, {
    path: first.flags.join(' '),
    expected: first.mend,
  });
}
