/** A benchmark thread: times what it is told, all threads starting together once warm. */
import { parentPort } from 'node:worker_threads';
import { timeGemm } from './gemm-engines.js';
import type { GemmEngine, GemmShape } from './gemm-engines.js';

export interface GemmOrder {
  readonly engine: GemmEngine;
  readonly shape: GemmShape;
  readonly seconds: number;
  /** One Int32 that counts the threads that are warm. */
  readonly warm: SharedArrayBuffer;
  readonly threads: number;
}

function meet({ warm, threads }: GemmOrder): void {
  const counter = new Int32Array(warm);
  Atomics.add(counter, 0, 1);
  Atomics.notify(counter, 0);
  for (let seen = Atomics.load(counter, 0); seen < threads; seen = Atomics.load(counter, 0)) {
    Atomics.wait(counter, 0, seen);
  }
}

parentPort?.on('message', (order: GemmOrder) => {
  parentPort?.postMessage(timeGemm(order.engine, order.shape, order.seconds, () => meet(order)));
});
