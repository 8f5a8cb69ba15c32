/** The exchange of a dispatch half without its kernels: measured between the hosts, and predicted from their links. */
import type { KernelRate } from '@monta/core';
import { InputError, maxOf, median, minOf } from '@monta/core/units';
import { inChunks, namedStrategies } from '@monta/core/schedule';
import { routedBinding, simulatePass } from '@monta/core/plan';
import {
  measureExchanges,
  type Exchange,
  type ExchangeFigure,
  type HostsProbe,
  type LineRates,
  benchWorkload,
} from '@monta/runtime';
import { shapeOf, type Hosts } from './hosts.js';
import type { ExchangeResult, LinksResult, PartsResult } from './types.js';

/** Measures exchanges, and predicts them with kernels that take no time. */
export async function exchangeResults(
  hosts: Hosts,
  volumes: readonly number[],
  chunkCounts: readonly number[],
  repetitions: number,
): Promise<{ readonly links: LinksResult; readonly results: ExchangeResult[]; readonly parts: PartsResult[] }> {
  const { tp, launcher, address, probe } = hosts;
  const exchanges = volumes.flatMap((bytes): Exchange[] => [
    { strategy: 'duplicated', bytes, chunks: 1 },
    ...chunkCounts.map((chunks): Exchange => ({ strategy: 'sliced', bytes, chunks })),
    { strategy: 'all_to_all', bytes, chunks: 1 },
    { strategy: 'all_gather', bytes, chunks: 1 },
  ]);
  const { rates, figures } = await measureExchanges({ launcher, address, tp, exchanges, repetitions });
  const wrong = figures.find((figure) => figure.wrong > 0);
  if (wrong) throw new Error(`${wrong.exchange.strategy}: ${wrong.wrong} elements came out wrong`);
  const links = linksOf(tp, probe, rates);
  const lineRate = lineRateOf(links);
  const results = figures.flatMap(({ exchange, seconds, lineBytes }): ExchangeResult[] => {
    const { strategy, bytes, chunks } = exchange;
    if (strategy === 'all_to_all' || strategy === 'all_gather') return [];
    return [
      {
        tp,
        volumeBytes: bytes,
        strategy,
        chunks,
        medianSeconds: median(seconds),
        fastestSeconds: minOf(seconds),
        slowestSeconds: maxOf(seconds),
        boundSeconds: lineBytes / lineRate,
        predictedSeconds: predictedExchange(hosts, strategy, bytes, chunks),
      },
    ];
  });
  return { links, results, parts: volumes.map((bytes) => partsOf(tp, bytes, figures, lineRate)) };
}

/** What sliced is made of, each by itself. */
function partsOf(tp: number, bytes: number, figures: readonly ExchangeFigure[], lineRate: number): PartsResult {
  const of = (strategy: Exchange['strategy']): ExchangeFigure => {
    const found = figures.find(
      ({ exchange }) => exchange.strategy === strategy && exchange.bytes === bytes && exchange.chunks === 1,
    );
    if (found === undefined) throw new Error(`${strategy} was not measured`);
    return found;
  };
  const exchange = of('all_to_all');
  return {
    tp,
    volumeBytes: bytes,
    allToAllSeconds: median(exchange.seconds),
    allGatherSeconds: median(of('all_gather').seconds),
    slicedSeconds: median(of('sliced').seconds),
    boundSeconds: exchange.lineBytes / lineRate,
  };
}

function linksOf(tp: number, { result }: HostsProbe, rates: LineRates): LinksResult {
  return {
    tp,
    ...rates,
    tiers: result.probe.tiers.map(({ name, bytesPerSecond, latencySeconds }) => ({
      name,
      bytesPerSecond,
      latencySeconds,
    })),
    copyBytesPerSecond: result.hostCopying.bytesPerSecond,
  };
}

/**
 * The most that anything reached on the line, bytes/s: where cores are slower than the line, each attempt alone is too
 * low to be a bound.
 */
const lineRateOf = ({ tcpBytesPerSecond, mpiBytesPerSecond, tiers }: LinksResult): number =>
  Math.max(tcpBytesPerSecond, mpiBytesPerSecond, tiers.at(-1)?.bytesPerSecond ?? 0);

/** What brings rows to experts, of the halves that are measured here. */
const exchangeTasks: readonly string[] = ['all_to_all', 'all_gather'];

/**
 * From the start of the first AllToAll to the end of the last operation that brings rows to experts, on the rank that
 * is last.
 */
function predictedExchange(
  { tp, seen, machine }: Hosts,
  strategy: ExchangeResult['strategy'],
  bytes: number,
  chunks: number,
): number {
  const shape = shapeOf(tp, bytes);
  const device = { ...seen.device, memoryBytesPerSecond: Number.MAX_VALUE };
  const probe = { ...machine, kernels: new Map<string, KernelRate>() };
  const simulation = simulatePass(
    benchWorkload({ seen: { ...seen, device }, shape, routing: { kind: 'uniform' }, seed: 1, probe }),
    inChunks(namedStrategies[strategy], chunks),
    'forward',
    routedBinding(shape, { kind: 'uniform' }, 1),
  );
  if (!simulation.known) throw new InputError('this cannot be priced', { expected: simulation.missing.join('; ') });
  const spans = simulation.trace.spans.filter(({ task }) => exchangeTasks.includes(task));
  return maxOf(spans.map(({ end }) => end)) - minOf(spans.map(({ issued }) => issued));
}
