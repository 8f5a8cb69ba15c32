#!/usr/bin/env node
/**
 * The command `monta`, as far as it runs anywhere: says what is missing where this Node is too old or nothing is built.
 * Plain JavaScript, so that there is nothing to build for it.
 */
import { existsSync } from 'node:fs';
import process from 'node:process';

const leastNode = 20;
const main = new URL('../dist/main.js', import.meta.url);

function refuse(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 2;
}

if (Number(process.versions.node.split('.')[0]) < leastNode) {
  refuse(`monta needs Node ${leastNode} or later, this is ${process.versions.node}\n  nodejs.org has newer ones`);
} else if (!existsSync(main)) {
  refuse('monta is not built\n  npm ci builds it; npm run build does after a change');
} else {
  await import(main.href).catch((error) => {
    // Its many files need descriptors, which a low limit may not leave.
    if (error?.code !== 'EMFILE' && error?.code !== 'ENFILE') throw error;
    refuse('too many open files: monta cannot be loaded\n  raise the limit (ulimit -n)');
  });
}
