/** The module that the ranks of a network probe run. */
import { runRank } from '../launch/rank.js';
import { probeNetworkRank, type NetworkProbeData } from './network-rank.js';

runRank<NetworkProbeData>(probeNetworkRank);
