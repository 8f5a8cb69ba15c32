import * as fc from 'fast-check';
import { keepThreads } from './packages/runtime/src/launch/kept-threads.js';

// Properties draw the same cases in every run; one that names a seed of its own keeps it.
fc.configureGlobal({ seed: 1 });

// Most jobs of tests are shorter than the start of their threads: eight ranks and a mover stay for the next job.
keepThreads(9);
