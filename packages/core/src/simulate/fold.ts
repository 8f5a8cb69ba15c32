/**
 * One rank of every kind. Ranks are alike when place, sizes and what collectives do to ports make no difference between
 * them; then all of them do the same at the same time, and one stands for all, with ports as wide as those of all
 * together. That is exact: the simulation of all ranks gives the same times but for rounding.
 */
import { scaledCollective, type CostModel } from '../cost/index.js';
import type { Group } from '../layout/layout.js';
import type { CollectiveName, Binding, Program, Template } from '../schedule/schedule.js';
import type { Exchange, RowRule, Size } from '../schedule/rows.js';
import { decompose, unitLoad, type Algorithm, type EvenLoad, type Flow } from '../traffic/flows.js';
import { collectiveLoad, evenLoad } from '../traffic/load.js';
import { moved, type Digit, type Fabric, type Symmetry, type World } from '../traffic/index.js';
import { memoized } from '../units/index.js';
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
  const asked = askedOf(binding)(symmetry);
  const key = `${digit.stride}x${digit.radix}`;
  let known = asked.get(key);
  if (known === undefined) asked.set(key, (known = new Map()));
  const keeps = (what: RowRule | Exchange, ask: () => boolean): boolean => {
    let answer = known.get(what);
    if (answer === undefined) known.set(what, (answer = ask()));
    return answer;
  };
  const { rules, exchanges } = sizesOf(template);
  return (
    rules.every((rule) => keeps(rule, () => rowsAlike(digit, rule, binding, symmetry))) &&
    exchanges.every((exchange) => keeps(exchange, () => countsAlike(digit, exchange, binding)))
  );
}

/** What rows and counts of a template follow, each once. */
const sizesOf = memoized(({ regions, operations }: Template) => {
  const rules = new Set<RowRule>();
  const exchanges = new Set<Exchange>();
  const add = (rows: Size): void => {
    if (typeof rows !== 'number') rules.add(rows.rule);
  };
  for (const { rows } of regions) add(rows);
  for (const { body } of operations) {
    if (body.kind === 'kernel') add(body.work.rows);
    else if (body.kind === 'collective' && body.counts !== undefined) exchanges.add(body.counts);
  }
  return { rules: [...rules], exchanges: [...exchanges] };
});

/** What was asked of rules and exchanges, by digit. */
const newAnswers = () => new Map<string, Map<RowRule | Exchange, boolean>>();
const askedOf = memoized<Binding, (symmetry: Symmetry) => ReturnType<typeof newAnswers>>(() => memoized(newAnswers));

/**
 * Where the layout decides all ranks are asked. Where routing does, one stands for the rule, and nothing is asked where
 * every rank sends the same to every rank: moving all of them along a digit keeps groups and nodes besides.
 */
function rowsAlike(digit: Digit, rule: RowRule, binding: Binding, symmetry: Symmetry): boolean {
  if (rule.routed && binding.alike === 'ranks') return true;
  if (rule.routed) return binding.rows(rule, 0, 0, whole) === binding.rows(rule, moved(0, digit), 0, whole);
  const rows = rowsOfRanks(binding)(symmetry)(rule);
  return rows.every((own, rank) => own === rows[moved(rank, digit)]);
}

const rowsOfRanks = memoized((binding: Binding) =>
  memoized((symmetry: Symmetry) =>
    memoized((rule: RowRule) =>
      Float64Array.from({ length: symmetry.ranks }, (_, rank) => binding.rows(rule, rank, 0, whole)),
    ),
  ),
);

function countsAlike(digit: Digit, exchange: Exchange, binding: Binding): boolean {
  if (exchange.fixed === undefined && binding.alike === 'ranks') return true;
  const [one, other] = [0, moved(0, digit)].map((rank) => {
    const { send, receive } = binding.counts(exchange, rank, 0, whole);
    return `${send.slice().sort().join()} ${receive.slice().sort().join()}`;
  });
  return one === other;
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
          const { algorithm } = scaledCollective({ model, fabric, name: body.name, members, load }).move;
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

/** Above the numbers of ranks. */
const mostRanks = 2 ** 26;

/** Numbers for sequences of small whole numbers, equal ones for equal sequences. */
class Sequences {
  readonly #numbers = new Map<number, number>();

  /** Of a sequence (by its number; 0 is the empty one) and what follows it. */
  followed(by: number, what: number): number {
    const key = by * mostRanks + what;
    let number = this.#numbers.get(key);
    if (number === undefined) this.#numbers.set(key, (number = this.#numbers.size + 1));
    return number;
  }
}

/** Flows of a pattern in one group. */
function groupFlows({ name, of, algorithm }: Pattern, members: readonly number[], fabric: Fabric): readonly Flow[] {
  const nodeOf = (rank: number): number => fabric.nodeOf(rank);
  return decompose({ name, members, load: unitLoad(of, members.length), algorithm, nodeOf }).flows;
}

const groupsOf = ({ group }: Pattern, { groups, symmetry }: FoldRequest): (readonly number[])[] =>
  groups.all(group, symmetry.ranks);

/**
 * Whether the flows of all groups are the same flows when all ranks have moved along a digit: then loads are alike
 * besides. A group that moves as a whole, as far as the network is the same again, becomes one whose flows are its own;
 * of groups that are the same but for where they begin and that move alike, one is looked at.
 */
function keptByMoving(pattern: Pattern, digits: readonly Digit[], request: FoldRequest): boolean {
  const { fabric, groups } = request;
  const all = groupsOf(pattern, request);
  const flowsOf = memoized((members: readonly number[]) => groupFlows(pattern, members, fabric));
  return digits.every((digit) => {
    const seen = new Set<string>();
    return all.every((members) => {
      const [first = 0] = members;
      const ways = members.map((rank) => moved(rank, digit) - rank);
      const [way = 0] = ways;
      if (way % fabric.repeats === 0 && ways.every((one) => one === way)) return true;
      const key = `${first % fabric.repeats} ${members.map((rank) => rank - first).join()} ${ways.join()}`;
      if (seen.has(key)) return true;
      seen.add(key);
      const there = groups.of(pattern.group, first + way);
      return movesInto(flowsOf(members), flowsOf(there), digit);
    });
  });
}

/** Whether flows that have moved along a digit are among others. */
function movesInto(flows: readonly Flow[], others: readonly Flow[], digit: Digit): boolean {
  const bytesOf = new Map(others.map(({ from, to, bytes }) => [from * mostRanks + to, bytes]));
  return flows.every(({ from, to, bytes }) => {
    const other = bytesOf.get(moved(from, digit) * mostRanks + moved(to, digit)) ?? 0;
    return Math.abs(other - bytes) <= 1e-12 * bytes;
  });
}

/** Adds up what flows of every kind do to every port and every rank, over all groups. */
function loadsAlike(pattern: Pattern, digits: readonly Digit[], request: FoldRequest): boolean {
  const { symmetry, fabric } = request;
  if (keptByMoving(pattern, digits, request)) return true;
  const world = symmetry.world(digits);
  const flows = groupsOf(pattern, request).flatMap((members) => groupFlows(pattern, members, fabric));
  const sequences = new Sequences();
  const amounts = new Map<number, string>();
  const texts = new Map<string, number>();
  /** Equal for amounts that differ by rounding. */
  const amountOf = (amount: number): number => {
    let text = amounts.get(amount);
    if (text === undefined) amounts.set(amount, (text = amount.toPrecision(12)));
    let number = texts.get(text);
    if (number === undefined) texts.set(text, (number = texts.size));
    return number;
  };
  const loads = new Map<number, Load>();
  const add = (kind: number, index: number, load: Pick<Load, 'of' | 'at'>): void => {
    const key = sequences.followed(kind, index);
    const known = loads.get(key) ?? { ...load, counts: new Map<number, number>() };
    loads.set(key, known);
    known.counts.set(load.at, (known.counts.get(load.at) ?? 0) + 1);
  };
  for (const { from, to, bytes } of flows) {
    const { ports, slowdown } = fabric.route(from, to);
    let kind = sequences.followed(0, world.placeOf[from] ?? 0);
    kind = sequences.followed(kind, world.placeOf[to] ?? 0);
    kind = sequences.followed(kind, amountOf(bytes));
    kind = sequences.followed(kind, amountOf(slowdown));
    for (const port of ports) kind = sequences.followed(kind, (world.portPlace[port] ?? -1) + 1);
    ports.forEach((port, index) => {
      add(kind, index, { of: 'port', at: port });
    });
    add(kind, ports.length, { of: 'rank', at: from });
    add(kind, ports.length + 1, { of: 'rank', at: to });
  }
  return [...loads.values()].every(({ of: what, at, counts }) => {
    const like =
      what === 'port' ? (world.ports[world.portPlace[at] ?? -1]?.count ?? 0) : world.size / world.ranks.length;
    const [first] = counts.values();
    return counts.size === like && [...counts.values()].every((count) => count === first);
  });
}

/** How often flows of a kind load each of the ports, or the ranks, of a kind; `at` is one of them. */
interface Load {
  readonly of: 'port' | 'rank';
  readonly at: number;
  readonly counts: Map<number, number>;
}
