/** The module that the kernel probe's rank runs. */
import { runRank } from '../launch/rank.js';
import { probeRank, type KernelProbe } from './probe-kernels.js';

runRank<readonly KernelProbe[]>(probeRank);
