/** Every statement of frameworks about what stops, changes or slows a run: a case that breaks it, one that keeps it. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { getModel } from '../model/index.js';
import type { Architecture } from './architecture.js';
import { dottedFlagsOf, overridesOf } from './assigned/read-words.js';
import { checkOverrides, overriddenRun } from './bridge/check.js';
import { ownBridgeRules } from './bridge/rules.js';
import { checkDeepspeed, deepspeedRules } from './deepspeed/check.js';
import { DeepspeedConfig } from './deepspeed/config.js';
import type { Finding, Severity } from './finding.js';
import { checkMegatron, megatronRules } from './megatron/check.js';
import { MegatronRun, softwareNames, type RunContext } from './megatron/run.js';
import { readMegatronArguments } from './megatron/settings.js';
import { renamedMegatronFlags } from './megatron/flags.js';
import type { Located } from './shell/place.js';
import { checkTorchtitan, torchtitanRules } from './torchtitan/rules.js';
import { TorchtitanRun } from './torchtitan/run.js';

const folder = fileURLToPath(new URL('../../testing/frameworks/statements/', import.meta.url));

interface Statement {
  readonly mark: string;
  readonly says: string;
  readonly rule: string;
  readonly breaks: string;
  readonly keeps: string;
}

const form = /^([EWP]) (.*) \[([\w-]+)\]\n- (.*)\n\+ (.*)$/u;

function statementsOf(file: string): Statement[] {
  return readFileSync(`${folder}${file}`, 'utf8')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .split('\n\n')
    .map((paragraph) => paragraph.trim())
    .filter((paragraph) => paragraph !== '')
    .map((paragraph) => {
      const [, mark = '', says = '', rule = '', breaks = '', keeps = ''] = form.exec(paragraph) ?? [];
      if (mark === '') throw new Error(`not a statement: ${paragraph}`);
      return { mark, says, rule, breaks, keeps };
    });
}

const located = (text: string): Located => ({ text, place: { source: { file: 'case', text: '' }, start: 0, end: 0 } });

interface Case {
  readonly words: readonly Located[];
  readonly text: string;
  readonly context: RunContext;
}

/** `{gpus=16 hopper te=2.8 NAME=value} flags`. */
function caseOf(line: string): Case {
  const [, known = '', text = ''] = /^(?:\{([^"}]*)\} )?(.*)$/u.exec(line) ?? [];
  const environment = new Map<string, Located>();
  const versions: Record<string, string> = {};
  let context: RunContext = {};
  for (const word of known.split(' ').filter((one) => one !== '')) {
    const equals = word.indexOf('=');
    const [name, value] = [word.slice(0, equals), word.slice(equals + 1)];
    if (equals < 0) context = { ...context, architecture: word as Architecture };
    else if (name === 'gpus') context = { ...context, gpus: Number(value) };
    else if (softwareNames.some((one) => one === name)) versions[name] = value;
    else environment.set(name, located(value));
  }
  return { words: text.split(' ').map(located), text, context: { ...context, environment, versions } };
}

type Check = (given: Case) => Finding[];

const model = getModel('mixtral-8x7b');
const byMegatron: Check = ({ words, context }) => checkMegatron(new MegatronRun(readMegatronArguments(words), context));
const checks: Readonly<Record<string, Check>> = {
  'megatron-sizes.txt': byMegatron,
  'megatron-experts.txt': byMegatron,
  'megatron-memory.txt': byMegatron,
  'bridge.txt': ({ words, context }) => checkOverrides(overriddenRun(overridesOf(words), context)),
  'torchtitan.txt': ({ words, context: { gpus } }) =>
    checkTorchtitan(new TorchtitanRun(dottedFlagsOf(words), { model, ...(gpus === undefined ? {} : { gpus }) })),
  'deepspeed.txt': ({ text, context: { gpus } }) =>
    checkDeepspeed(new DeepspeedConfig(JSON.parse(text), { model, ...(gpus === undefined ? {} : { gpus }) }), {
      file: 'ds.json',
      text,
    }),
};

const severities: Readonly<Record<string, readonly Severity[]>> = { E: ['error'], W: ['changed', 'slow'], P: ['slow'] };

test('every file of statements is read', () => {
  expect(readdirSync(folder).sort()).toEqual(Object.keys(checks).sort());
});

describe.each(Object.entries(checks))('%s', (file, check) => {
  const statements = statementsOf(file);

  test.each(statements)('$mark $says', ({ mark, rule, breaks, keeps }) => {
    const found = check(caseOf(breaks)).filter((finding) => finding.rule === rule);
    expect(found).toHaveLength(1);
    expect(severities[mark]).toContain(found[0]?.severity);
    expect(check(caseOf(keeps)).map((finding) => finding.rule)).not.toContain(rule);
  });
});

const tried = (files: readonly string[]): Set<string> =>
  new Set(files.flatMap((file) => statementsOf(file).map(({ rule }) => rule)));
const ofMegatron = Object.keys(checks).filter((file) => file.startsWith('megatron'));

test.each([
  [ofMegatron, megatronRules],
  [['bridge.txt'], ownBridgeRules],
  [['torchtitan.txt'], torchtitanRules],
  [['deepspeed.txt'], deepspeedRules],
])('no rule of %s is without a statement', (files, rules: readonly { readonly id: string }[]) => {
  expect(rules.map(({ id }) => id).filter((id) => !tried(files).has(id))).toEqual([]);
});

test('every old flag has a statement', () => {
  const breaking = statementsOf('megatron-memory.txt').map(({ breaks }) => breaks.split(' ')[0]);
  expect(Object.keys(renamedMegatronFlags).filter((flag) => !breaking.includes(flag))).toEqual([]);
});
