/** Checks overrides of Megatron-Bridge and NeMo by the rules of Megatron-Core, in the words of the configuration. */
import type { Assignment } from '../assigned/assignment.js';
import type { Finding } from '../finding.js';
import { checkRules } from '../megatron/check.js';
import { megatronFlags } from '../megatron/flags.js';
import { MegatronRun, type RunContext } from '../megatron/run.js';
import { bridgeRules } from './rules.js';
import { bridgeSections, sectionOfField } from './sections.js';
import { bridgeSource, readOverrides } from './settings.js';

/** A run as overrides of a recipe describe it; what they do not say is the recipe's. */
export function overriddenRun(assignments: readonly Assignment[], context: RunContext): MegatronRun {
  const settings = readOverrides(assignments);
  const gpus = context.gpus ?? settings.ranks;
  return new MegatronRun(settings, { ...context, ...(gpus === undefined ? {} : { gpus }), from: 'overrides' });
}

const word = String.raw`[\w.-]+`;
const flagPattern = new RegExp(String.raw`--([a-z][a-z0-9-]*)(?: (${word}))?`, 'gu');

/** `--sequence-parallel` as `model.sequence_parallel=true`. */
export const inOverrides = (text: string): string =>
  text.replaceAll(flagPattern, (whole, name: string, next: string | undefined) => {
    const flag = megatronFlags.get(`--${name}`);
    if (flag === undefined) return whole;
    const path = `${sectionOfField(flag.field)}.${flag.field}`;
    const rest = next === undefined ? '' : ` ${next}`;
    if (flag.kind === 'on' || flag.kind === 'onoff') return `${path}=true${rest}`;
    if (flag.kind === 'off') return `${path}=false${rest}`;
    const value = next !== undefined && (flag.choices?.includes(next) === true || /^\d/u.test(next));
    return value ? `${path}=${next}` : `${path}${rest}`;
  });

const pathPattern = new RegExp(String.raw`\b(?:${bridgeSections.join('|')})\.(\w+)(?:=(\S+?))?(?=[\s,;:]|$)`, 'gu');

/** `--sequence-parallel` as `--sequence_parallel true`: ms-swift's way. */
export const inPlainFlags = (text: string): string =>
  inOverrides(text).replaceAll(pathPattern, (_, name: string, value: string | undefined) =>
    value === undefined ? `--${name}` : `--${name} ${value}`,
  );

/** What is wrong with the overrides, errors first, in the `words` of the person. */
export const checkOverrides = (run: MegatronRun, words = inOverrides): Finding[] =>
  checkRules(run, bridgeRules, bridgeSource).map((finding) => ({
    ...finding,
    message: words(finding.message),
    consequence: finding.consequence.replace('Megatron stops at start', 'the run stops at start'),
    mend: words(finding.mend),
  }));
