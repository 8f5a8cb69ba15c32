/** A rank of whatever backend that runs the conformance cases. */
import { conformanceCases, runConformanceCases } from './conformance-cases.js';
import { hostAccess } from './host-access.js';
import { runRank } from '#runtime/launch/rank.js';

runRank(({ endpoint, memory, report }) => {
  const mark = memory.mark();
  runConformanceCases({ endpoint, sumsInRankOrder: true, ...hostAccess(memory) }, report, () => memory.release(mark));
  return conformanceCases.length;
});
