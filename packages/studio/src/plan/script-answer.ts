/** A launch script checked, priced, and set beside the best plan. */
import {
  architectureOf,
  changeTexts,
  type ChangeText,
  checkLaunch,
  deviceCount,
  type Finding,
  findLaunches,
  type LaunchPrice,
  priceFacts,
} from '@monta/core';
import type { Subject } from '../subject/subject.js';

export type ScriptFinding = Pick<Finding, 'severity' | 'rule' | 'message' | 'consequence' | 'mend'>;

export interface ScriptAnswer {
  readonly program: string;
  readonly findings: readonly ScriptFinding[];
  readonly facts: readonly (readonly [name: string, text: string])[];
  readonly changes: readonly ChangeText[];
}

/** The first run of the text. Throws `InputError` where there is none. */
export function scriptAnswer(script: string, { model, cluster }: Subject): ScriptAnswer {
  const [launch] = findLaunches({ file: 'script', text: script }).launches;
  if (launch === undefined) throw new RangeError('no launch');
  const architecture = architectureOf(cluster.device.name);
  const { findings, price } = checkLaunch(launch, {
    gpus: deviceCount(cluster),
    ...(architecture === undefined ? {} : { architecture }),
    model,
    cluster,
    variables: {},
    readFile: () => undefined,
  });
  return {
    program: launch.program ?? 'flags',
    findings: findings.map(({ severity, rule, message, consequence, mend }) => ({
      severity,
      rule,
      message,
      consequence,
      mend,
    })),
    ...shownPrice(price),
  };
}

/** Nothing where findings stop the run. */
function shownPrice(price: LaunchPrice | undefined): Pick<ScriptAnswer, 'facts' | 'changes'> {
  if (price === undefined) return { facts: [], changes: [] };
  if ('why' in price) return { facts: [['Not priced', price.why]], changes: [] };
  return { facts: priceFacts(price), changes: changeTexts(price.changes) };
}
