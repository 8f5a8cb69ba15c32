/** A rank of the benchmark of collectives over a layout's groups. */
import { hostname } from 'node:os';
import { median, maxOf } from '@monta/core/units';
import { firstCard } from '../device/cuda/bindings/index.js';
import type { RankContext } from '../launch/rank-context.js';
import { runRank } from '../launch/rank.js';
import { Laboratory, wholeBytes } from '../probe/network-experiment.js';
import { processorName } from '../probe/network.js';
import type { CollectiveRow, GroupCollectivesJob, GroupCollectivesMessage, RankPlace } from './group-collectives.js';

runRank<GroupCollectivesJob>(async (context) => {
  const { rank, endpoint, data, report } = context;
  const { groups, ops, sizes, rounds, seconds } = data;
  const say = (message: GroupCollectivesMessage): void => report(message);
  say({ kind: 'rank', place: { host: hostname(), pid: process.pid, ...(await hardware(context)) } });
  const widest = maxOf(groups.map(({ groups: [first = []] }) => first.length));
  const laboratory = new Laboratory(context, rounds, wholeBytes(maxOf(sizes), widest) + 4 * widest);
  laboratory.barrier();
  const end = endpoint.now() + seconds;
  for (const [place, { groups: members, lane }] of groups.entries())
    for (const op of ops) {
      if (laboratory.any(endpoint.now() > end)) return;
      const known = new Set<number>();
      const rows = sizes.flatMap((size): CollectiveRow[] => {
        const bytes = wholeBytes(size, members[0]?.length ?? 1);
        if (known.has(bytes)) return [];
        known.add(bytes);
        const experiment = { op, groups: members, bytes, lane };
        const wrong = laboratory.wrong(experiment);
        return [{ bytes, wrong, seconds: median(laboratory.run(experiment)) }];
      });
      if (rank === 0) say({ kind: 'rows', group: place, op, rows });
    }
});

/** NCCL is loaded only by ranks that use it. */
async function hardware({
  device,
  endpoint: { backend },
}: RankContext): Promise<Pick<RankPlace, 'device' | 'library'>> {
  if (backend !== 'nccl')
    return { device: processorName(), library: `monta ${backend}${backend === 'local' ? ', memory' : ''}` };
  const { loadNccl } = await import('../comm/nccl/bindings.js');
  const version = loadNccl().version();
  return {
    device: (device.kind === 'cuda' ? firstCard()?.name : undefined) ?? processorName(),
    library: `nccl ${Math.floor(version / 10_000)}.${Math.floor(version / 100) % 100}.${version % 100}`,
  };
}
