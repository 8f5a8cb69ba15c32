/** The module that the ranks of a network probe run. */
import { runRank } from '../launch/index.js';
import { probeNetworkRank, type NetworkProbeData } from './network-rank.js';

runRank<NetworkProbeData>(probeNetworkRank);
