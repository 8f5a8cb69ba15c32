/** Checks a person's Megatron flags: all rules, with the place of the flag and the reason. */
import type { Finding, Severity } from '../finding.js';
import { megatronFlags } from './flags.js';
import type { Rule } from './rule.js';
import { expertRules } from './rules-experts.js';
import { memoryRules } from './rules-memory.js';
import { overlapRules } from './rules-overlap.js';
import { pipelineRules } from './rules-pipeline.js';
import { sizeRules } from './rules-sizes.js';
import type { MegatronRun } from './run.js';

export const megatronRules: readonly Rule[] = [
  ...sizeRules,
  ...pipelineRules,
  ...expertRules,
  ...overlapRules,
  ...memoryRules,
];

const ruleSource = 'Megatron-LM d98e8a64 (core 0.20.0 dev)';
const order: readonly Severity[] = ['error', 'changed', 'slow', 'unknown'];

/** What is wrong with the flags, errors first, in the order of the rules. */
export function checkMegatron(run: MegatronRun): Finding[] {
  const broken = megatronRules.flatMap((rule) => {
    const found = rule.check(run);
    if (found === undefined) return [];
    const given = rule.fields.filter((field) => run.given(field));
    const at = given.map((field) => run.at(field)).find((place) => place !== undefined);
    const flags = (given.length > 0 ? given : rule.fields.slice(0, 1)).map(
      (field) => run.at(field)?.text ?? megatronFlags.ofField(field).names[0] ?? field,
    );
    return [
      {
        severity: rule.severity,
        rule: rule.id,
        flags,
        ...found,
        source: ruleSource,
        ...(at === undefined ? {} : { at }),
      },
    ];
  });
  const all: Finding[] = [...run.settings.findings, ...broken];
  return all.sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
}
