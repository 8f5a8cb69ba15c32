/** The runs of a script or a configuration, checked by the rules of their framework, and priced. */
import type { Cluster } from '../cluster/cluster.js';
import { deviceCount } from '../cluster/ports.js';
import {
  assignmentsOf,
  checkDeepspeed,
  checkMegatron,
  checkOverrides,
  checkTorchtitan,
  DeepspeedConfig,
  differencesFrom,
  inOverrides,
  inPlainFlags,
  MegatronRun,
  overriddenRun,
  plannedBy,
  plannedByDeepspeed,
  readable,
  readMegatronArguments,
  smallestWorld,
  TorchtitanRun,
  type Finding,
  type FrameworkLaunch,
  type RunContext,
} from '../frameworks/index.js';
import type { MoeModel } from '../model/index.js';
import { InputError } from '../units/index.js';
import { readDocument } from '../units/documents/index.js';
import {
  deepspeedSetting,
  priceDeepspeed,
  priceMegatron,
  priceTorchtitan,
  torchtitanSetting,
  type LaunchPrice,
  type LaunchSetting,
} from './price-launch.js';

export interface CheckedRun {
  /** What it is, and its degrees. */
  readonly title: string;
  readonly findings: readonly Finding[];
  /** Where the machine is known, and nothing stops the job. */
  readonly price: LaunchPrice | undefined;
  /** Flags in the words in which the person gave them. */
  readonly words: (flags: string) => string;
  /** For scripts, without findings and price. */
  readonly about: AboutRun;
}

/** What a launch asks for, for scripts. */
export interface AboutRun {
  /** Whose flags or keys they are. */
  readonly framework: 'megatron' | 'bridge' | 'torchtitan' | 'deepspeed';
  /** The script or module that is started. */
  readonly program: string | null;
  /** GPUs of the job; null where nothing says it. */
  readonly ranks: number | null;
  /** The least number of GPUs that the degrees need; null where they are not known. */
  readonly smallestWorld?: number | null;
  /** The run in terms of a plan; null where it cannot be said. */
  readonly plan: RunAsPlanned | null;
  /** Settings of the framework as they are read, by its own names. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** Degrees and settings of a run that a plan has too. */
type RunAsPlanned = NonNullable<
  ReturnType<typeof plannedBy> | ReturnType<typeof plannedByDeepspeed> | TorchtitanRun['planned']
>;

/** What is known beside the run. */
export interface KnownBeside extends RunContext {
  readonly model?: MoeModel;
  readonly cluster?: Cluster;
  /** Tokens of a sequence, where nothing else says them. */
  readonly sequence?: number;
  readonly variables: Readonly<Record<string, string>>;
  /** The text of a file that a command names, if the person gave it too. */
  readonly readFile: (path: string) => string | undefined;
}

const same = (flags: string): string => flags;
const stops = (findings: readonly Finding[]): boolean => findings.some(({ severity }) => severity === 'error');

function contextOf(known: KnownBeside, launch: FrameworkLaunch): RunContext {
  const { cluster, architecture, versions } = known;
  // where neither the person nor the launcher says it, the run has the whole machine
  const gpus = known.gpus ?? launch.ranks ?? (cluster === undefined ? undefined : deviceCount(cluster));
  return {
    environment: launch.environment,
    ...(gpus === undefined ? {} : { gpus }),
    ...(architecture === undefined ? {} : { architecture }),
    ...(versions === undefined ? {} : { versions }),
  };
}

const degrees = [
  ['tensor_model_parallel_size', 'TP'],
  ['pipeline_model_parallel_size', 'PP'],
  ['context_parallel_size', 'CP'],
  ['expert_model_parallel_size', 'EP'],
] as const;

const worldText = (world: number | undefined): string =>
  world === undefined ? 'ranks unknown: give --gpus' : `${world} ranks`;

function megatronSummary(run: MegatronRun): string {
  const unknown = run.context.from === 'overrides' ? "the recipe's" : 'unknown';
  const least = smallestWorld(run);
  return [
    ...degrees.map(([field, name]) => `${name} ${run.number(field) ?? unknown}`),
    `ETP ${run.expertTensor ?? unknown}`,
    worldText(run.context.gpus),
    ...(least === undefined ? [] : [`smallest world ${least}`]),
  ].join(' · ');
}

/** ms-swift's fields go through Megatron's parser, which switches off what a configuration of Bridge refuses. */
const byParser = (finding: Finding): Finding =>
  finding.rule === 'bridge-sequence-parallel-alone'
    ? { ...finding, severity: 'changed', rule: 'sequence-parallel-alone', consequence: 'it is switched off' }
    : finding;

function checkedMegatron(run: MegatronRun, launch: FrameworkLaunch, known: KnownBeside): CheckedRun {
  const overrides = launch.kind === 'bridge';
  const { model, cluster } = known;
  const swift = overrides && launch.program?.startsWith('megatron ') === true;
  const words = !overrides ? same : swift ? inPlainFlags : inOverrides;
  const findings = [
    ...(overrides ? checkOverrides(run, words).map((one) => (swift ? byParser(one) : one)) : checkMegatron(run)),
    ...(model === undefined ? [] : differencesFrom(model, run)),
  ];
  const name = launch.program ?? (overrides ? 'overrides' : 'flags');
  return {
    title: `${name}   ${megatronSummary(run)}`,
    findings,
    price: cluster === undefined || stops(findings) ? undefined : priceMegatron(run, model, cluster),
    words,
    about: {
      framework: overrides ? 'bridge' : 'megatron',
      program: launch.program ?? null,
      ranks: run.context.gpus ?? null,
      smallestWorld: smallestWorld(run) ?? null,
      plan: plannedBy(run) ?? null,
      fields: Object.fromEntries([...run.settings.fields].map(([field, { value }]) => [field, value ?? null])),
    },
  };
}

/** Keys of the file that a command names, then those of the command line. */
function assignmentsWith(launch: FrameworkLaunch & { readonly kind: 'bridge' | 'torchtitan' }, known: KnownBeside) {
  const { file, assignments } = launch;
  const text = file === undefined ? undefined : known.readFile(file);
  const inFile = file === undefined || text === undefined ? [] : assignmentsOf({ file, text }, known.variables);
  return [...(inFile ?? []), ...assignments];
}

type TorchtitanLaunch = FrameworkLaunch & { readonly kind: 'torchtitan' };
type DeepspeedLaunch = FrameworkLaunch & { readonly kind: 'deepspeed' };

function torchtitanRunOf(launch: TorchtitanLaunch, known: KnownBeside): TorchtitanRun {
  const { gpus } = contextOf(known, launch);
  return new TorchtitanRun(assignmentsWith(launch, known), {
    ...(gpus === undefined ? {} : { gpus }),
    ...(known.model === undefined ? {} : { model: known.model }),
  });
}

function checkedTorchtitan(launch: TorchtitanLaunch, known: KnownBeside): CheckedRun {
  const { gpus } = contextOf(known, launch);
  const run = torchtitanRunOf(launch, known);
  const { cluster } = known;
  const findings = checkTorchtitan(run);
  const { planned } = run;
  const sizes =
    planned === undefined
      ? []
      : (['tp', 'pp', 'cp', 'ep', 'dp'] as const).map((name) => `${name.toUpperCase()} ${planned.layout[name]}`);
  return {
    title: `${launch.program ?? launch.file ?? 'torchtitan'}   ${[...sizes, worldText(gpus)].join(' · ')}`,
    findings,
    price: cluster === undefined || stops(findings) ? undefined : priceTorchtitan(run, cluster),
    words: same,
    about: {
      framework: 'torchtitan',
      program: launch.program ?? null,
      ranks: gpus ?? null,
      plan: planned ?? null,
      fields: Object.fromEntries(run.keys.map((key) => [key, run.value(key) ?? null])),
    },
  };
}

const missingConfiguration = (file: string): Finding => ({
  severity: 'unknown',
  rule: 'deepspeed-configuration',
  flags: ['--deepspeed_config'],
  message: `the DeepSpeed configuration ${readable(file)} is not given`,
  consequence: 'what it says of batch, ZeRO and precision is not checked',
  mend: 'give its path behind the script: monta lint train.sh ds_config.json',
  source: 'the launch line',
});

/** Its configuration and the text of it. Throws `InputError` where that is not given. */
function deepspeedConfigOf(launch: DeepspeedLaunch, known: KnownBeside) {
  const { file, values, text = known.readFile(file) } = launch;
  if (text === undefined)
    throw new InputError(`names the configuration ${readable(file)}, which is not given`, {
      expected: `its path behind the script: monta lint train.sh ${file}`,
    });
  const { gpus } = contextOf(known, launch);
  const { model, sequence = values.sequence } = known;
  const context = {
    ...(gpus === undefined ? {} : { gpus }),
    ...(model === undefined ? {} : { model }),
    launch: { ...values, ...(sequence === undefined ? {} : { sequence }) },
  };
  return { text, gpus, config: new DeepspeedConfig(readDocument(text, file).value, context) };
}

function checkedDeepspeed(launch: DeepspeedLaunch, known: KnownBeside): CheckedRun {
  const { file, megatron } = launch;
  const given = launch.text ?? known.readFile(file);
  if (given === undefined && megatron !== undefined) {
    const run = new MegatronRun(readMegatronArguments(megatron.arguments, megatron.program), contextOf(known, launch));
    const checked = checkedMegatron(run, { kind: 'megatron', ...megatron }, known);
    return { ...checked, findings: [...checked.findings, missingConfiguration(file)] };
  }
  const { text, gpus, config } = deepspeedConfigOf(launch, known);
  const { cluster } = known;
  const findings = checkDeepspeed(config, { file, text });
  const planned = plannedByDeepspeed(config);
  return {
    title: `${launch.program ?? file}   configuration of DeepSpeed · ${worldText(gpus)}`,
    findings,
    price: cluster === undefined || stops(findings) ? undefined : priceDeepspeed(config, cluster),
    words: same,
    about: { framework: 'deepspeed', program: launch.program ?? null, ranks: gpus ?? null, plan: planned ?? null },
  };
}

/** Flags or overrides as a run of Megatron-Core; undefined for a launch of another framework. */
export function megatronRunOf(launch: FrameworkLaunch, known: KnownBeside): MegatronRun | undefined {
  const context = contextOf(known, launch);
  if (launch.kind === 'bridge') return overriddenRun(assignmentsWith(launch, known), context);
  return launch.kind === 'megatron'
    ? new MegatronRun(readMegatronArguments(launch.arguments, launch.program), context)
    : undefined;
}

/**
 * The step of a run of DeepSpeed or torchtitan on a cluster, or why there is none. Throws `InputError` for a
 * configuration that is not given or can't be read.
 */
export function settingOfLaunch(
  launch: DeepspeedLaunch | TorchtitanLaunch,
  known: KnownBeside & { readonly cluster: Cluster },
): LaunchSetting {
  return launch.kind === 'torchtitan'
    ? torchtitanSetting(torchtitanRunOf(launch, known), known.cluster)
    : deepspeedSetting(deepspeedConfigOf(launch, known).config, known.cluster);
}

/** Checks one run. Throws `InputError` for a configuration that is not given or can't be read. */
export function checkLaunch(launch: FrameworkLaunch, known: KnownBeside): CheckedRun {
  if (launch.kind === 'torchtitan') return checkedTorchtitan(launch, known);
  if (launch.kind === 'deepspeed') return checkedDeepspeed(launch, known);
  const run = megatronRunOf(launch, known);
  if (run === undefined) throw new RangeError(launch.kind);
  return checkedMegatron(run, launch, known);
}
