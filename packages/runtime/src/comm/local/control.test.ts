import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { Control, createControl } from './control.js';

/** Where the state of the abort stands: 0 none, 1 somebody writes the cause, 2 it is there. */
const stateWord = 0;

it('is aborted when abort returns, while another thread still writes the cause, which stands', async () => {
  const shared = createControl(1, false);
  const control = new Control(shared);
  new Control(shared).abort(0, 'first');
  const words = new Int32Array(shared.header);
  // As a thread has it that was just about to publish.
  words[stateWord] = 1;
  const publish = `
    const { parentPort, workerData } = require('node:worker_threads');
    parentPort.postMessage('here');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    Atomics.store(workerData, ${stateWord}, 2);
    Atomics.notify(workerData, ${stateWord});`;
  const other = new Worker(publish, { eval: true, workerData: words });
  await new Promise((resolve) => other.once('message', resolve));
  control.abort(-1, 'second');
  expect(control.aborted()).toBe(true);
  expect(control.abortCause()).toEqual({ rank: 0, reason: 'first' });
  await other.terminate();
});

it('takes the next cause where the thread that wrote the first was ended amid it', () => {
  const shared = createControl(1, false);
  new Int32Array(shared.header)[stateWord] = 1;
  const control = new Control(shared);
  control.abort(-1, 'second');
  expect(control.aborted()).toBe(true);
  expect(control.abortCause()).toEqual({ rank: -1, reason: 'second' });
});
