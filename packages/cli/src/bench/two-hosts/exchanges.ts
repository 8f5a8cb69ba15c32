/** The exchange of a dispatch half without its kernels: measured between the hosts, and predicted from their links. */
import {
  inChunks,
  InputError,
  median,
  namedStrategies,
  routedBinding,
  simulatePass,
  type KernelRate,
} from '@monta/core';
import { measureExchanges, type Exchange, type HostsProbe, type LineRates } from '@monta/runtime';
import { benchWorkload } from '../dispatch-predict.js';
import { shapeOf, type Hosts } from './hosts.js';
import type { ExchangeResult, LinksResult } from './types.js';

/** Measures exchanges, and predicts them with kernels that take no time. */
export async function exchangeResults(
  hosts: Hosts,
  volumes: readonly number[],
  chunkCounts: readonly number[],
  repetitions: number,
): Promise<{ readonly links: LinksResult; readonly results: ExchangeResult[] }> {
  const { tp, launcher, address, probe } = hosts;
  const exchanges = volumes.flatMap((bytes): Exchange[] => [
    { strategy: 'duplicated', bytes, chunks: 1 },
    ...chunkCounts.map((chunks): Exchange => ({ strategy: 'sliced', bytes, chunks })),
  ]);
  const { rates, figures } = await measureExchanges({ launcher, address, tp, exchanges, repetitions });
  const wrong = figures.find((figure) => figure.wrong > 0);
  if (wrong) throw new Error(`${wrong.exchange.strategy}: ${wrong.wrong} elements came out wrong`);
  return {
    links: linksOf(tp, probe, rates),
    results: figures.map(({ exchange, seconds, boundSeconds }) => ({
      tp,
      volumeBytes: exchange.bytes,
      strategy: exchange.strategy,
      chunks: exchange.chunks,
      medianSeconds: median(seconds),
      fastestSeconds: Math.min(...seconds),
      slowestSeconds: Math.max(...seconds),
      boundSeconds,
      predictedSeconds: predictedExchange(hosts, exchange),
    })),
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

/** From the start of the first AllToAll to the end of the last operation that brings rows to experts, on the rank that is last. */
function predictedExchange({ tp, seen, machine }: Hosts, { strategy, bytes, chunks }: Exchange): number {
  const shape = shapeOf(tp, bytes);
  const device = { ...seen.device, memoryBytesPerSecond: Number.MAX_VALUE };
  const probe = { ...machine, kernels: new Map<string, KernelRate>() };
  const simulation = simulatePass(
    benchWorkload({ ...seen, device }, shape, { kind: 'uniform' }, 1, probe),
    inChunks(namedStrategies[strategy], chunks),
    'forward',
    routedBinding(shape, { kind: 'uniform' }, 1),
  );
  if (!simulation.known) throw new InputError('this cannot be priced', { expected: simulation.missing.join('; ') });
  const spans = simulation.trace.spans.filter(({ operation }) => /\/(?:all_to_all|all_gather)\.\d+$/u.test(operation));
  return Math.max(...spans.map(({ end }) => end)) - Math.min(...spans.map(({ issued }) => issued));
}
