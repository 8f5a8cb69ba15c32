/** `monta lint`: checks what a person's launch script or configuration asks for. */
import type { Assumption, CheckedRun, Finding, KnownBeside } from '@monta/core';
import { architectureOf, lineOf, megatronVersion, placeText, readable, sarif } from '@monta/core/frameworks';
import { checkLaunch, findLaunches } from '@monta/core/doctor';
import { basename } from 'node:path';
import type { MontaContext } from '../context.js';
import { readTextFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import type { LintFlags } from './lint.flags.js';
import { describedPrice, showPrice } from './lint-price.js';
import { scriptOptions, variablesOf } from './megatron-script.js';
import { softwareVersions } from './software-versions.js';

/** Flags with which the job would stop: told, then exit code 1. */
class Broken extends Error {
  override readonly name = 'Broken';
  readonly exitCode = 1;
}

function show(console: Console, { title, findings, price, words }: CheckedRun): void {
  console.print(console.style.bold(title));
  showFindings(console, findings);
  if (price !== undefined) showPrice(console, price, words);
}

function showFindings(console: Console, findings: readonly Finding[]): void {
  const { style } = console;
  if (findings.length === 0) console.print('\n  nothing to change\n');
  for (const finding of findings) {
    const { severity, rule, message, consequence, mend, at } = finding;
    const mark = severity === 'error' ? style.bad('error') : severity;
    console.print(`\n  ${mark}  ${message}${at === undefined ? '' : `   ${placeText(at)}`}`);
    console.print(`         ${consequence}`);
    console.print(`         → ${console.typed(mend)}   [${rule}]`);
  }
  console.print('');
}

const described = ({ about, findings, price }: CheckedRun) => ({
  ...about,
  findings: findings.map(placed),
  price: price === undefined ? null : describedPrice(price),
});

const placed = ({ at, ...finding }: Finding) => ({
  ...finding,
  ...(at === undefined ? {} : { file: at.place.source.file, ...lineOf(at) }),
});

const assumed = (list: readonly Assumption[]): { text: string; at: string }[] =>
  list.map(({ text, place }) => ({ text: readable(text), at: placeText({ text: '', place }) }));

const shownAssumptions = 12;

function showAssumptions(console: Console, assumptions: readonly Assumption[]): void {
  const all = assumed(assumptions);
  for (const { text, at } of all.slice(0, shownAssumptions)) console.note(`assumed: ${text}   ${at}`);
  if (all.length > shownAssumptions) console.note(`and ${all.length - shownAssumptions} more; --json lists all`);
  if (all.some(({ text }) => text.startsWith('argument $')))
    console.note('--args gives the arguments of the script: what depends on them is not known');
}

function stopOnErrors(findings: readonly Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  if (errors > 0) throw new Broken(errors === 1 ? 'the job would stop' : `${errors} things would stop the job`);
}

function knownOf(flags: LintFlags, files: readonly string[]): KnownBeside {
  const { gpus, sequence } = flags;
  const byName = new Map(files.map((path) => [basename(path), path]));
  const cluster = flags.cluster === undefined ? undefined : loadCluster(flags.cluster);
  const architecture = cluster === undefined ? undefined : architectureOf(cluster.device.name);
  return {
    ...(gpus === undefined ? {} : { gpus }),
    ...(sequence === undefined ? {} : { sequence }),
    ...(architecture === undefined ? {} : { architecture }),
    // SARIF holds findings alone: nothing is priced for it.
    ...(cluster === undefined || flags.sarif ? {} : { cluster }),
    ...(flags.model === undefined ? {} : { model: loadModel(flags.model) }),
    ...(flags.software === undefined ? {} : { versions: softwareVersions(flags.software) }),
    variables: variablesOf(flags.env ?? []),
    readFile: (path) => {
      const given = byName.get(basename(path));
      return given === undefined ? undefined : readTextFile(given);
    },
  };
}

/** Runs the command. */
export function runLint({ console }: MontaContext, flags: LintFlags, file: string, ...sourced: string[]): void {
  const given = (flags.args ?? '').split(/\s+/u).filter((one) => one !== '');
  const { launches, assumptions } = findLaunches(
    { file, text: readTextFile(file) },
    scriptOptions({ sourced, environment: flags.env ?? [], arguments: given }),
  );
  const known = knownOf(flags, [file, ...sourced]);
  const checked = launches.map((launch) => checkLaunch(launch, known));
  const findings = checked.flatMap((one) => one.findings);
  if (flags.sarif) console.json(sarif(findings, 'monta lint', megatronVersion));
  else if (flags.json) console.json({ file, launches: checked.map(described), assumptions: assumed(assumptions) });
  else {
    for (const one of checked) show(console, one);
    showAssumptions(console, assumptions);
  }
  stopOnErrors(findings);
}
