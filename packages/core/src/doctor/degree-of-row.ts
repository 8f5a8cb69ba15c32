/** Which degree of the layout a row of recorded communication serves. */
import { groupMembers, type Layout } from '../layout/index.js';
import type { AxisGroup } from '../layout/layout.js';
import type { CommunicationRow, ProfiledOp } from '../profiles/index.js';

/** Degrees whose communication is told apart; experts' groups count as ep, whatever cuts them. */
export const comparedDegrees = ['tp', 'cp', 'ep', 'dp', 'pp'] as const;
export type ComparedDegree = (typeof comparedDegrees)[number];

const ofLabels: readonly (readonly [RegExp, ComparedDegree])[] = [
  [/expert.*(?:data|dp)|^ep_?dp$/iu, 'dp'],
  [/expert|^ep$|^ep_tp$/iu, 'ep'],
  [/context|^cp$/iu, 'cp'],
  [/pipeline|^pp$/iu, 'pp'],
  [/data|^dp/iu, 'dp'],
  [/tensor|^tp$/iu, 'tp'],
];

const ofGroups: readonly (readonly [AxisGroup, ComparedDegree])[] = [
  ['tp', 'tp'],
  ['cp', 'cp'],
  ['ep', 'ep'],
  ['etp', 'ep'],
  ['expert', 'ep'],
  ['edp', 'dp'],
  ['dp', 'dp'],
  ['pp', 'pp'],
];

/** What steps consist of; others of an unnamed group (a broadcast of batches, a gather of losses) are of no degree. */
const ofSteps: ReadonlySet<ProfiledOp> = new Set([
  'all_to_all',
  'all_gather',
  'reduce_scatter',
  'all_reduce',
  'send_receive',
]);

const stepOf = ([first = 0, second = first]: readonly number[]): number => second - first;

/** What a row's communication is for: by the name of its group, its kind, or the ranks of the layout's groups. */
export function degreeOfRow(row: CommunicationRow, layout: Layout): ComparedDegree | undefined {
  const { op, label, ranks, stride } = row;
  if (op === 'dispatch' || op === 'combine' || op === 'notify') return 'ep';
  const named = ofLabels.find(([pattern]) => label !== '' && pattern.test(label))?.[1];
  if (named !== undefined) return named;
  if (op === 'send' || op === 'receive') return 'pp';
  if (ranks === undefined || ranks === 1 || !ofSteps.has(op)) return undefined;
  const fitting = ofGroups.filter(([group]) => {
    const members = groupMembers(layout, group, 0);
    return members.length === ranks && (stride === undefined || stepOf(members) === stride);
  });
  const degrees = new Set(fitting.map(([, degree]) => degree));
  if (op === 'all_to_all' && degrees.has('ep')) return 'ep';
  // gradients are reduced whole or scattered; activations of tensor parallelism are gathered and scattered
  if (op === 'all_reduce' && degrees.has('dp')) return 'dp';
  return [...degrees][0];
}
