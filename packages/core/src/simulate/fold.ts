/**
 * One rank of every kind. Ranks are alike when place, sizes and what collectives do to ports make no difference between
 * them; then all of them do the same at the same time, and one stands for all, with ports as wide as those of all
 * together. That is exact: the simulation of all ranks gives the same times but for rounding.
 */
import { scaledCollective, type CostModel } from '../cost/index.js';
import type { Group } from '../layout/layout.js';
import type { CollectiveName, Binding, Program, Template } from '../schedule/schedule.js';
import type { RowRule } from '../schedule/rows.js';
import { decompose, unitLoad, type Algorithm, type EvenLoad } from '../traffic/flows.js';
import { collectiveLoad, evenLoad } from '../traffic/load.js';
import { moved, type Digit, type Fabric, type Symmetry, type World } from '../traffic/index.js';
import type { GroupRanks } from './groups.js';

export interface FoldRequest {
  readonly programs: readonly Program[];
  readonly bindings: readonly Binding[];
  readonly symmetry: Symmetry;
  readonly stageOf: (rank: number) => number;
  readonly groups: GroupRanks;
  readonly fabric: Fabric;
  readonly model: CostModel;
  /** Collectives that load ports of a kind unequally (trees over nodes) count with their mean. */
  readonly mean: boolean;
}

const whole = { chunk: 0, of: 1 };

/** The smallest world for these programs: exact, unless means are asked for and differ from what they stand for. */
export function smallestWorld(request: FoldRequest): World {
  const { programs, bindings, symmetry } = request;
  let { digits } = symmetry;
  bindings.forEach((binding) => (digits = digits.filter((digit) => seesNothing(digit, binding, symmetry))));
  programs.forEach((program, stage) => {
    const binding = bindings[stage];
    if (binding === undefined) return;
    digits = sizedAlike(digits, program, binding, request);
  });
  return symmetry.world(request.mean ? digits : keptByCollectives(digits, request));
}

function usedTemplates({ nodes, templates }: Program): Template[] {
  const names = new Set(nodes.map(({ template }) => template));
  return [...names].flatMap((name) => templates[name] ?? []);
}

/** Whether the binding says that ranks along a digit see the same. */
function seesNothing({ stride, radix }: Digit, { alike }: Binding, { layout: { etp, ep, edp } }: Symmetry): boolean {
  if (alike === 'ranks') return true;
  // only index along edp changes: ranks of other expert groups
  return alike === 'groups' && stride >= etp * ep && stride * radix <= etp * ep * edp;
}

const knownSizes = new WeakMap<Program, Map<string, readonly Digit[]>>();

/** Digits along which rows and counts of a program are the same; worked out once for each program and place. */
function sizedAlike(
  digits: readonly Digit[],
  program: Program,
  binding: Binding,
  request: FoldRequest,
): readonly Digit[] {
  let known = knownSizes.get(program);
  if (known === undefined) knownSizes.set(program, (known = new Map()));
  const asked = digits.map(({ stride, radix }) => `${stride}x${radix}`).join();
  const key = `${binding.alike} ${asked} of ${JSON.stringify(request.symmetry.layout)}`;
  let kept = known.get(key);
  if (kept === undefined) {
    const templates = usedTemplates(program);
    kept = digits.filter((digit) => templates.every((template) => sizesKeep(digit, template, binding, request)));
    known.set(key, kept);
  }
  return kept;
}

/** Whether rows and counts are those of the next rank along a digit. */
function sizesKeep(digit: Digit, template: Template, binding: Binding, { symmetry }: FoldRequest): boolean {
  const rules = new Set<RowRule>();
  for (const { rows } of template.regions) if (typeof rows !== 'number') rules.add(rows.rule);
  for (const { body } of template.operations)
    if (body.kind === 'kernel' && typeof body.work.rows !== 'number') rules.add(body.work.rows.rule);
  const { size } = symmetry.world([]);
  for (const rule of rules) {
    // where the layout decides all ranks are asked; where routing does, which is alike, one stands for the rule
    const last = rule.routed ? 1 : size;
    for (let rank = 0; rank < last; rank++) {
      const [one, other] = [rank, moved(rank, digit)].map((each) => binding.rows(rule, each, 0, whole));
      if (one !== other) return false;
    }
  }
  const exchanges = new Set(
    template.operations.flatMap(({ body }) => (body.kind === 'collective' && body.counts ? [body.counts] : [])),
  );
  return [...exchanges].every((exchange) => {
    const [one, other] = [0, moved(0, digit)].map((rank) => {
      const { send, receive } = binding.counts(exchange, rank, 0, whole);
      return `${[...send].sort((a, b) => a - b).join()} ${[...receive].sort((a, b) => a - b).join()}`;
    });
    return one === other;
  });
}

/** Digits along which all collectives of the programs load ports alike. */
function keptByCollectives(digits: readonly Digit[], request: FoldRequest): readonly Digit[] {
  const patterns = patternsOf(digits, request);
  const all = (kept: readonly Digit[]): boolean => patterns.every((pattern) => keeps(pattern, kept, request));
  if (digits.length === 0 || all(digits)) return digits;
  // where not together, then those that do alone, as long as they do together
  let kept = digits.filter((digit) => all([digit]));
  while (kept.length > 0 && !all(kept)) kept = kept.slice(0, -1);
  return kept;
}

/** How the collectives of a kind of group move. */
interface Pattern {
  readonly name: CollectiveName;
  readonly group: Group;
  readonly of: EvenLoad['of'];
  readonly algorithm: Algorithm;
}

/** Patterns that are not direct exchanges, which treat all pairs alike. */
function patternsOf(digits: readonly Digit[], request: FoldRequest): Pattern[] {
  const { programs, bindings, symmetry, groups, fabric, model, stageOf } = request;
  const found = new Map<string, Pattern>();
  const priced = new Set<string>();
  const { ranks } = symmetry.world(digits);
  programs.forEach((program, stage) => {
    const binding = bindings[stage];
    const own = ranks.filter((rank) => stageOf(rank) === stage);
    for (const template of binding === undefined ? [] : usedTemplates(program))
      for (const operation of template.operations) {
        const { body } = operation;
        if (binding === undefined || body.kind !== 'collective') continue;
        if (['all_to_all', 'send', 'receive', 'barrier'].includes(body.name)) continue;
        for (const members of new Set(own.map((rank) => groups.of(body.group, rank)))) {
          const asked = { template, operation, body, members, node: 0, binding };
          const load = evenLoad(asked) ?? collectiveLoad(asked);
          const key = load.kind === 'even' ? `${body.name} ${body.group} ${members[0]} ${load.bytes}` : '';
          if (priced.has(key)) continue;
          if (key !== '') priced.add(key);
          const { algorithm } = scaledCollective({ model, fabric, name: body.name, members, load });
          if (algorithm === 'direct' && body.name !== 'broadcast') continue;
          const pattern = { name: body.name, group: body.group, of: 'blocks', algorithm } as const;
          found.set(Object.values(pattern).join(), pattern);
        }
      }
  });
  return [...found.values()];
}

const answers = new WeakMap<Symmetry, Map<string, boolean>>();

/** Whether a pattern loads all ports of a kind, and all ranks of a kind, alike. */
function keeps(pattern: Pattern, digits: readonly Digit[], request: FoldRequest): boolean {
  const { symmetry } = request;
  let known = answers.get(symmetry);
  if (known === undefined) answers.set(symmetry, (known = new Map()));
  const key = `${Object.values(pattern).join()} ${digits.map(({ stride }) => stride).join()}`;
  let answer = known.get(key);
  if (answer === undefined) known.set(key, (answer = loadsAlike(pattern, digits, request)));
  return answer;
}

/** Adds up what flows of every kind do to every port and every rank, over all groups. */
function loadsAlike(pattern: Pattern, digits: readonly Digit[], { symmetry, groups, fabric }: FoldRequest): boolean {
  const { name, group, of, algorithm } = pattern;
  const world = symmetry.world(digits);
  const loads = new Map<string, Map<number, number>>();
  const add = (kind: string, at: number): void => {
    const counts = loads.get(kind) ?? new Map<number, number>();
    loads.set(kind, counts);
    counts.set(at, (counts.get(at) ?? 0) + 1);
  };
  for (const members of groups.all(group, world.size)) {
    const load = unitLoad(of, members.length);
    const { flows } = decompose({ name, members, load, algorithm, nodeOf: (rank) => fabric.nodeOf(rank) });
    for (const { from, to, bytes } of flows) {
      const { ports, slowdown } = fabric.route(from, to);
      const kinds = ports.map((port) => world.portPlace[port]);
      const kind = [world.placeOf[from], world.placeOf[to], bytes.toPrecision(12), slowdown, ...kinds].join();
      for (const [index, port] of ports.entries()) add(`${kind} port ${index}`, port);
      add(`${kind} from`, from);
      add(`${kind} to`, to);
    }
  }
  return [...loads].every(([kind, counts]) => {
    const [at = 0] = counts.keys();
    const like = kind.includes('port')
      ? (world.ports[world.portPlace[at] ?? -1]?.count ?? 0)
      : world.size / world.ranks.length;
    const [first] = counts.values();
    return counts.size === like && [...counts.values()].every((count) => count === first);
  });
}
