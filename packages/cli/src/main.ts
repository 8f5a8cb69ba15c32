#!/usr/bin/env node
/** Starts the command `monta`: the real streams, the exit code, Ctrl-C. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import type * as App from './app.js';

// Commands that have something to wind up listen themselves; whatever they do, a second Ctrl-C ends at once.
let interrupts = 0;
process.on('SIGINT', () => {
  interrupts += 1;
  if (interrupts > 1 || process.listenerCount('SIGINT') === 1) process.exit(130);
});

/**
 * Runs the command; loads the rest of it first, whose many files need descriptors, which a low limit may not leave.
 * Returns the exit code.
 */
async function start(): Promise<number> {
  let app: typeof App;
  let version: string;
  try {
    const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
    ({ version } = JSON.parse(manifest) as { version: string });
    app = await import('./app.js');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE')))
      throw error;
    process.stderr.write('too many open files: monta cannot be loaded\n  raise the limit (ulimit -n)\n');
    return 2;
  }
  return app.runMonta(process.argv.slice(2), version, process);
}

process.exitCode = await start();
