/**
 * What the numbers of `middleRule` are worth: every second size of the published measurements predicted with other
 * numbers, and with numbers that were set without the machines that they are tried on.
 */
import { appendAll, maxOf, minOf } from '../../../units/lists.js';
import { quantile } from '../../../units/quantiles.js';
import { Curve } from '../curve.js';
import { fitCalibration } from '../fit.js';
import type { Measurement } from '../measurement.js';
import { middleRule, type MiddleRule } from '../middle.js';
import { family, halves, mebibyte, seriesOf } from './left-out.js';

/** The numbers of the rule, each as it is, half and twice as large: 3^5 rules. */
function neighbours(): MiddleRule[] {
  const names: readonly (keyof MiddleRule)[] = ['bend', 'sureJump', 'lateJump', 'plainlyDearer', 'plainlySteeper'];
  return names.reduce<MiddleRule[]>(
    (rules, name) => rules.flatMap((rule) => [1, 0.5, 2].map((factor) => ({ ...rule, [name]: rule[name] * factor }))),
    [middleRule],
  );
}

/** Nothing but straight lines: no bend, and no jump is ever sure. */
const straight: MiddleRule = { ...middleRule, bend: 0, sureJump: Infinity, lateJump: Infinity };

/** One row left out: whose it is, and its error with each rule. */
interface Tried {
  readonly group: string;
  readonly errors: readonly number[];
}

function tryAll(measurements: readonly Measurement[], rules: readonly MiddleRule[]): Tried[] {
  return ([0, 1] as const).flatMap((fitted) => {
    const parts = halves(measurements, fitted);
    const { series } = fitCalibration(parts.fitted).calibration;
    const curves = new Map(
      series.map((one) => [seriesOf(one), rules.map((rule) => new Curve(one.points, { rule }))] as const),
    );
    return parts.left.flatMap((m) => {
      const own = curves.get(seriesOf(m));
      if (own === undefined || m.bytes < mebibyte) return [];
      const errors = own.map((curve) => Math.abs(curve.at(m.bytes).seconds / m.seconds - 1));
      return { group: m.system === '' ? family(m.gpu) : 'logs', errors };
    });
  });
}

export interface RuleWorth {
  /** Rows left out from 1 MiB, both halves. */
  readonly rows: number;
  /** 90th percentiles. */
  readonly asSet: number;
  readonly straightLines: number;
  readonly bestNeighbour: number;
  readonly worstNeighbour: number;
  readonly neighbours: number;
  /** Of all rows, each predicted with the neighbour that was best on the other families. */
  readonly setElsewhere: number;
  readonly families: readonly {
    readonly name: string;
    readonly rows: number;
    readonly straightLines: number;
    readonly setElsewhere: number;
    readonly asSet: number;
  }[];
}

/** Tries the rule, its neighbours and straight lines on every row that was left out. */
export function ruleWorth(measurements: readonly Measurement[]): RuleWorth {
  const rules = neighbours();
  const rows = tryAll(measurements, [...rules, straight]);
  const tail = (some: readonly Tried[], rule: number): number =>
    quantile(
      some.map(({ errors }) => errors[rule] ?? Number.NaN),
      0.9,
    );
  const tails = rules.map((_, rule) => tail(rows, rule));
  const elsewhere: number[] = [];
  const families = [...new Set(rows.map(({ group }) => group))].map((name) => {
    const own = rows.filter(({ group }) => group === name);
    const others = rows.filter(({ group }) => group !== name);
    const scores = rules.map((_, rule) => tail(others, rule));
    const chosen = scores.indexOf(minOf(scores));
    appendAll(
      elsewhere,
      own.map(({ errors }) => errors[chosen] ?? Number.NaN),
    );
    const straightLines = tail(own, rules.length);
    return { name, rows: own.length, straightLines, setElsewhere: tail(own, chosen), asSet: tail(own, 0) };
  });
  return {
    rows: rows.length,
    asSet: tails[0] ?? Number.NaN,
    straightLines: tail(rows, rules.length),
    bestNeighbour: minOf(tails),
    worstNeighbour: maxOf(tails),
    neighbours: rules.length,
    setElsewhere: quantile(elsewhere, 0.9),
    families,
  };
}
