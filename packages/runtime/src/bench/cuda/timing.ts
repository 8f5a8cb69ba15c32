/** Time on a card: between events on one stream, in runs long enough to meet the power limit, after a warm-up. */
import type { Address } from '../../device/cuda/bindings/index.js';
import type { CudaContext } from '../../device/cuda/context.js';

export interface Timing {
  /** Median over the repeats of a run's time divided by its calls. */
  readonly milliseconds: number;
  readonly least: number;
  readonly most: number;
  /** Time that one call keeps the host, median. */
  readonly hostMilliseconds: number;
  readonly calls: number;
  readonly repeats: number;
}

/** A run of calls takes about this long, so that clocks fall to what the power limit allows. */
const defaultMilliseconds = 100;
const repeats = 7;

/** Times calls that only append work to `stream`, in runs of about `runMilliseconds`. */
export function timeOnStream(
  context: CudaContext,
  stream: Address,
  call: () => void,
  runMilliseconds = defaultMilliseconds,
): Timing {
  const { runtime } = context.libraries;
  const [start, end] = [context.createEvent(true), context.createEvent(true)];
  const run = (calls: number): { readonly card: number; readonly host: number } => {
    runtime.cudaEventRecord(start, stream);
    const begun = performance.now();
    for (let i = 0; i < calls; i++) call();
    const host = (performance.now() - begun) / calls;
    runtime.cudaEventRecord(end, stream);
    runtime.cudaEventSynchronize(end);
    return { card: context.milliseconds(start, end) / calls, host };
  };
  run(2);
  const calls = Math.min(1000, Math.max(1, Math.ceil(runMilliseconds / run(3).card)));
  run(calls);
  const runs = Array.from({ length: repeats }, () => run(calls));
  const sorted = runs.map(({ card }) => card).sort((a, b) => a - b);
  const hosts = runs.map(({ host }) => host).sort((a, b) => a - b);
  return {
    milliseconds: median(sorted),
    least: sorted[0],
    most: sorted[sorted.length - 1],
    hostMilliseconds: median(hosts),
    calls,
    repeats,
  };
}

function median(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length / 2)];
}

/** Fills elements in bf16 with seeded numbers, uniform in [-scale, scale): never zeros, which run faster than data. */
export function fillRandom({
  context,
  to,
  elements,
  scale,
  seed,
}: {
  readonly context: CudaContext;
  readonly to: Address;
  readonly elements: number;
  readonly scale: number;
  readonly seed: number;
}): void {
  const kernel = context.kernels.get('random', 'bf16', 'fill_random');
  const threads = 256;
  kernel.launch(0, { blocks: 2048, threads }, { values: to, count: elements, scale, seed });
}
