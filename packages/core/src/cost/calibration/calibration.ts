/**
 * The calibration file: JSON, version 1.
 *
 *   { "format": "monta-calibration", "version": 1,
 *     "notes": ["..."],                                   what a reader should know
 *     "series": [ {
 *       "gpu": "H100 80GB HBM3", "system": "",           device as written; cluster or fabric, "" when there is one
 *       "library": "nccl 2.29.2", "op": "all_gather",    op: one of `measuredOps`
 *       "ranks": 8, "nodes": 1,                           nodes: null when not known
 *       "groups": 8,                                      groups that ran at the same time; absent for one
 *       "basis": "measured", "addedError": 0,            or "derived", and the relative error that deriving adds
 *       "sources": ["collectives.csv:170-190"],
 *       "points": [[512, 1.01e-5], [1024, 1.1e-5, 0.2]]   [total bytes as nccl-tests counts, seconds], rising,
 *                                                         times not falling;
 *                                                         third: typical share by which repeats of the size differ
 *     } ],
 *     "probes": [ ... ] }                                 what `monta calibrate --probe` found besides curves,
 *                                                         see probe.ts; may be absent
 */
import { InputError, limits } from '../../units/index.js';
import { readDocument } from '../../units/documents/index.js';
import type { Field } from '../../units/documents/index.js';
import { cleanPoints } from './clean-points.js';
import type { Knot } from './clean-points.js';
import { measuredOps } from './measurement.js';
import { between } from './middle.js';
import { readProbe } from './probe.js';
import type { Probe } from './probe.js';
import { describeKey, keyText } from './series.js';
import type { Series } from './series.js';

export interface Calibration {
  readonly series: readonly Series[];
  readonly notes: readonly string[];
  readonly probes?: readonly Probe[];
}

const format = 'monta-calibration';
const version = 1;

function item(s: Series): string {
  const { points, ...rest } = s;
  const pairs = points.map(({ bytes, seconds, spread }) => {
    const more = spread === undefined ? '' : `, ${Number(spread.toPrecision(3))}`;
    return `[${bytes}, ${Number(seconds.toPrecision(7))}${more}]`;
  });
  return `    ${JSON.stringify(rest).slice(0, -1)},\n      "points": [${pairs.join(', ')}]}`;
}

/** The text of a calibration file. */
export function writeCalibration({ series, notes, probes = [] }: Calibration): string {
  const head = `"format": "${format}",\n  "version": ${version},\n  "notes": ${JSON.stringify(notes)}`;
  const tail = probes.length === 0 ? '' : `,\n  "probes": ${JSON.stringify(probes, null, 2).replaceAll('\n', '\n  ')}`;
  return `{\n  ${head},\n  "series": [\n${series.map(item).join(',\n')}\n  ]${tail}\n}\n`;
}

/**
 * Reads a calibration file, strictly. Throws `InputError` with file, line and path for something else than a
 * calibration, another version, unknown or missing keys, values out of range, points out of order, two series of the
 * same key, and a file with nothing in it.
 */
export function readCalibration(text: string, fileName: string): Calibration {
  const document = readDocument(text, fileName);
  if (!document.keys().includes('format')) {
    throw new InputError('is not a calibration', {
      file: fileName,
      expected: `JSON with "format": "${format}"`,
      hint: 'monta calibrate makes one of measurements: monta calibrate <file> -o calibration.json',
    });
  }
  const top = document.map(['format', 'version', 'notes', 'series', 'probes']);
  top.need('format', `"${format}"`).oneOf([format]);
  const number = top.need('version', `${version}`);
  const found = number.integer({ max: Number.MAX_SAFE_INTEGER });
  if (found !== version) {
    throw number.error(`version ${found} is not known`, {
      expected: `version ${version}`,
      hint: 'run monta calibrate again on the measurements',
    });
  }
  const seen = new Map<string, string>();
  const series = top
    .need('series', 'a list of series')
    .list()
    .map((field) => {
      const one = readSeries(field);
      const earlier = seen.get(keyText(one));
      if (earlier !== undefined)
        throw field.error(`${describeKey(one)} is there twice`, { expected: `it once (see ${earlier})` });
      seen.set(keyText(one), field.path);
      return one;
    });
  const notes = top.get('notes')?.list() ?? [];
  const probes = top.get('probes')?.list().map(readProbe) ?? [];
  if (series.length === 0 && probes.length === 0) {
    throw top.need('series').error('there is nothing in it', { expected: 'at least one series or probe' });
  }
  return { series, notes: notes.map((note) => note.string()), ...(probes.length === 0 ? {} : { probes }) };
}

function readSeries(field: Field): Series {
  const map = field.map([
    'gpu',
    'system',
    'library',
    'op',
    'ranks',
    'nodes',
    'groups',
    'basis',
    'addedError',
    'sources',
    'points',
  ]);
  const text = (key: string): string => {
    const value = map.need(key, 'text, "" for none');
    return value.value === '' ? '' : value.string();
  };
  const ranks = map.need('ranks').integer({ min: 2, max: limits.ranks });
  const nodesField = map.get('nodes');
  const nodes = nodesField?.integer({ min: 1, max: ranks }) ?? null;
  const groups = map.get('groups')?.integer({ min: 2, max: limits.ranks });
  const pointsField = map.need('points', 'pairs [bytes, seconds]');
  const points = pointsField.list(2).map((pair) => {
    const [bytes, seconds, spread, more] = pair.list(2);
    if (bytes === undefined || seconds === undefined || more !== undefined)
      throw pair.error('is no point', { expected: '[bytes, seconds] or [bytes, seconds, spread]' });
    return {
      bytes: bytes.number({ above: 0 }),
      seconds: seconds.number({ above: 0 }),
      ...(spread === undefined ? {} : { spread: spread.number({ min: 0 }) }),
    };
  });
  points.forEach((point, i) => {
    const before = points[i - 1];
    if (before !== undefined && (point.bytes <= before.bytes || point.seconds < before.seconds)) {
      throw pointsField.error(`point ${i} [${point.bytes}, ${point.seconds}] breaks the order`, {
        expected: 'rising sizes with times that do not fall',
      });
    }
  });
  return {
    gpu: text('gpu'),
    system: text('system'),
    library: text('library'),
    op: map.need('op').oneOf(measuredOps),
    ranks,
    nodes,
    ...(groups === undefined ? {} : { groups }),
    basis: map.need('basis').oneOf(['measured', 'derived']),
    addedError: map.need('addedError').number({ min: 0 }),
    sources: map
      .need('sources')
      .list()
      .map((s) => s.string()),
    points,
  };
}

/**
 * One calibration out of several. Of two series with the same key the measured one wins over a derived one; two that
 * were both measured must agree where their sizes meet (`InputError` else): their points are put together, repeats of
 * one size by their median and spread.
 */
export function mergeCalibrations(calibrations: readonly Calibration[], typicalFactor = 1.5): Calibration {
  const merged = new Map<string, Series>();
  for (const one of calibrations.flatMap((c) => c.series)) {
    const earlier = merged.get(keyText(one));
    if (earlier === undefined || (earlier.basis === 'derived' && one.basis === 'measured'))
      merged.set(keyText(one), one);
    else if (earlier.basis === one.basis) merged.set(keyText(one), joined(earlier, one, typicalFactor));
  }
  const all = calibrations.flatMap((c) => c.probes ?? []);
  // A later probe of the same backend replaces an earlier one.
  const probes = [...new Map(all.map((probe) => [`${probe.gpu}|${probe.system}|${probe.library}`, probe])).values()];
  const notes = [...new Set(calibrations.flatMap((c) => c.notes))];
  return { series: [...merged.values()], notes, ...(probes.length === 0 ? {} : { probes }) };
}

function joined(earlier: Series, later: Series, typicalFactor: number): Series {
  const factor = disagreement(earlier, later);
  if (factor > typicalFactor) {
    throw new InputError(
      `two calibrations of ${describeKey(later)} differ ${factor.toFixed(1)} times (${earlier.sources.join(', ')}; ` +
        `${later.sources.join(', ')})`,
      {
        expected: 'measurements of one cluster',
        hint: 'if they are two clusters, give each its name with --system',
      },
    );
  }
  const spreads = new Map([...earlier.points, ...later.points].map(({ bytes, spread }) => [bytes, spread ?? 0]));
  for (const { bytes, spread = 0 } of earlier.points) spreads.set(bytes, Math.max(spread, spreads.get(bytes) ?? 0));
  const points = cleanPoints(
    [...earlier.points, ...later.points].map(({ bytes, seconds }) => ({ bytes, seconds })),
  ).knots;
  return {
    ...later,
    addedError: Math.max(earlier.addedError, later.addedError),
    sources: [...new Set([...earlier.sources, ...later.sources])],
    points: points.map((point) => {
      const spread = Math.max(point.spread ?? 0, spreads.get(point.bytes) ?? 0);
      return spread === 0 ? point : { ...point, spread };
    }),
  };
}

/**
 * How many times two series differ where their sizes meet (straight lines between them), in the middle; 1 when they do
 * not meet.
 */
export function disagreement(a: Pick<Series, 'points'>, b: Pick<Series, 'points'>): number {
  const factors = b.points
    .flatMap(({ bytes, seconds }) => {
      const other = within(a.points, bytes);
      return other === undefined ? [] : [Math.max(seconds / other, other / seconds)];
    })
    .sort((x, y) => x - y);
  return factors[Math.floor(factors.length / 2)] ?? 1;
}

function within(points: readonly Knot[], bytes: number): number | undefined {
  const next = points.findIndex((point) => point.bytes >= bytes);
  const [low, high] = [points[next - 1], points[next]];
  if (high?.bytes === bytes) return high.seconds;
  return low === undefined || high === undefined ? undefined : between(low, high, bytes);
}
