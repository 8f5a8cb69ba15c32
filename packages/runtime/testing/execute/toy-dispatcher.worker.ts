/** A rank of the executor's tests that knows the toy dispatcher. */
import { addToy } from './toy-dispatcher.js';

addToy();
await import('./multi-rank.worker.js');
