/**
 * What the host adds to a dispatch besides links and kernels, read off the spans of programs that move next to nothing,
 * and how many bytes a second its mover carries, read off a transfer through a network that is faster than any mover.
 */
import type { Cluster, MoeShape, Operation, Program, Span, Strategy, Template } from '@monta/core';
import { maxOf, median, minOf } from '@monta/core/units';
import { measureDispatch } from '../execute/measure-dispatch.js';
import type { SchedulerOptions } from '../comm/local/packet-scheduler.js';

export interface HostOverheads {
  /**
   * From a collective's last packet and latency to its end: the mover is late. A mean, since a chain of them adds up,
   * without the worst 5 %.
   */
  readonly delaySeconds: number;
  /**
   * From the end of what a kernel comes after to its start, on the rank that is last, median over operations: threads
   * wake up one after another where there are more of them than cores, and the next collective waits for the last.
   */
  readonly wakeSeconds: number;
  /**
   * From the start of the rank that starts last until its first collective has all its members, median over
   * repetitions.
   */
  readonly startSeconds: number;
}

/**
 * Overheads in the spans of a program's ranks, several repetitions (steps) of it. `latencySeconds` tells what the
 * emulated network itself takes for an operation of a rank.
 */
export function hostOverheads(
  program: Program,
  spans: readonly Span[],
  latencySeconds: (operation: Operation, rank: number) => number,
): HostOverheads {
  const operations = new Map<string, { template: Template; operation: Operation }>();
  for (const template of Object.values(program.templates))
    for (const operation of template.operations)
      operations.set(`${template.name}/${operation.id}`, { template, operation });
  const ends = new Map(spans.map((span) => [keyOf(span, span.operation), span.end]));
  const collectives: number[] = [];
  const wakes = new Map<string, number>();
  const starts = new Map<number, Map<number, number>>();
  for (const span of spans) {
    const found = operations.get(span.operation);
    if (!found) continue;
    const { template, operation } = found;
    if (operation.body.kind === 'collective') {
      collectives.push(Math.max(0, span.end - span.ready - latencySeconds(operation, span.rank)));
      if (span.node > 0) continue;
      const ofStep = starts.get(span.step) ?? new Map<number, number>();
      starts.set(span.step, ofStep);
      ofStep.set(span.rank, Math.min(ofStep.get(span.rank) ?? Infinity, span.ready));
    } else if (operation.after.length > 0) {
      const before = operation.after.flatMap((id) => {
        const end = ends.get(keyOf(span, `${template.name}/${id}`));
        return end === undefined ? [] : [end];
      });
      const key = `${span.step} ${span.node} ${span.operation}`;
      wakes.set(key, Math.max(wakes.get(key) ?? 0, span.issued - maxOf(before)));
    }
  }
  return {
    delaySeconds: trimmedMean(collectives),
    wakeSeconds: wakes.size > 0 ? median([...wakes.values()]) : 0,
    // spans count from the start of their rank: the last one to start counts least
    startSeconds: median([...starts.values()].map((ofStep) => minOf(ofStep.values()))),
  };
}

const keyOf = ({ step, rank, node }: Span, operation: string): string => `${step} ${rank} ${node} ${operation}`;

/** Without the largest 5 %: single stalls of the machine. */
function trimmedMean(values: readonly number[]): number {
  const kept = [...values].sort((a, b) => a - b).slice(0, Math.ceil(0.95 * values.length));
  return kept.length > 0 ? kept.reduce((sum, value) => sum + value, 0) / kept.length : 0;
}

/** Bandwidth that no mover reaches, bytes/s. */
const unreachable = 1e12;
/** Rows and columns of what each of the two ranks gathers: 8 MiB in float32. */
const [probeTokens, probeWidth] = [1024, 1024];

/**
 * Bytes a second that the mover moves: in packets through an emulated network, or, without a scheduler, at memory
 * speed.
 */
export async function probeMover(scheduler?: Partial<SchedulerOptions>, signal?: AbortSignal): Promise<number> {
  const cluster: Cluster = {
    name: 'as fast as the mover',
    device: { name: 'rank', memoryBytes: 1, flopsPerSecond: { bf16: 1 }, memoryBytesPerSecond: 1 },
    tiers: [
      {
        name: 'memory',
        size: 2,
        bytesPerSecond: unreachable,
        latencySeconds: 0,
        ports: 1,
        railAligned: false,
        crossRailSlowdown: 1,
      },
    ],
    sources: [],
  };
  const shape: MoeShape = {
    tokens: probeTokens,
    hiddenSize: probeWidth,
    expertFfn: 2,
    experts: 1,
    topK: 1,
    layout: { tp: 2, cp: 1, dp: 1, pp: 1, etp: 2, ep: 1, edp: 1, sequenceParallel: false },
    dtype: 'f32',
  };
  const strategy: Strategy = { dispatch: 'sliced', combine: 'sliced', chunks: { forward: 1, backward: 1 } };
  const [measured] = await measureDispatch({
    jobs: [
      {
        shape,
        strategy,
        passes: ['forward'],
        routing: { kind: 'uniform' },
        seed: 1,
        warmUps: 1,
        repetitions: 5,
        trace: true,
      },
    ],
    ...(scheduler === undefined ? {} : { fabric: { cluster, timeScale: 1, scheduler } }),
    ...(signal === undefined ? {} : { signal }),
  });
  const rates = (measured?.spans ?? [])
    .filter(({ collective, lane, bytes }) => collective?.name === 'all_gather' && lane === 'intra' && bytes > 0)
    .map(({ bytes, ready, end }) => (2 * bytes) / (end - ready));
  // other work on the machine only slows it down
  return Math.max(0, maxOf(rates));
}
