/** `monta verify`: every quantity's largest error beside its tolerance. */
import { totalmem } from 'node:os';
import type { Layout, Strategy } from '@monta/core';
import { formatBytes, InputError, limits } from '@monta/core/units';
import { checkRunLayout, formatLayout, parseLayout, worldSize } from '@monta/core/layout';
import { formatDispatch, parseDispatch, searchedHalves, unsupportedStrategy } from '@monta/core/schedule';
import type { Launcher, Verification } from '@monta/runtime';
import { cudaLauncher, localLauncher, mpiLauncher, ncclLauncher } from '@monta/runtime/launch';
import { verify, verifyRankBytes } from '@monta/runtime/verify';
import { payloadOf } from '../config/payload-config.js';
import { ncclRanksPerNode, onStartedRanks, refuseCopies } from '../config/started-run.js';
import type { MontaContext } from '../context.js';
import { emptyChunksNote } from '../output/empty-chunks.js';
import type { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';
import type { VerifyFlags } from './verify.flags.js';

/** A quantity is past its tolerance, after all were shown: exit code 1. */
class PastTolerance extends Error {
  override readonly name = 'PastTolerance';
  readonly exitCode = 1;
}

function chunksOf(text: string | undefined): Strategy['chunks'] {
  if (text === undefined) return { forward: 1, backward: 1 };
  const [forward, backward = forward, ...more] = text.split('/').map((count) => (/^\d+$/u.test(count) ? +count : NaN));
  const isCount = (count: number | undefined): count is number =>
    count !== undefined && count >= 1 && count <= limits.chunks;
  if (!isCount(forward) || !isCount(backward) || more.length > 0)
    throw new InputError(`"${text}" are no chunk counts`, {
      file: '--chunks',
      expected: `a count from 1 to ${limits.chunks}, or forward/backward like 3/2`,
    });
  return { forward, backward };
}

/** The strategies asked for: one, or all that serve the layout. */
function strategiesOf({ dispatcher, chunks }: VerifyFlags, layout: Layout): Strategy[] {
  if (dispatcher === undefined)
    return searchedHalves()
      .filter((halves) => unsupportedStrategy(halves, { layout }) === undefined)
      .map((halves) => ({ ...halves, chunks: chunksOf(chunks) }));
  const parsed = parseDispatch(dispatcher);
  if (parsed === 'auto')
    throw new InputError('auto chooses by speed', { file: '--dispatcher', expected: 'a dispatcher, or none for all' });
  const strategy = chunks === undefined ? parsed : { ...parsed, chunks: chunksOf(chunks) };
  const why = unsupportedStrategy(strategy, { layout });
  if (why !== undefined) throw new InputError(why, { file: '--dispatcher' });
  return [strategy];
}

function show(console: Console, folder: string, layout: Layout, results: readonly Verification[]): void {
  const { style } = console;
  console.print(`${folder} · ${formatLayout(layout)}\n`);
  const rows = results.flatMap(({ strategy, quantities }) =>
    quantities.map(({ quantity, error, tolerance, passed, where }, index) => [
      index === 0 ? formatDispatch(strategy) : '',
      quantity,
      error.toExponential(1),
      tolerance.toExponential(0),
      passed ? 'ok' : style.bad(`past it: ${where}`),
    ]),
  );
  console.print(
    renderTable(
      [
        { header: 'dispatcher' },
        { header: 'quantity' },
        { header: 'largest error', align: 'right' },
        { header: 'tolerance', align: 'right' },
        { header: '' },
      ],
      rows,
      { style },
    ),
  );
}

/** Says where there were more chunks than rows to cut. */
function noteEmptyChunks(console: Console, results: readonly Verification[]): void {
  const [note] = results.flatMap(({ strategy, sliceTokens }) => emptyChunksNote(strategy, sliceTokens) ?? []);
  if (note !== undefined) console.note(note);
}

function checkDevice({ backend, device, dtype }: VerifyFlags): void {
  if (dtype === 'bf16' && (device !== 'cuda' || backend === 'nccl'))
    throw new InputError('bf16 is computed by one rank on a GPU', {
      file: '--dtype',
      expected: '--device cuda beside it, and the local backend',
    });
  if (device === 'cuda' && backend === 'mpi')
    throw new InputError('MPI carries no bytes between GPUs', {
      file: '--backend',
      expected: 'local or nccl with --device cuda',
    });
}

function launcherOf({ backend, ranksPerNode, device }: VerifyFlags): Launcher {
  switch (backend) {
    case 'local':
      return device === 'cuda' ? cudaLauncher() : localLauncher;
    case 'mpi':
      return mpiLauncher();
    case 'nccl':
      return ncclLauncher(ranksPerNode === undefined ? {} : { ranksPerNode });
  }
}

/** The layout, its ranks on nodes of as many as the flag says: strategies with a hop inside a node know them by it. */
function placedLayout({ layout: text, backend, ranksPerNode }: VerifyFlags): Layout {
  let layout: Layout;
  try {
    layout = parseLayout(text);
    checkRunLayout(layout);
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: '--layout' }) : error;
  }
  const ranks = worldSize(layout);
  const perNode = (backend === 'nccl' ? ncclRanksPerNode(ranksPerNode) : ranksPerNode) ?? ranks;
  if (ranks % perNode !== 0)
    throw new InputError(`${ranks} ranks do not fill nodes of ${perNode}`, {
      file: '--ranks-per-node',
      expected: `a divisor of ${ranks}`,
    });
  if (backend === 'local' && ranks * verifyRankBytes > totalmem())
    throw new InputError(
      `${ranks} ranks of ${formatBytes(verifyRankBytes, 'binary')} on this machine's ` +
        formatBytes(totalmem(), 'binary'),
      { file: '--layout', expected: `at most ${Math.floor(totalmem() / verifyRankBytes)} ranks` },
    );
  return { ...layout, ranksPerNode: perNode };
}

/** Runs the command. Throws `InputError`, and `PastTolerance` when a quantity is past its tolerance. */
export async function runVerify(context: MontaContext, flags: VerifyFlags, folder: string): Promise<void> {
  checkDevice(flags);
  const run = (launcher: Launcher = launcherOf(flags)): Promise<void> => verifyOn(launcher, context, flags, folder);
  if (flags.backend === 'local') {
    refuseCopies(process.env);
    await run();
  } else await onStartedRanks(flags, run);
}

async function verifyOn(
  launcher: Launcher,
  { console }: MontaContext,
  flags: VerifyFlags,
  folder: string,
): Promise<void> {
  const layout = placedLayout(flags);
  const strategies = strategiesOf(flags, layout);
  const results = await verify({
    folder,
    layout,
    strategies,
    launcher,
    dtype: flags.dtype,
    ...payloadOf(flags),
  });
  const passed = results.every((result) => result.passed);
  if (!flags.json) noteEmptyChunks(console, results);
  if (flags.json)
    console.json({
      folder,
      layout: formatLayout(layout),
      backend: flags.backend,
      device: flags.device,
      dtype: flags.dtype,
      payload: flags.payload ?? null,
      passed,
      results: results.map((result) => {
        const { strategy, sliceTokens: _, ...rest } = result;
        return { dispatcher: formatDispatch(strategy), ...rest };
      }),
    });
  else show(console, folder, layout, results);
  if (!passed) throw new PastTolerance(`${folder} is not computed as expected on ${formatLayout(layout)}`);
}
