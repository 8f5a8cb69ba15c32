/** The products that the benchmark compares, and how one run of one of them is timed. */
import { createWasmGemm } from '../device/cpu/gemm-wasm.js';
import { loadOpenblas } from '../device/cpu/gemm-openblas.js';
import { CpuMemory } from '../device/cpu/memory.js';
import type { Gemm } from '../device/gemm.js';
import { jsGemm } from './js-gemm.js';

export const gemmEngines = ['js', 'wasm', 'openblas'] as const;
export type GemmEngine = (typeof gemmEngines)[number];

export interface GemmShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** Undefined when the engine is not installed. */
export function openEngine(engine: GemmEngine, memory: CpuMemory): Gemm | undefined {
  if (engine === 'js') return jsGemm;
  return engine === 'wasm' ? createWasmGemm(memory) : loadOpenblas();
}

/** Calls per timing, so that one timing takes at least about this long and the clock's steps don't matter. */
const timingSeconds = 0.002;
/** V8 has optimised the kernels by then. */
const warmSeconds = 0.1;

export interface GemmTiming {
  /** Of the fastest timing: what the machine can do when left alone. */
  readonly bestSeconds: number;
  /** Over all timings. */
  readonly meanSeconds: number;
}

/**
 * Seconds per call, measured for about `seconds` after a warm-up in which the engine compiles; `whenWarm` runs in
 * between.
 */
export function timeGemm(
  engine: GemmEngine,
  shape: GemmShape,
  seconds: number,
  whenWarm: () => void = () => {},
): GemmTiming {
  const { m, n, k } = shape;
  const memory = CpuMemory.create({ bytes: (m * k + k * n + m * n) * 4 + 3 * 64 });
  const gemm = openEngine(engine, memory);
  if (gemm === undefined) throw new Error(`${engine} is not installed`);
  const [a, b, c] = [m * k, k * n, m * n].map((length, operand) =>
    memory.f32(memory.allocateView('f32', length)).fill(operand + 0.5),
  ) as [Float32Array, Float32Array, Float32Array];
  const call = { ...shape, a, b, c };
  const run = (calls: number): number => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) gemm(call);
    return (performance.now() - start) / 1000;
  };
  let calls = 1;
  const warmEnd = performance.now() + warmSeconds * 1000;
  do {
    if (run(calls) < timingSeconds) calls *= 2;
  } while (performance.now() < warmEnd);
  whenWarm();
  let [best, total, timings] = [Number.POSITIVE_INFINITY, 0, 0];
  while (total < seconds || timings < 3) {
    const elapsed = run(calls);
    best = Math.min(best, elapsed);
    total += elapsed;
    timings++;
  }
  return { bestSeconds: best / calls, meanSeconds: total / timings / calls };
}
