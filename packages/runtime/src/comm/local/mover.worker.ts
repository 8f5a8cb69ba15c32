/** Entry of the mover's thread. */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { Bytes } from './bytes.js';
import { Control, type SharedControl } from './control.js';
import { FabricEngine, type FabricOptions } from './fabric.js';
import { MemoryEngine } from './memory-engine.js';
import { Mover } from './mover.js';

export interface MoverData {
  readonly control: SharedControl;
  readonly memories: readonly WebAssembly.Memory[];
  readonly stuckAfterSeconds: number;
  /** Absent: memory speed. */
  readonly fabric?: FabricOptions;
}

/** Sent when the mover ends. */
export interface MoverReport {
  /** Seconds for which the emulated network stood still because the mover got no processor. */
  readonly lostSeconds: number;
}

const { control: shared, memories, stuckAfterSeconds, fabric } = workerData as MoverData;
const control = new Control(shared);
const bytes = memories.map((memory) => Bytes.ofMemory(memory));
const engine = fabric === undefined ? new MemoryEngine(bytes) : new FabricEngine(bytes, fabric);
preferThisThread();
new Mover(control, engine, { stuckAfterSeconds }).run();
const report: MoverReport = { lostSeconds: engine instanceof FabricEngine ? engine.lostSeconds : 0 };
parentPort?.postMessage(report);

/** Ranks that compute on all processors must not keep the mover waiting; on Linux the priority is that of the thread. */
function preferThisThread(): void {
  try {
    setPriority(0, -10);
  } catch {
    // Only privileged users may; the mover then shares the processors evenly.
  }
}
