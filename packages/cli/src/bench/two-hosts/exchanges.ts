/** The exchange of a dispatch half without its kernels: measured between the hosts, and predicted from their links. */
import { InputError, routedBinding, simulatePass, type Workload } from '@monta/core';
import { measureExchanges, type Exchange, type HostsProbe, type LineRates } from '@monta/runtime';
import { median } from '../dispatch-predict.js';
import { shapeOf, type Hosts } from './hosts.js';
import type { ExchangeResult, LinksResult } from './types.js';

/** Measures exchanges, and predicts them from a workload whose kernels take no time. */
export async function exchangeResults(
  { tp, launcher, address, probe }: Hosts,
  volumes: readonly number[],
  chunkCounts: readonly number[],
  repetitions: number,
  predicting: Workload,
): Promise<{ readonly links: LinksResult; readonly results: ExchangeResult[] }> {
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
      predictedSeconds: predictedExchange(predicting, tp, exchange),
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
function predictedExchange(workload: Workload, tp: number, { strategy, bytes, chunks }: Exchange): number {
  const shape = shapeOf(tp, bytes);
  const device = { ...workload.model.device, memoryBytesPerSecond: Number.MAX_VALUE };
  const { wakeSeconds = 0, ...hostCores } = workload.hostCores ?? { cores: Infinity, ranksPerHost: 2 * tp };
  const simulation = simulatePass(
    { ...workload, shape, hostCores, model: { ...workload.model, device, kernels: new Map() } },
    { dispatch: strategy, combine: strategy, chunks: { forward: chunks, backward: chunks } },
    'forward',
    routedBinding(shape, { kind: 'uniform' }, 1),
  );
  if (!simulation.known) throw new InputError('this cannot be priced', { expected: simulation.missing.join('; ') });
  const spans = simulation.trace.spans.filter(({ operation }) => /\/(?:all_to_all|all_gather)\.\d+$/u.test(operation));
  return Math.max(...spans.map(({ end }) => end)) - Math.min(...spans.map(({ issued }) => issued)) + wakeSeconds;
}
