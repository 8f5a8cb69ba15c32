/** Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a change. */
import type { Finding, Severity } from './finding.js';
import { lineOf } from './shell/place.js';

const levels: Readonly<Record<Severity, 'error' | 'warning' | 'note'>> = {
  error: 'error',
  changed: 'warning',
  slow: 'warning',
  unknown: 'note',
};

/** A SARIF log of one run of `tool`; `version` is the tool's. */
export function sarif(findings: readonly Finding[], tool: string, version: string): object {
  const rules = [...new Set(findings.map(({ rule }) => rule))];
  return {
    version: '2.1.0',
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    runs: [
      {
        tool: { driver: { name: tool, version, rules: rules.map((id) => ({ id })) } },
        results: findings.map((finding) => ({
          ruleId: finding.rule,
          level: levels[finding.severity],
          message: { text: `${finding.message}: ${finding.consequence}. ${finding.mend}` },
          ...(finding.at === undefined ? {} : { locations: [location(finding.at)] }),
        })),
      },
    ],
  };
}

function location(at: NonNullable<Finding['at']>): object {
  const { line, column } = lineOf(at);
  return {
    physicalLocation: {
      artifactLocation: { uri: at.place.source.file },
      region: { startLine: line, startColumn: column },
    },
  };
}
