/** Checks a person's Megatron flags: all rules, with the place of the flag and the reason. */
import type { Finding, Severity } from '../finding.js';
import { megatronFlags } from './flags.js';
import type { Rule } from './rule.js';
import { dispatcherRules } from './rules-dispatch.js';
import { memoryRules } from './rules-memory.js';
import { overlapRules } from './rules-overlap.js';
import { pipelineRules } from './rules-pipeline.js';
import { routerRules } from './rules-router.js';
import { sizeRules } from './rules-sizes.js';
import { softwareRules } from './rules-software.js';
import type { MegatronRun } from './run.js';

export const megatronRules: readonly Rule[] = [
  ...sizeRules,
  ...pipelineRules,
  ...routerRules,
  ...dispatcherRules,
  ...overlapRules,
  ...memoryRules,
  ...softwareRules,
];

const ruleSource = 'Megatron-LM d98e8a64 (core 0.20.0 dev)';
const order: readonly Severity[] = ['error', 'changed', 'slow', 'unknown'];

/** What is wrong with the flags, errors first, in the order of the rules. */
export function checkMegatron(run: MegatronRun): Finding[] {
  const findings = checkRules(run, megatronRules, ruleSource);
  const { fork } = run.settings;
  return fork === undefined ? findings : findings.map((one) => ofFork(one, fork));
}

/** Rules are those of Megatron-LM: what a fork makes of its own flags is not known. */
const ofFork = (finding: Finding, fork: string): Finding =>
  finding.severity === 'error'
    ? { ...finding, severity: 'unknown', consequence: `${finding.consequence}, unless ${fork} does otherwise` }
    : finding;

/** What rules and reader say of a run. */
export function checkRules(run: MegatronRun, rules: readonly Rule[], source: string): Finding[] {
  const all: Finding[] = [...run.settings.findings, ...rules.flatMap((rule) => findingOf(run, rule, source))];
  return all.sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
}

/**
 * Nothing where the rule is kept. Where it is kept under what a recipe may well say beyond the overrides, or a script
 * by words that are not known, an error is one that can't be judged, and what is slow or changed is not said.
 */
function findingOf(run: MegatronRun, rule: Rule, source: string): Finding[] {
  const { value: found, doubts } = run.observed(() => rule.check(run));
  if (found === undefined) return [];
  const open = doubts.filter((field) => rule.check(run.supposing([field])) === undefined);
  const doubtful = open.length > 0 || (doubts.length > 0 && rule.check(run.supposing(doubts)) === undefined);
  if (doubtful && rule.severity !== 'error') return [];
  const given = rule.fields.filter((field) => run.settings.fields.has(field));
  const at = given.map((field) => run.at(field)).find((place) => place !== undefined);
  const flags = (given.length > 0 ? given : rule.fields.slice(0, 1)).map(
    (field) => run.at(field)?.text ?? megatronFlags.ofField(field).names[0] ?? field,
  );
  const names = (open.length > 0 ? open : doubts).join(', ');
  const who = run.context.from === 'overrides' ? 'the recipe says' : 'words that are not known here say';
  return [
    {
      severity: doubtful ? 'unknown' : rule.severity,
      rule: rule.id,
      flags,
      ...found,
      ...(doubtful ? { consequence: `${found.consequence}, unless ${who} otherwise (${names})` } : {}),
      source,
      ...(at === undefined ? {} : { at }),
    },
  ];
}
