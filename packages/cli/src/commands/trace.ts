/** `monta trace`: what other programs' profilers recorded of communication. */
import type { CommunicationRow, ProfileReport, RankTime } from '@monta/core';
import { formatBandwidth, formatBytes, formatPercent, formatSeconds, InputError } from '@monta/core/units';
import { perfettoPieces } from '@monta/core/trace';
import { inspectorRows, reportProfiles } from '@monta/core/profiles';
import { withExpertBytes } from '@monta/core/doctor';
import type { MontaContext } from '../context.js';
import { writeFile } from '../files.js';
import { loadCluster } from '../inputs.js';
import type { Console } from '../output/console.js';
import { Progress } from '../output/progress.js';
import { renderTable, type Column } from '../output/table.js';
import { bytesOfFiles, profileFiles, readProfiles, type ProfileReading } from '../trace/read-profiles.js';
import { ranSetting } from './ran-setting.js';
import type { TraceFlags } from './trace.flags.js';
import { comparedWith, showComparison, stepPage, tracesOf, type Compared } from './trace-compare.js';

const bytesPerStep = 1e6;
/** Smaller files are read before one could look. */
const progressFrom = 50e6;

async function readWithProgress(console: Console, files: readonly string[]): Promise<ProfileReading> {
  const total = bytesOfFiles(files);
  if (total < progressFrom) return readProfiles(files, () => undefined);
  const line = new Progress({
    label: 'Read (MB)',
    total: Math.ceil(total / bytesPerStep),
    columns: console.progressColumns,
    write: (text) => console.printError(text),
    now: () => performance.now() / 1e3,
  });
  let done = 0;
  const reading = await readProfiles(files, (bytes) => {
    done += bytes;
    line.update({ done: Math.round(done / bytesPerStep) });
  });
  line.clear();
  return reading;
}

/** What a group is called in the table: what the program calls it, its ranks, and how far they are apart. */
function groupName({ label, ranks, stride, nodes, tier }: CommunicationRow): string {
  if (ranks === undefined) return '?';
  const apart = stride === undefined || stride === 1 ? '' : ` every ${stride}`;
  const where = [
    ...(nodes === undefined ? [] : [nodes === 1 ? '1 node' : `${nodes} nodes`]),
    ...(tier === undefined ? [] : [tier]),
  ];
  const place = where.length === 0 ? '' : ` (${where.join(', ')})`;
  return `${label === '' ? '' : `${label} `}${ranks} ranks${apart}${place}`;
}

const or = (value: number | undefined, format: (value: number) => string): string =>
  value === undefined ? '?' : format(value);

const numeric = { align: 'number' } as const;
const columns: readonly (readonly [Column, (row: CommunicationRow) => string])[] = [
  [{ header: 'collective' }, ({ op, library }) => (library === 'NCCL' ? op : `${library} ${op}`)],
  [{ header: 'group' }, groupName],
  [{ header: 'calls', ...numeric }, ({ calls }) => String(Math.round(calls))],
  [{ header: 'sent', ...numeric }, ({ sentBytes }) => or(sentBytes, formatBytes)],
  [{ header: 'time', ...numeric }, ({ seconds }) => formatSeconds(seconds)],
  [{ header: 'waiting', ...numeric }, ({ waitingSeconds }) => or(waitingSeconds, formatSeconds)],
  [{ header: 'bandwidth', ...numeric }, ({ busBytesPerSecond }) => or(busBytesPerSecond, formatBandwidth)],
  [{ header: 'exposed', ...numeric }, ({ exposedSeconds }) => or(exposedSeconds, formatSeconds)],
  [{ header: 'hidden', ...numeric }, ({ hiddenShare }) => or(hiddenShare, formatPercent)],
];

const shownRanks = 8;

function showRanks(console: Console, ranks: readonly RankTime[]): void {
  const { style } = console;
  const slowest = [...ranks].sort((a, b) => b.exposedSeconds - a.exposedSeconds).slice(0, shownRanks);
  const shown = ranks.length <= shownRanks ? ranks : slowest;
  console.print(
    renderTable(
      [
        { header: 'rank', ...numeric },
        { header: 'recorded', ...numeric },
        { header: 'computing', ...numeric },
        { header: 'communicating', ...numeric },
        { header: 'exposed', ...numeric },
        { header: 'idle', ...numeric },
        { header: 'clock', ...numeric },
      ],
      shown.map(({ rank, seconds, computeSeconds, communicationSeconds, exposedSeconds, idleSeconds, clockOffset }) => [
        String(rank),
        ...[seconds, computeSeconds, communicationSeconds, exposedSeconds, idleSeconds].map(formatSeconds),
        clockOffset === undefined ? '?' : `${clockOffset < 0 ? '−' : '+'}${formatSeconds(Math.abs(clockOffset))}`,
      ]),
      { style, indent: 2 },
    ),
  );
  if (shown.length < ranks.length)
    console.print(`  the ${shown.length} with the most exposed time, of ${ranks.length}; --json has all`);
}

function show(console: Console, report: ProfileReport): void {
  const { ranks, rows } = report;
  if (ranks.length > 0) showRanks(console, ranks);
  console.print();
  if (rows.length === 0) console.print('  no communication');
  else
    console.print(
      renderTable(
        columns.map(([column]) => column),
        rows.map((row) => columns.map(([, cell]) => cell(row))),
        { style: console.style, indent: 2 },
      ),
    );
  console.print(
    '\nMeans per rank. sent: to other ranks, at the least that the collective needs; waiting: for the last rank to ' +
      'arrive; bandwidth: of the\n' +
      'bus, as nccl-tests has it, while transferring where waiting is known; exposed: beside which no kernel computed.',
  );
}

/** The files that were asked for. Throws `InputError` where there is nothing to lay beside the traces. */
function writeOverlay(
  { perfetto, html }: Pick<TraceFlags, 'perfetto' | 'html'>,
  compared: Compared | undefined,
  notes: readonly string[],
): void {
  if (perfetto === undefined && html === undefined) return;
  if (compared === undefined)
    throw new InputError('there is no predicted step to lay beside the traces', {
      file: perfetto === undefined ? '--html' : '--perfetto',
      expected: 'what ran: --script train.sh with --cluster, or --plan plan.json; and traces of kernels',
    });
  if (perfetto !== undefined) writeFile(perfetto, perfettoPieces(tracesOf(compared)));
  if (html !== undefined) writeFile(html, stepPage(compared, notes));
}

/** Runs the command. Throws `InputError` for files that cannot be read. */
export async function runTrace({ console }: MontaContext, flags: TraceFlags, ...paths: string[]): Promise<void> {
  const cluster = flags.cluster === undefined ? undefined : loadCluster(flags.cluster);
  const setting = ranSetting(flags, cluster);
  const { profiles, records, warnings } = await readWithProgress(console, profileFiles(paths));
  const read = reportProfiles(profiles, cluster ?? setting?.cluster);
  const compared =
    setting === undefined || profiles.length === 0
      ? undefined
      : comparedWith({ report: read, profiles }, setting, flags.steps ?? read.steps ?? 1);
  const report: ProfileReport = {
    ...read,
    rows: [...(setting === undefined ? read.rows : withExpertBytes(read.rows, setting)), ...inspectorRows(records)],
    notes: [
      ...(profiles.length > 0 ? read.notes : []),
      ...(compared !== undefined && read.rows.some(({ op }) => op === 'dispatch' || op === 'combine')
        ? ["bytes of dispatch and combine are the model's own traffic: balanced experts, rows in 16 bits"]
        : []),
      ...warnings,
      ...(records.length > 0 ? ['the NCCL Inspector times collectives only: what ran beside them is not known'] : []),
    ],
  };
  writeOverlay(flags, compared, report.notes);
  if (flags.json) {
    console.json(compared === undefined ? report : { ...report, compared: compared.comparison });
    return;
  }
  show(console, report);
  if (compared !== undefined) showComparison(console, compared);
  for (const note of report.notes) console.note(note);
  for (const file of [flags.perfetto, flags.html]) if (file !== undefined) console.note(`wrote ${file}`);
}
