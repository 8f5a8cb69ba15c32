/**
 * Answers "how long does this collective take": from a series that was measured, else carried from the best one there
 * is, else unknown.
 */
import type { CollectiveName } from '../../schedule/schedule.js';
import { formatPercent } from '../../units/index.js';
import { knownEstimate, unknownEstimate } from '../estimate.js';
import type { Basis, Estimate } from '../estimate.js';
import type { CollectiveCurves } from '../model.js';
import type { Calibration } from './calibration.js';
import { carryErrors, carriedCurve, expectedCarryError } from './carry-errors.js';
import { carryGpus, carryOps, carryRanks, restsOn } from './carry.js';
import type { Carried } from './carry.js';
import type { Knot } from './clean-points.js';
import type { Coverage } from './coverage.js';
import type { Curve, EvaluationKind } from './curve.js';
import { gpuKey } from './gpus.js';
import { measuredOps } from './measurement.js';
import type { MeasuredOp } from './measurement.js';
import { curveOf, describeKey } from './series.js';
import type { Series, SeriesKey } from './series.js';

export interface Query {
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number;
  /** Total buffer; see `Measurement.bytes`. */
  readonly bytes: number;
  /** Needed only when the calibration holds several. */
  readonly gpu?: string;
  readonly system?: string;
  readonly library?: string;
}

export interface Found {
  readonly seconds: number;
  /** `carried`: not this collective on these ranks was measured, but one that it can be derived from. */
  readonly kind: EvaluationKind | 'carried';
  /** Expected relative error, as a share. */
  readonly expectedError: number;
  /** Measurements and, when carried, the formula, in words. */
  readonly restsOn: readonly string[];
}

export interface NotFound {
  readonly unknown: true;
  readonly why: string;
}

interface Answer {
  readonly curve: Curve;
  readonly coverage: Coverage;
  readonly carried: boolean;
  readonly addedError: number;
  readonly restsOn: readonly string[];
}

/** A calibration with its curves and carried curves at hand. */
export class CalibrationLookup implements CollectiveCurves {
  readonly calibration: Calibration;
  readonly #hardware: Partial<Pick<Query, 'gpu' | 'system' | 'library'>>;
  readonly #answers = new Map<string, Answer | string>();
  #errors: ReadonlyMap<string, number> | undefined;

  /** `hardware` stands in for what queries leave out. */
  constructor(calibration: Calibration, hardware: Partial<Pick<Query, 'gpu' | 'system' | 'library'>> = {}) {
    this.calibration = calibration;
    this.#hardware = hardware;
  }

  /** Time of one collective that runs alone. */
  find(query: Query): Found | NotFound {
    if (!(query.bytes > 0))
      return { unknown: true, why: `a collective of ${query.bytes} bytes has no time to look up` };
    const answer = this.#answerTo(query);
    if (typeof answer === 'string') return { unknown: true, why: answer };
    const { seconds, kind, expectedError } = answer.curve.at(query.bytes);
    if (!answer.carried) {
      return { seconds, kind, expectedError: expectedError + answer.addedError, restsOn: answer.restsOn };
    }
    const error = kind === 'extrapolated' ? answer.addedError + expectedError : answer.addedError;
    return { seconds, kind: 'carried', expectedError: error, restsOn: answer.restsOn };
  }

  /**
   * What an answer about this collective over so many ranks on so many nodes rests on, whatever its size: the series
   * that was measured, those that it is carried from, or why there is nothing. `find` and `seconds` answer from the
   * same.
   */
  coverage(name: CollectiveName, place: { readonly ranks: number; readonly nodes: number }): Coverage {
    const op = measuredOps.find((o) => o === name);
    if (op === undefined) return { kind: 'none', why: `calibrations hold no ${name}` };
    const answer = this.#answerTo({ op, ...place });
    return typeof answer === 'string' ? { kind: 'none', why: answer } : answer.coverage;
  }

  #answerTo(query: Omit<Query, 'bytes'>): Answer | string {
    const wanted = { ...this.#hardware, ...query };
    const id = [wanted.op, wanted.ranks, wanted.nodes, wanted.gpu, wanted.system, wanted.library].join('|');
    let answer = this.#answers.get(id);
    if (answer === undefined) {
      answer = this.#answer(wanted);
      this.#answers.set(id, answer);
    }
    return answer;
  }

  /** The same for the cost model, whose words for the kinds differ: extrapolated is `fitted`, carried is `scaled`. */
  seconds(
    name: CollectiveName,
    place: { readonly ranks: number; readonly nodes: number },
    totalBytes: number,
  ): Estimate {
    const op = measuredOps.find((o) => o === name);
    if (op === undefined) return unknownEstimate(`measured times of ${name}`);
    const found = this.find({ op, ...place, bytes: totalBytes });
    if ('unknown' in found) return unknownEstimate(found.why);
    const detail = `within ${formatPercent(found.expectedError)}, from ${found.restsOn.join('; ')}`;
    return { ...knownEstimate(found.seconds, basisOf[found.kind], detail), expectedError: found.expectedError };
  }

  #answer(wanted: Omit<Query, 'bytes'>): Answer | string {
    const key = this.#key(wanted);
    if (typeof key === 'string') return key;
    const { series } = this.calibration;
    // alone before several groups at once, a known number of nodes before an unknown one
    const exact = series
      .filter((s) => sameKey(s, key))
      .sort(
        (a, b) => (a.groups ?? 1) - (b.groups ?? 1) || Number(b.nodes === key.nodes) - Number(a.nodes === key.nodes),
      )[0];
    if (exact !== undefined) {
      const from = `${describeKey(exact)}: ${exact.points.length} sizes from ${exact.sources.join(', ')}`;
      return {
        curve: curveOf(exact),
        coverage: {
          kind: 'measured',
          series: exact,
          bytes: [exact.points[0]?.bytes ?? 0, exact.points.at(-1)?.bytes ?? 0],
          sources: exact.sources,
        },
        carried: exact.basis === 'derived',
        addedError: exact.addedError,
        restsOn: [from],
      };
    }
    return this.#carry(series, key) ?? whyNot(series, key);
  }

  #carry(series: readonly Series[], key: SeriesKey): Answer | undefined {
    const candidates = [key, ...(key.nodes === 1 ? [{ ...key, nodes: null }] : [])].flatMap((k) => [
      ...[carryRanks(series, k)].filter((c) => c !== undefined),
      ...carryOps(series, k),
      ...carryGpus(series, k),
    ]);
    if (candidates.length === 0) return undefined;
    this.#errors ??= carryErrors(series);
    const errors = this.#errors;
    const ranked = candidates
      .map((carried) => ({ carried, error: expectedCarryError(carried, errors) }))
      .sort((a, b) => a.error - b.error);
    const [best] = ranked;
    if (best === undefined) return undefined;
    const team = teamOf(ranked);
    const mean = { ...best.carried, points: geometricMean(team) };
    return {
      curve: carriedCurve(mean),
      coverage: {
        kind: 'carried',
        from: team.flatMap(({ carried }) => carried.from),
        methods: team.map(({ carried }) => carried.method),
        expectedError: best.error,
      },
      carried: true,
      addedError: best.error,
      restsOn: team.flatMap(({ carried }) => [carried.method, ...restsOn(carried)]),
    };
  }

  /** The one key that a query means, or why there is none. */
  #key(wanted: Omit<Query, 'bytes'>): SeriesKey | string {
    const { series } = this.calibration;
    const gpu =
      wanted.gpu ??
      only(
        series.map((s) => s.gpu),
        gpuKey,
      );
    if (gpu === undefined)
      return `the calibration holds several devices: name one of ${names(series.map((s) => s.gpu))}`;
    const ofGpu = series.filter((s) => gpuKey(s.gpu) === gpuKey(gpu));
    const shaped = ofGpu.filter((s) => s.op === wanted.op && s.ranks === wanted.ranks && matchesNodes(s, wanted.nodes));
    const systems = [...new Set(ofGpu.map((s) => s.system))];
    const system =
      wanted.system !== undefined && systems.includes(wanted.system)
        ? wanted.system
        : systems.includes('')
          ? ''
          : (only(shaped.map((s) => s.system)) ?? only(systems));
    if (system === undefined && ofGpu.length > 0) {
      return `the calibration holds ${gpu} in several systems: name one of ${names(ofGpu.map((s) => s.system))}`;
    }
    const ofSystem = (list: readonly Series[]): Series[] => list.filter((s) => s.system === system);
    const library =
      wanted.library !== undefined && ofGpu.some((s) => s.library === wanted.library)
        ? wanted.library
        : (newest(ofSystem(shaped)) ?? newest(ofSystem(ofGpu)));
    // A device that was not measured at all: only its family can help, with the library of whoever was.
    return {
      gpu,
      system: system ?? '',
      library: library ?? wanted.library ?? '',
      op: wanted.op,
      ranks: wanted.ranks,
      nodes: wanted.nodes,
    };
  }
}

interface Candidate {
  readonly carried: Carried;
  readonly error: number;
}

/** Candidates whose error is within this factor of the best one's are averaged with it. */
const nearlyAsGood = 2;

/** The best candidate of every source that is nearly as good as the best of all: their errors partly cancel. */
function teamOf(ranked: readonly Candidate[]): Candidate[] {
  const sources = (c: Candidate): string => c.carried.from.map(describeKey).join('; ');
  const first = ranked[0]?.error ?? 0;
  return ranked.filter(
    (c, i) => c.error <= nearlyAsGood * first && ranked.findIndex((other) => sources(other) === sources(c)) === i,
  );
}

/** At the sizes of the first, weighted by one over the squared error. */
function geometricMean(team: readonly Candidate[]): Knot[] {
  const curves = team.map(({ carried, error }) => ({ curve: carriedCurve(carried), weight: 1 / error ** 2 }));
  const total = curves.reduce((sum, { weight }) => sum + weight, 0);
  return (team[0]?.carried.points ?? []).map(({ bytes }) => {
    const logs = curves.reduce((sum, { curve, weight }) => sum + weight * Math.log(curve.at(bytes).seconds), 0);
    return { bytes, seconds: Math.exp(logs / total) };
  });
}

const basisOf: Readonly<Record<Found['kind'], Basis>> = {
  measured: 'measured',
  interpolated: 'interpolated',
  extrapolated: 'fitted',
  carried: 'scaled',
};

const matchesNodes = (s: SeriesKey, nodes: number | null): boolean => s.nodes === nodes || s.nodes === null;

const sameKey = (s: SeriesKey, key: SeriesKey): boolean =>
  gpuKey(s.gpu) === gpuKey(key.gpu) &&
  s.system === key.system &&
  s.library === key.library &&
  s.op === key.op &&
  s.ranks === key.ranks &&
  matchesNodes(s, key.nodes);

/** The only value of a list, counted by `by`; undefined when there are several or none. */
function only(values: readonly string[], by: (value: string) => string = (v) => v): string | undefined {
  return new Set(values.map(by)).size === 1 ? values[0] : undefined;
}

const names = (values: readonly string[]): string => [...new Set(values.map((v) => v || '(unnamed)'))].join(', ');

/** The library of the highest version among series. */
function newest(series: readonly Series[]): string | undefined {
  return [...new Set(series.map((s) => s.library))].sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))[0];
}

function whyNot(series: readonly Series[], key: SeriesKey): string {
  const has = series
    .filter((s) => gpuKey(s.gpu) === gpuKey(key.gpu))
    .map((s) => `${s.op} over ${s.ranks} ranks on ${s.nodes ?? '?'} nodes`);
  const held = has.length === 0 ? 'nothing of this device or its family' : `only ${[...new Set(has)].join(', ')}`;
  return (
    `${describeKey(key)} was not measured, and nothing measured can be carried to it (the calibration holds ` +
    `${held})`
  );
}
