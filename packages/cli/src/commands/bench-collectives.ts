/** `monta bench collectives`: every collective over every group of a layout, as nccl-tests prints it. */
import type { Layout } from '@monta/core';
import { formatBytes, InputError } from '@monta/core/units';
import { formatLayout, parseLayout, worldSize } from '@monta/core/layout';
import { busBytesPerSecond } from '@monta/core/cost';
import {
  benchGroupCollectives,
  groupCollectives,
  sizesBetween,
  type CollectiveTable,
  type Launcher,
  type RankPlace,
} from '@monta/runtime';
import { collectiveText } from '../bench/collectives-report.js';
import { backendFrom, launcherOf } from '../config/backend-config.js';
import { ncclRanksPerNode, onStartedRanks } from '../config/started-run.js';
import type { MontaContext } from '../context.js';
import type { BenchCollectivesFlags } from './bench.flags.js';

/** The layout on nodes of as many ranks as the flag says, else on one. */
function placedLayout({ layout: text, backend, ranksPerNode: given }: BenchCollectivesFlags): Layout {
  const ranksPerNode = backend === 'nccl' ? ncclRanksPerNode(given) : given;
  const layout = parseLayout(text);
  const ranks = worldSize(layout);
  if (ranks < 2)
    throw new InputError(`${text} is one rank, which has nobody to talk to`, {
      file: '--layout',
      expected: 'a layout of several ranks',
    });
  if (ranks % (ranksPerNode ?? ranks) !== 0)
    throw new InputError(`${ranks} ranks do not fill nodes of ${ranksPerNode}`, {
      file: '--ranks-per-node',
      expected: `a divisor of ${ranks}`,
    });
  return { ...layout, ranksPerNode: ranksPerNode ?? ranks };
}

function checkSizes({ least, most }: BenchCollectivesFlags): void {
  if (least < 4)
    throw new InputError(`${formatBytes(least)} is no element`, { file: '--least', expected: '4 B or more' });
  if (most < least)
    throw new InputError(`${formatBytes(most)} is less than --least`, {
      file: '--most',
      expected: `${formatBytes(least)} or more`,
    });
}

/** A result was wrong, after all were shown: exit code 1. */
class WrongResults extends Error {
  override readonly name = 'WrongResults';
  readonly exitCode = 1;
}

/** Runs the command. Throws `InputError`, and `WrongResults` where a collective left what it must not. */
export async function runBenchCollectives(context: MontaContext, flags: BenchCollectivesFlags): Promise<void> {
  await onStartedRanks(flags, (launcher = launcherOf(backendFrom(undefined, flags))) =>
    measure(context, flags, launcher),
  );
}

async function measure({ console }: MontaContext, flags: BenchCollectivesFlags, launcher: Launcher): Promise<void> {
  const layout = placedLayout(flags);
  checkSizes(flags);
  const { least, most, factor, rounds, seconds } = flags;
  const tables: CollectiveTable[] = [];
  let ranks: readonly RankPlace[] = [];
  const left = await benchGroupCollectives({
    launcher,
    layout,
    ops: groupCollectives,
    sizes: sizesBetween(least, most, factor),
    rounds,
    seconds,
    onTable: (table, places) => {
      tables.push(table);
      ranks = places;
      if (!flags.json) console.print(collectiveText(table, { layout, ranks: places, rounds }));
    },
  });
  if (left > 0) console.note(`${left} tables were not begun within ${seconds} s`);
  if (flags.json) console.json(document(flags, layout, { tables, ranks, left }));
  const wrong = tables.flatMap(({ op, kind, rows }) =>
    rows.some((row) => row.wrong > 0) ? [`${op} over ${kind}`] : [],
  );
  if (wrong.length > 0) throw new WrongResults(`wrong results: ${wrong.join(', ')}`);
}

function document(
  { backend, rounds }: BenchCollectivesFlags,
  layout: Layout,
  {
    tables,
    ranks,
    left,
  }: { readonly tables: readonly CollectiveTable[]; readonly ranks: readonly RankPlace[]; readonly left: number },
) {
  return {
    backend,
    layout: formatLayout(layout),
    rounds,
    ranks,
    tablesNotBegun: left,
    tables: tables.map(({ op, kind, lane, groups, nodes, rows }) => {
      const size = groups[0]?.length ?? 1;
      return {
        op,
        group: kind,
        lane,
        ranks: size,
        nodes,
        groups: groups.length,
        rows: rows.map(({ bytes, seconds, wrong }) => ({
          bytes,
          seconds,
          algorithmBytesPerSecond: bytes / seconds,
          busBytesPerSecond: busBytesPerSecond(op, size, bytes, seconds),
          wrong,
        })),
      };
    }),
  };
}
