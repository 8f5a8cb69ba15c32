/** The module that the probe of dispatch kernels runs. */
import { runRank } from '../launch/rank.js';
import { probeDispatchRank, type DispatchKernelProbe } from './dispatch-kernels.js';

runRank<DispatchKernelProbe>(probeDispatchRank);
