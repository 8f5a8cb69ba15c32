/**
 * How fast this machine multiplies matrices: the WebAssembly kernels beside plain JavaScript and OpenBLAS, in one
 * thread and in two. Two threads often share a core, so the report carries the ratio that a compute-bound calibration
 * product reached.
 */
import { once } from 'node:events';
import { cpus } from 'node:os';
import { Worker } from 'node:worker_threads';
import { CpuMemory } from '../device/cpu/memory.js';
import { gemmEngines, openEngine, timeGemm } from './gemm-engines.js';
import type { GemmEngine, GemmShape, GemmTiming } from './gemm-engines.js';
import type { GemmOrder } from './gemm-worker.js';

export interface GemmBenchRow {
  /** The engine. */
  readonly name: GemmEngine;
  /** m x n x k; N and T say whether A and B are transposed. */
  readonly shape: string;
  /** One thread, fastest timing, 1e9 floating-point operations per second. */
  readonly gflops: number;
  /** Two threads at once, each with operands of its own, both together: mean of a round, best of the rounds. */
  readonly gflopsOfTwo: number;
  /** gflops divided by plain JavaScript's for the same sizes (which are not transposed there). */
  readonly comparedToJs: number;
}

export interface GemmBenchReport {
  readonly cpu: string;
  readonly node: string;
  /**
   * Rate of two threads over that of one, for a product that stays in the first-level cache: 2 with a core each, about
   * 1 on one core.
   */
  readonly scalingOfTwo: number;
  /** What a call of the WebAssembly product costs besides arithmetic: the time of a 1 x 1 x 1 product. */
  readonly wasmCallMicroseconds: number;
  readonly rows: readonly GemmBenchRow[];
}

export interface GemmBenchOptions {
  /** Per measurement, and there are two for each row; noise shrinks with it. */
  readonly seconds?: number;
  readonly shapes?: readonly GemmShape[];
}

/** Square products, those of a small MoE layer's experts, and the transposed ones of its backward pass. */
const defaultShapes: readonly GemmShape[] = [
  { m: 256, n: 256, k: 256 },
  { m: 512, n: 512, k: 512 },
  { m: 1024, n: 1024, k: 1024 },
  { m: 16, n: 256, k: 64 },
  { m: 16, n: 1024, k: 1024 },
  { m: 64, n: 256, k: 256 },
  { m: 128, n: 1024, k: 256 },
  { m: 512, n: 256, k: 64 },
  { m: 128, n: 256, k: 1024, transposeB: true },
  { m: 256, n: 1024, k: 128, transposeA: true },
];
const calibrationShape: GemmShape = { m: 64, n: 64, k: 64 };
const threads = 2;
/** Other work on the machine disturbs two threads more than one. */
const rounds = 3;

/** Runs the benchmark; takes about (shapes x engines x 2) times `seconds` and the warm-ups. */
export async function runGemmBench(options: GemmBenchOptions = {}): Promise<GemmBenchReport> {
  const { seconds = 0.5, shapes = defaultShapes } = options;
  const workers = Array.from({ length: threads }, () => new Worker(new URL('./gemm-worker.js', import.meta.url)));
  try {
    const memory = CpuMemory.create({ bytes: 0 });
    const engines = gemmEngines.filter((engine) => openEngine(engine, memory) !== undefined);
    const alone = timeGemm('wasm', calibrationShape, seconds);
    const together = await rateOfTwo(workers, 'wasm', calibrationShape, seconds);
    const rows: GemmBenchRow[] = [];
    for (const shape of shapes) {
      const { m, n, k } = shape;
      const operations = 2 * m * n * k;
      const js = timeGemm('js', { m, n, k }, seconds);
      for (const engine of engines) {
        const ownShape = engine === 'js' ? { m, n, k } : shape;
        const one = engine === 'js' ? js : timeGemm(engine, shape, seconds);
        const two = await rateOfTwo(workers, engine, ownShape, seconds);
        rows.push({
          name: engine,
          shape: shapeName(ownShape),
          gflops: operations / one.bestSeconds / 1e9,
          gflopsOfTwo: (operations * two) / 1e9,
          comparedToJs: js.bestSeconds / one.bestSeconds,
        });
      }
    }
    return {
      cpu: cpus()[0]?.model ?? 'unknown',
      node: process.version,
      scalingOfTwo: together * alone.bestSeconds,
      wasmCallMicroseconds: timeGemm('wasm', { m: 1, n: 1, k: 1 }, seconds).bestSeconds * 1e6,
      rows,
    };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function shapeName({ m, n, k, transposeA = false, transposeB = false }: GemmShape): string {
  return `${m}x${n}x${k} ${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'}`;
}

/** Calls per second of both threads together, the best of some rounds. */
async function rateOfTwo(
  workers: readonly Worker[],
  engine: GemmEngine,
  shape: GemmShape,
  seconds: number,
): Promise<number> {
  let best = 0;
  for (let round = 0; round < rounds; round++) {
    const order: GemmOrder = {
      engine,
      shape,
      seconds: seconds / rounds,
      warm: new SharedArrayBuffer(4),
      threads: workers.length,
    };
    const timings = await Promise.all(workers.map((worker) => ask(worker, order)));
    best = Math.max(
      best,
      timings.reduce((sum, timing) => sum + 1 / timing.meanSeconds, 0),
    );
  }
  return best;
}

async function ask(worker: Worker, order: GemmOrder): Promise<GemmTiming> {
  const answer = once(worker, 'message');
  worker.postMessage(order);
  const [timing] = (await answer) as [GemmTiming];
  return timing;
}
