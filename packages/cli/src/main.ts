#!/usr/bin/env node
/** Starts the command `monta`: the real streams, the exit code, Ctrl-C. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import type * as App from './app.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

// Commands that have something to wind up listen themselves; whatever they do, a second Ctrl-C ends at once.
let interrupts = 0;
process.on('SIGINT', () => {
  interrupts += 1;
  if (interrupts > 1 || process.listenerCount('SIGINT') === 1) process.exit(130);
});

/** The rest of the command. Its many files need descriptors, which a low limit may not leave. */
async function load(): Promise<typeof App | undefined> {
  try {
    return await import('./app.js');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE')))
      throw error;
    process.stderr.write('too many open files: monta cannot be loaded\n  raise the limit (ulimit -n)\n');
    return undefined;
  }
}

const app = await load();
process.exitCode = app === undefined ? 2 : await app.runMonta(process.argv.slice(2), version, process);
