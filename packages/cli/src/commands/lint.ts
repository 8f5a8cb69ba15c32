/** `monta lint`: checks the flags of a person's launch script. */
import {
  checkDeepspeed,
  looksLikeDeepspeed,
  readDocument,
  architectureOf,
  checkMegatron,
  differencesFrom,
  lineOf,
  megatronLaunches,
  megatronVersion,
  MegatronRun,
  placeText,
  plannedBy,
  readable,
  readMegatronArguments,
  sarif,
  smallestWorld,
  type Assumption,
  type Cluster,
  type Finding,
  type MegatronLaunch,
  type MoeModel,
  type RunContext,
} from '@monta/core';
import type { MontaContext } from '../context.js';
import { readTextFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import type { LintFlags } from './lint.command.js';
import { describedPrice, lintPrice, showPrice, type LintPrice } from './lint-price.js';
import { launchScriptOf, noLaunch } from './megatron-script.js';

/** Flags with which the job would stop: told, then exit code 1. */
class Broken extends Error {
  override readonly name = 'Broken';
  readonly exitCode = 1;
}

interface Checked {
  readonly launch: MegatronLaunch;
  readonly run: MegatronRun;
  readonly findings: readonly Finding[];
  /** Where the machine is known, and nothing stops the job. */
  readonly price: LintPrice | undefined;
}

/** What is known beside the flags. */
interface Known extends RunContext {
  readonly model?: MoeModel;
  readonly cluster?: Cluster;
}

function check(launch: MegatronLaunch, { model, cluster, ...context }: Known): Checked {
  const ranks = context.gpus ?? launch.ranks;
  const run = new MegatronRun(readMegatronArguments(launch.arguments), {
    ...context,
    environment: launch.environment,
    ...(ranks === undefined ? {} : { gpus: ranks }),
  });
  const findings = [...checkMegatron(run), ...(model === undefined ? [] : differencesFrom(model, run))];
  const stops = findings.some(({ severity }) => severity === 'error');
  return { launch, run, findings, price: cluster === undefined || stops ? undefined : lintPrice(run, model, cluster) };
}

const degrees = [
  ['tensor_model_parallel_size', 'TP'],
  ['pipeline_model_parallel_size', 'PP'],
  ['context_parallel_size', 'CP'],
  ['expert_model_parallel_size', 'EP'],
] as const;

function summary({ run }: Checked): string {
  const sizes = degrees.map(([field, name]) => `${name} ${run.number(field) ?? 'unknown'}`);
  const world = run.context.gpus;
  const least = smallestWorld(run);
  return [
    ...sizes,
    `ETP ${run.expertTensor ?? 'unknown'}`,
    world === undefined ? 'ranks unknown: give --gpus' : `${world} ranks`,
    ...(least === undefined ? [] : [`smallest world ${least}`]),
  ].join(' · ');
}

function show(console: Console, checked: Checked): void {
  const { launch, findings, price } = checked;
  console.print(console.style.bold(`${launch.program ?? 'flags'}   ${summary(checked)}`));
  showFindings(console, findings);
  if (price !== undefined) showPrice(console, price);
}

function showFindings(console: Console, findings: readonly Finding[]): void {
  const { style } = console;
  if (findings.length === 0) console.print('\n  nothing to change\n');
  for (const finding of findings) {
    const { severity, rule, message, consequence, mend, at } = finding;
    const mark = severity === 'error' ? style.bad('error') : severity;
    console.print(`\n  ${mark}  ${message}${at === undefined ? '' : `   ${placeText(at)}`}`);
    console.print(`         ${consequence}`);
    console.print(`         → ${mend}   [${rule}]`);
  }
  console.print('');
}

function described({ launch, findings, run, price }: Checked): object {
  return {
    program: launch.program ?? null,
    ranks: run.context.gpus ?? null,
    smallestWorld: smallestWorld(run) ?? null,
    plan: plannedBy(run) ?? null,
    fields: Object.fromEntries([...run.settings.fields].map(([field, { value }]) => [field, value ?? null])),
    findings: findings.map(placed),
    price: price === undefined ? null : describedPrice(price),
  };
}

const placed = ({ at, ...finding }: Finding): object => ({
  ...finding,
  ...(at === undefined ? {} : { file: at.place.source.file, ...lineOf(at) }),
});

const assumed = (list: readonly Assumption[]): { text: string; at: string }[] =>
  list.map(({ text, place }) => ({ text: readable(text), at: placeText({ text: '', place }) }));

/** A configuration of DeepSpeed, as JSON; undefined for another file. */
function deepspeedOf(text: string, file: string): unknown {
  if (!/^\s*\{/u.test(text)) return undefined;
  const { value } = readDocument(text, file);
  return looksLikeDeepspeed(value) ? value : undefined;
}

function lintDeepspeed(
  console: Console,
  flags: LintFlags,
  root: unknown,
  source: { file: string; text: string },
): void {
  const [gpus, model] = [flags.gpus, flags.model === undefined ? undefined : loadModel(flags.model)];
  const findings = checkDeepspeed(root, source, {
    ...(gpus === undefined ? {} : { gpus }),
    ...(model === undefined ? {} : { model }),
  });
  if (flags.sarif) console.json(sarif(findings, 'monta lint', megatronVersion));
  else if (flags.json) console.json({ file: source.file, findings: findings.map(placed) });
  else {
    console.print(console.style.bold(`${source.file}   configuration of DeepSpeed`));
    showFindings(console, findings);
  }
  stopOnErrors(findings);
}

function stopOnErrors(findings: readonly Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  if (errors > 0) throw new Broken(errors === 1 ? 'the job would stop' : `${errors} things would stop the job`);
}

/** Runs the command. */
export function runLint({ console }: MontaContext, flags: LintFlags, file: string, ...sourced: string[]): void {
  const text = readTextFile(file);
  const deepspeed = deepspeedOf(text, file);
  if (deepspeed !== undefined) {
    lintDeepspeed(console, flags, deepspeed, { file, text });
    return;
  }
  const script = launchScriptOf({ file, text, sourced, environment: flags.env ?? [] });
  const launches = megatronLaunches(script);
  if (launches.length === 0) throw noLaunch(file);
  const { gpus } = flags;
  const cluster = flags.cluster === undefined ? undefined : loadCluster(flags.cluster);
  const architecture = cluster === undefined ? undefined : architectureOf(cluster.device.name);
  const known: Known = {
    ...(gpus === undefined ? {} : { gpus }),
    ...(architecture === undefined ? {} : { architecture }),
    // SARIF holds findings alone: nothing is priced for it.
    ...(cluster === undefined || flags.sarif ? {} : { cluster }),
    ...(flags.model === undefined ? {} : { model: loadModel(flags.model) }),
  };
  const checked = launches.map((launch) => check(launch, known));
  const findings = checked.flatMap((one) => one.findings);
  if (flags.sarif) console.json(sarif(findings, 'monta lint', megatronVersion));
  else if (flags.json)
    console.json({ file, launches: checked.map(described), assumptions: assumed(script.assumptions) });
  else {
    for (const one of checked) show(console, one);
    for (const { text, at } of assumed(script.assumptions)) console.note(`assumed: ${text}   ${at}`);
  }
  stopOnErrors(findings);
}
