/** Entry of the mover's thread: moves the bytes of the jobs that it is given, one after another. */
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { Bytes } from '../../device/cpu/bytes.js';
import type { CpuDeviceHandle } from '../../device/cpu/cpu-device.js';
import { EventTable } from '../../device/cpu/event-table.js';
import { Control, type SharedControl } from './control.js';
import type { FabricEngine, FabricOptions } from './fabric.js';
import { MemoryEngine } from './memory-engine.js';
import { Mover } from './mover.js';

export interface MoverData {
  readonly control: SharedControl;
  /** By rank. */
  readonly devices: readonly CpuDeviceHandle[];
  readonly stuckAfterSeconds: number;
  /** Absent: memory speed. */
  readonly fabric?: FabricOptions;
}

/** Sent when the mover ends. */
export interface MoverReport {
  /** Seconds for which the emulated network stood still because the mover got no processor. */
  readonly lostSeconds: number;
  /** Bytes that passed each port of the emulated network during the job, in the order of `portsOf(cluster)`. */
  readonly portBytes: Float64Array;
}

const port = parentPort;
if (port === null) throw new Error('mover.worker is a thread that a launcher starts');
preferThisThread();
port.on('message', (job: MoverData) => void moveFor(job).then((report) => port.postMessage(report)));

async function moveFor({ control: shared, devices, stuckAfterSeconds, fabric }: MoverData): Promise<MoverReport> {
  const control = new Control(shared);
  const bytes = devices.map(({ memory }) => Bytes.ofMemory(memory.memory));
  const events = devices.map((device) => new EventTable(device.events));
  const emulated = fabric === undefined ? undefined : await emulate(fabric, bytes);
  new Mover(control, emulated ?? new MemoryEngine(bytes), { events, stuckAfterSeconds }).run();
  return { lostSeconds: emulated?.lostSeconds ?? 0, portBytes: emulated?.portBytes ?? new Float64Array() };
}

/** Loaded only when asked for: it needs all of the core, which a job at memory speed should not have to wait for. */
async function emulate(options: FabricOptions, bytes: readonly Bytes[]): Promise<FabricEngine> {
  const { FabricEngine } = await import('./fabric.js');
  return new FabricEngine(bytes, options);
}

/**
 * Ranks that compute on all processors must not keep the mover waiting; on Linux the priority is that of the thread.
 */
function preferThisThread(): void {
  try {
    setPriority(0, -10);
  } catch {
    // Only privileged users may; the mover then shares the processors evenly.
  }
}
