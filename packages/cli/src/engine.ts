/** How the engine that runs this process compiles. */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';

/** Commands that measure, or run for long: nothing of theirs is to be slower at first. */
const measuring: ReadonlySet<string> = new Set(['bench', 'calibrate', 'train', 'verify']);

/**
 * Node 20 optimizes a function after 67,584 bytes of bytecode. A plan runs much code for a second, and more than half
 * of its processor time was the compiler's: after a million bytes a choice of dispatch takes half the time, a search
 * three quarters. It holds for every thread of the process. Later engines have a compiler between and no such flag.
 */
export function optimizeLater(command: string, version = process.versions.node): void {
  if (version.startsWith('20.') && !measuring.has(command)) setFlagsFromString('--interrupt-budget=1000000');
}
