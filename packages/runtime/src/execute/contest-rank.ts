/** A rank's side of a contest of ways to dispatch. */
import { minOf } from '@monta/core/units';
import type { LayerPass, Strategy } from '@monta/core';
import type { Communicator } from '../comm/communicator.js';
import type { Device } from '../device/device.js';
import { readFloats } from '../device/host-array.js';
import type { RankContext } from '../launch/rank-context.js';
import type { ContestCase, ContestJob, RankCase, RankWay, Runs } from './dispatch-contest.js';
import { DispatchExecutor, type DispatchRun } from './dispatch-executor.js';
import { RowStore } from './sample-rows.js';

const passes = ['forward', 'backward'] as const satisfies readonly LayerPass[];

/** A rank's side; returns how many layers were measured. */
export function contestOnRank(context: RankContext<ContestJob>): number {
  const { endpoint, device, data: job, size } = context;
  const everyone = Array.from({ length: size }, (_, rank) => rank);
  const world = endpoint.communicator('contest', everyone, device.queue('control'));
  const rows = new RowStore(device);
  const start = endpoint.now();
  let done = 0;
  for (const [place, one] of job.cases.entries()) {
    if (largest(device, world, endpoint.now() - start) > job.seconds) break;
    context.report({ place, ways: contestOf(context, world, rows, one) } satisfies RankCase);
    done += 1;
  }
  rows.close();
  return done;
}

/** The largest of every rank's numbers, on all ranks. */
export const largest = (device: Device, world: Communicator, value: number): number =>
  largestOf(device, world, Float32Array.of(value))[0] ?? value;

function largestOf(device: Device, world: Communicator, values: Float32Array): Float32Array {
  if (world.size === 1) return values;
  const view = device.allocate('f32', values.length);
  device.write(view, values);
  device.wait(world.allReduce(view, { reduction: 'max' }));
  const agreed = readFloats(device, view);
  device.free(view);
  return agreed;
}

function contestOf(
  context: RankContext<ContestJob>,
  world: Communicator,
  rows: RowStore,
  one: ContestCase,
): readonly RankWay[] {
  const { endpoint, device, data: job } = context;
  const { shape, routing, seed, strategies, tried, kept } = one;
  const executors = strategies.map(
    (strategy) => new DispatchExecutor({ shape, strategy, passes, routing, seed, endpoint, device, rows }),
  );
  const inTurns = (places: readonly number[], runs: number): Runs[] => {
    const all = executors.map((): DispatchRun[][] => []);
    for (let turn = 0; turn < runs; turn++)
      for (const place of places) all[place].push(executors[place].run(0, { checked: false }));
    return all;
  };
  const every = [...strategies.keys()];
  const { checkedRows, onceShare = Infinity } = job;
  const checked = executors.map((executor) => [executor.run(0, checkedRows === undefined ? {} : { checkedRows })]);
  const trials = inTurns(tried, job.trialRuns);
  const agreedSeconds = (runs: readonly Runs[]): number[][] => {
    const own = Float32Array.from(runs.flatMap(([run]) => run.map(({ start, end }) => end - start)));
    const agreed = largestOf(device, world, own);
    return every.map((place) => passes.map((_, pass) => agreed[passes.length * place + pass]));
  };
  const again = onceShare === Infinity ? every : nearFastest(strategies, agreedSeconds(checked), onceShare);
  const once = inTurns(again, 1);
  const near = nearFastest(
    strategies,
    agreedSeconds(once.map((runs, place) => (runs.length > 0 ? runs : checked[place]))),
    job.finalShare,
  );
  const finals = inTurns([...new Set([...near, ...kept])], job.finalRuns);
  const ways = executors.map(({ counts, peakBytes }, place) => ({
    checked: checked[place],
    trials: trials[place],
    once: once[place],
    finals: finals[place],
    counts,
    peakBytes,
  }));
  for (const executor of executors) executor.close();
  // The next layer has blocks of other sizes, and ranks may share a card.
  device.trim?.();
  return ways;
}

/** Seconds of both passes of a pair of halves in its best chunk counts. */
const bestOfHalves = (seconds: readonly (readonly number[])[]): number =>
  passes.reduce((sum, _, pass) => sum + minOf(seconds.map((ofPass) => ofPass[pass])), 0);

/**
 * Places of ways within a share of the fastest: of those pairs of halves whose best chunk counts are, the chunk counts
 * that are for either pass. `seconds` by way and pass.
 */
export function nearFastest(
  strategies: readonly Strategy[],
  seconds: readonly (readonly number[])[],
  share: number,
): number[] {
  const pairs = new Map<string, number[]>();
  strategies.forEach(({ dispatch, combine }, place) => {
    const key = `${dispatch} ${combine}`;
    pairs.set(key, [...(pairs.get(key) ?? []), place]);
  });
  const of = (places: readonly number[]): (readonly number[])[] => places.map((place) => seconds[place]);
  const fastest = minOf([...pairs.values()].map((places) => bestOfHalves(of(places))));
  return [...pairs.values()]
    .filter((places) => bestOfHalves(of(places)) <= fastest * (1 + share))
    .flatMap((places) => {
      const best = passes.map((_, pass) => minOf(of(places).map((ofPass) => ofPass[pass])));
      return places.filter((place) => best.some((least, pass) => seconds[place][pass] <= least * (1 + share)));
    });
}
