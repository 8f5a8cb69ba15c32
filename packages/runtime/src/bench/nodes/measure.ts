/**
 * Dispatch over nodes, measured in one run: a calibration, exchanges without kernels, every way and chunk count, the
 * plan's choice over many layers, and a training step. What is measured is told at once, and what fails does not end
 * the rest.
 */
import type { Cluster, Layout, MoeShape } from '@monta/core';
import { runContest, type ContestRules } from '../../execute/dispatch-contest.js';
import { boundedLauncher, OutOfTime, type Launcher } from '../../launch/index.js';
import type { NamedCase } from './contest-cases.js';
import { contestFigures, prepareContest, type ContestFigures, type PreparedContest } from './decide.js';
import { exchangeWays, measureNodeExchanges } from './exchanges.js';
import { calibrateGround, type CalibratedGround, type Ground } from './ground.js';
import type { ArrangementReport } from './report.js';
import { trainingSteps, type StepsRequest } from './step-ways.js';

export interface ArrangementRequest {
  readonly launcher: Launcher;
  /** How many nodes there are and how many ranks each has. */
  readonly cluster: Cluster;
  readonly dtype: MoeShape['dtype'];
  /** What layers of the calibration are divided by; 1 unless given. */
  readonly smaller?: number;
  /** Layers of which every way is told, and those on which the choice is judged. */
  readonly strategies: readonly NamedCase[];
  readonly choices: readonly NamedCase[];
  /** Dispatched bytes of a replica, of the exchanges without kernels; none: not measured. */
  readonly volumes: readonly number[];
  readonly exchangeTurns: number;
  /** Of a contest: without its seconds, which each of the two lists has. */
  readonly rules: Omit<ContestRules, 'seconds'>;
  /** Of all parts together; a layer that was begun is measured to its end. */
  readonly seconds: number;
  /** When everything ends that still runs, on `performance.now`'s clock, ms. */
  readonly deadline: number;
  /** The training step of how many layers at most, on cards of so many bytes; absent: none. */
  readonly steps?: StepsRequest;
  readonly say: (text: string) => void;
  /** Told whenever something was added. */
  readonly onReport: (report: ArrangementReport) => void;
}

/** Shares of what is left: after the calibration for exchanges, then for the choices. Strategies have the rest. */
const shares = { exchanges: 0.15, choices: 0.6 };
/** Kept back for the layer that is under way when time is over; and for the step what it may take, and its end. */
const kept = { layer: 15, step: 20 };

/** Far more than any operation takes. */
const stuckAfterSeconds = 60;

type Draft = { -readonly [Key in keyof ArrangementReport]: ArrangementReport[Key] };

/** A report in the making. */
class Telling {
  readonly report: Draft;
  readonly #request: ArrangementRequest;

  constructor(request: ArrangementRequest) {
    this.#request = request;
    const [{ size }, { size: nodes } = { size: 1 }] = request.cluster.tiers;
    this.report = {
      ranks: `${nodes} ${nodes === 1 ? 'node' : 'nodes'} of ${size} ranks`,
      exchanges: [],
      strategies: [],
      choices: [],
      runs: { trial: request.rules.trialRuns, final: request.rules.finalRuns },
      problems: [],
    };
  }

  tell(change: Partial<Draft>): void {
    this.#request.onReport(Object.assign(this.report, change));
  }

  /** Runs a part; what it throws is told as a problem. */
  async attempt(what: string, part: () => Promise<void>): Promise<void> {
    const { say } = this.#request;
    const start = performance.now();
    try {
      await part();
    } catch (error) {
      const text = `${what}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
      say(text);
      this.tell({ problems: [...this.report.problems, text] });
    }
    say(`${this.report.ranks}, ${what}: ${((performance.now() - start) / 1e3).toFixed(1)} s`);
  }
}

/** Measures one arrangement of ranks. Never rejects for what a part of it did. */
export async function measureArrangement(request: ArrangementRequest): Promise<ArrangementReport> {
  const { cluster, say, steps, dtype, smaller } = request;
  const launcher = boundedLauncher(request.launcher, { end: request.deadline, stuckAfterSeconds });
  const telling = new Telling(request);
  const end = performance.now() + request.seconds * 1e3;
  const left = (): number =>
    (end - performance.now()) / 1e3 - (steps === undefined ? 0 : steps.seconds + kept.step) - kept.layer;
  let ground: CalibratedGround | undefined;
  await telling.attempt('calibration', async () => {
    const layouts = layoutsOf([...request.strategies, ...request.choices]);
    ground = await calibrateGround({ launcher, cluster, layouts, dtype, smaller, onPhase: say });
    telling.tell({ calibration: calibrationOf(ground) });
  });
  if (request.volumes.length > 0)
    await telling.attempt('exchanges', () =>
      measureNodeExchanges({
        launcher,
        tp: cluster.tiers[0].size,
        job: {
          volumes: request.volumes,
          ways: exchangeWays([1, 2, 4, 8]),
          turns: request.exchangeTurns,
          seconds: shares.exchanges * left(),
        },
        onVolume: (one) => telling.tell({ exchanges: [...telling.report.exchanges, one] }),
      }),
    );
  if (ground !== undefined) await measureLayers({ ...request, launcher }, { ground, telling, left });
  return telling.report;
}

/** What stands on a calibration: choices, strategies and a step. `left`: seconds until they have to end. */
async function measureLayers(
  request: ArrangementRequest,
  {
    ground,
    telling,
    left,
  }: { readonly ground: CalibratedGround; readonly telling: Telling; readonly left: () => number },
): Promise<void> {
  const { say, steps } = request;
  const { report } = telling;
  const judged = async (
    cases: readonly NamedCase[],
    { predictAll, seconds }: { readonly predictAll: boolean; readonly seconds: number },
    add: (one: ContestFigures) => void,
  ) => {
    const prepared = cases.flatMap((named) => attemptToPrepare(ground, named, say));
    await contest(request, prepared, seconds, (one, result) =>
      add(contestFigures(one, result, { ground, predictAll })),
    );
  };
  const choicesShare = request.strategies.length === 0 ? 1 : shares.choices;
  await telling.attempt('choices', () =>
    judged(request.choices, { predictAll: false, seconds: choicesShare * left() }, (one) =>
      telling.tell({ choices: [...report.choices, summaryOf(one)] }),
    ),
  );
  await telling.attempt('strategies', () =>
    judged(request.strategies, { predictAll: true, seconds: left() }, (one) =>
      telling.tell({ strategies: [...report.strategies, one] }),
    ),
  );
  if (steps !== undefined)
    await telling.attempt('training step', () =>
      trainingSteps(ground, steps, { say, onFigures: (figures) => telling.tell({ steps: figures }) }),
    );
}

/** Different layouts, in order. */
function layoutsOf(cases: readonly NamedCase[]): Layout[] {
  const found = new Map(cases.map(({ shape: { layout } }) => [JSON.stringify(layout), layout]));
  return [...found.values()];
}

function calibrationOf({ links, measurements, lineRates, probe, modelError, seconds }: CalibratedGround) {
  return {
    links,
    measurements: measurements.map(({ op, ranks, nodes, groups, bytes, seconds: took }) => ({
      op,
      ranks,
      nodes,
      ...(groups === undefined ? {} : { groups }),
      bytes,
      seconds: took,
    })),
    lineRates,
    startSeconds: probe.startSeconds,
    wakeSeconds: probe.wakeSeconds,
    modelError,
    seconds,
  };
}

function attemptToPrepare(ground: Ground, named: NamedCase, say: (text: string) => void): PreparedContest[] {
  try {
    return [prepareContest(ground, named)];
  } catch (error) {
    say(`${named.name}: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
}

/** A layer on which a rank failed is left out, and the others go on in another launch. */
async function contest(
  { launcher, rules, say }: ArrangementRequest,
  prepared: readonly PreparedContest[],
  contestSeconds: number,
  onResult: (one: PreparedContest, result: Parameters<Parameters<typeof runContest>[0]['onResult']>[0]) => void,
): Promise<void> {
  const start = performance.now();
  let rest = prepared;
  while (rest.length > 0) {
    const seconds = contestSeconds - (performance.now() - start) / 1e3;
    if (seconds <= 0) return;
    const here = rest;
    let done = 0;
    try {
      await runContest({
        job: { ...rules, seconds, cases: here.map(({ contest: one }) => one) },
        launcher,
        onResult: (result) => {
          done = result.place + 1;
          say(`${((performance.now() - start) / 1e3).toFixed(0)} s: ${here[result.place].named.name}`);
          onResult(here[result.place], result);
        },
      });
      return;
    } catch (error) {
      if (error instanceof OutOfTime) throw error;
      say(`${here[done]?.named.name ?? 'the end'}: ${error instanceof Error ? error.message : String(error)}`);
      rest = here.slice(done + 1);
    }
  }
}

function summaryOf(figures: ContestFigures): ArrangementReport['choices'][number] {
  const { passes: _passes, ...summary } = figures;
  return summary;
}
