#!/usr/bin/env node
/** Starts the command `monta`: the real streams, the exit code, Ctrl-C. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { runMonta } from './app.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

// Commands that have something to wind up listen themselves; whatever they do, a second Ctrl-C ends at once.
let interrupts = 0;
process.on('SIGINT', () => {
  interrupts += 1;
  if (interrupts > 1 || process.listenerCount('SIGINT') === 1) process.exit(130);
});

process.exitCode = await runMonta(process.argv.slice(2), version, process);
