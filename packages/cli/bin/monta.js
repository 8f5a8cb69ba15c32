#!/usr/bin/env node
/**
 * The command `monta`, as far as it runs anywhere: says what is missing where this Node is too old, nothing is built,
 * or files cannot be opened. Plain JavaScript, so that there is nothing to build for it.
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import process from 'node:process';

const leastNode = 20;
const main = new URL('../dist/main.js', import.meta.url);
/** Files that are open at a time while the command is loaded, about. */
const filesToLoad = 100;

function refuse(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 2;
}

/** Whether a low limit leaves too few descriptors: a module that cannot be opened is then told as one not found. */
function descriptorsAreFew() {
  const open = [];
  try {
    while (open.length < filesToLoad) open.push(openSync(main, 'r'));
    return false;
  } catch {
    return true;
  } finally {
    for (const file of open) closeSync(file);
  }
}

if (Number(process.versions.node.split('.')[0]) < leastNode) {
  refuse(`monta needs Node ${leastNode} or later, this is ${process.versions.node}\n  nodejs.org has newer ones`);
} else if (!existsSync(main)) {
  refuse('monta is not built\n  npm ci builds it; npm run build does after a change');
} else {
  await import(main.href).catch((error) => {
    if (!descriptorsAreFew()) throw error;
    refuse('too many open files: monta cannot be loaded\n  raise the limit (ulimit -n)');
  });
}
