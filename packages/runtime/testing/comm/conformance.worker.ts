/** A rank of whatever backend that runs the conformance cases. */
import { conformanceCases, runConformanceCases } from './conformance-cases.js';
import { hostAccess } from './host-access.js';
import { runRank } from '#runtime/launch/rank.js';

runRank(({ endpoint, device, report }) => {
  const { release, ...access } = hostAccess(device);
  runConformanceCases({ endpoint, sumsInRankOrder: endpoint.backend !== 'nccl', ...access }, report, release);
  return conformanceCases.length;
});
