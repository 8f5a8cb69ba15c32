/**
 * What the host adds to a dispatch besides links and kernels, read off the spans of programs that move next to nothing, and how many bytes
 * a second its mover carries, read off a transfer through a network that is faster than any mover.
 */
import type { Cluster, MoeShape, Operation, Program, Span, Strategy, Template } from '@monta/core';
import { measureDispatch } from '../execute/dispatch-local.js';
import type { SchedulerOptions } from '../comm/local/packet-scheduler.js';

export interface HostOverheads {
  /** From a collective's last packet and latency to its end, median: the mover is late. */
  readonly collectiveSeconds: number;
  /** From the end of what a kernel comes after to its start, median: the rank's thread must wake up. */
  readonly wakeSeconds: number;
}

/**
 * Overheads in the spans of a program's ranks, several repetitions (steps) of it. `latencySeconds` tells what the emulated network itself
 * takes for an operation of a rank.
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
  const wakes: number[] = [];
  for (const span of spans) {
    const found = operations.get(span.operation);
    if (!found) continue;
    const { template, operation } = found;
    if (operation.body.kind === 'collective') {
      collectives.push(Math.max(0, span.end - span.ready - latencySeconds(operation, span.rank)));
    } else if (operation.after.length > 0) {
      const before = operation.after.flatMap((id) => {
        const end = ends.get(keyOf(span, `${template.name}/${id}`));
        return end === undefined ? [] : [end];
      });
      wakes.push(Math.max(0, span.issued - Math.max(...before)));
    }
  }
  return { collectiveSeconds: median(collectives), wakeSeconds: median(wakes) };
}

const keyOf = ({ step, rank, node }: Span, operation: string): string => `${step} ${rank} ${node} ${operation}`;

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** Bandwidth that no mover reaches, bytes/s. */
const unreachable = 1e12;
/** Rows and columns of what each of the two ranks gathers: 8 MiB in float32. */
const [probeTokens, probeWidth] = [1024, 1024];

/** Bytes a second that the mover moves: in packets through an emulated network, or, without a scheduler, at memory speed. */
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
    .filter(({ operation, lane, bytes }) => lane === 'intra' && bytes > 0 && /gather/u.test(operation))
    .map(({ bytes, ready, end }) => (2 * bytes) / (end - ready));
  // other work on the machine only slows it down
  return Math.max(0, ...rates);
}
