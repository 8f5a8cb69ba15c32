/** Entry of the mover's thread. */
import { workerData } from 'node:worker_threads';
import { Bytes } from './bytes.js';
import { Control, type SharedControl } from './control.js';
import { MemoryEngine } from './memory-engine.js';
import { Mover } from './mover.js';

export interface MoverData {
  readonly control: SharedControl;
  readonly memories: readonly WebAssembly.Memory[];
  readonly stuckAfterSeconds: number;
}

const { control: shared, memories, stuckAfterSeconds } = workerData as MoverData;
const control = new Control(shared);
const bytes = memories.map((memory) => Bytes.ofMemory(memory));
new Mover(control, new MemoryEngine(bytes), { stuckAfterSeconds }).run();
