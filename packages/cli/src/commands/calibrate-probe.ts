/** `monta calibrate --probe`: measures the backend of this machine and writes what it found in the same file. */
import type { Cluster, Probe, ProbedGemm } from '@monta/core';
import { formatBandwidth, formatFlops, formatPercent, formatSeconds, InputError } from '@monta/core/units';
import { fitCalibration } from '@monta/core/cost';
import type { Launcher, NetworkProbeOptions, NetworkProbeResult } from '@monta/runtime';
import { cardsHere, startedPlace } from '@monta/runtime/launch';
import { easyTimeScale, probeNetwork } from '@monta/runtime/probe';
import { backendFrom, launcherOf } from '../config/backend-config.js';
import { onStartedRanks } from '../config/started-run.js';
import type { MontaContext } from '../context.js';
import { loadCluster } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import type { CalibrateFlags } from './calibrate.flags.js';
import { finish } from './finished-calibration.js';

/** An emulated network that stood still for more than this share of the time was not the one asked for. */
const lostShare = 0.03;

const number = { align: 'number' } as const;

/** Measured figure, and how far it is from the cluster file's where there is one. */
const beside = (found: string, measured: number, given: number | undefined): string =>
  given === undefined || given === 0
    ? found
    : `${found} (${measured >= given ? '+' : '−'}${formatPercent(Math.abs(measured / given - 1))})`;

function showTiers(console: Console, probe: Probe, cluster: Cluster | undefined): void {
  const { style } = console;
  const rows = probe.tiers.map((tier) => {
    const given = cluster?.tiers.find(({ name }) => name === tier.name);
    const rate = formatBandwidth(tier.bytesPerSecond);
    return [
      tier.name,
      beside(
        tier.reached ? rate : `at least ${rate}`,
        tier.bytesPerSecond,
        tier.reached ? given?.bytesPerSecond : undefined,
      ),
      beside(formatSeconds(tier.latencySeconds), tier.latencySeconds, given?.latencySeconds),
      given === undefined ? String(tier.ports) : `${tier.ports} (file: ${given.ports})`,
      `${tier.sharingSlowdown.toFixed(2)}x`,
      `${tier.crossRailSlowdown.toFixed(2)}x`,
    ];
  });
  console.print(
    renderTable(
      [
        { header: 'tier' },
        { header: 'bandwidth of a port' },
        { header: 'latency' },
        { header: 'ports' },
        { header: 'all at once', align: 'right' },
        { header: 'other rail', align: 'right' },
      ],
      rows,
      { style, indent: 2 },
    ),
  );
  console.print(
    '  ports: of one unit of the tier below; all at once: all its pairs together over one pair alone; other rail: ' +
      'changing the port number\n',
  );
}

/** Tiers as measured; against the file when its network was emulated. */
function showProbe(console: Console, probe: Probe, cluster?: Cluster): void {
  const { style } = console;
  const scale = probe.emulatedTimeScale;
  console.print(
    style.bold(
      scale === null
        ? `Links of ${probe.system === 'memory' ? 'threads of this machine' : probe.system}, measured`
        : `Links of ${probe.system}, measured on its emulated network (1/${scale} of its speed, in its own time; ` +
            'in brackets: against the cluster file)',
    ),
  );
  showTiers(console, probe, cluster);
  console.print(style.bold(`Matrix products on ${probe.computeDevice}, float32, measured`));
  console.print(
    renderTable(
      [{ header: 'm x n x k' }, { header: 'time', ...number }, { header: 'rate', ...number }],
      productRows(probe.gemms),
      { style, indent: 2 },
    ),
  );
  if (probe.interference !== null) {
    const { computeSlowdown, communicationSlowdown } = probe.interference;
    console.print(
      renderFacts(
        [
          [
            'Both at once',
            `matrix products take ${computeSlowdown.toFixed(2)}x, an exchange between the two ranks ` +
              `${communicationSlowdown.toFixed(2)}x as long`,
          ],
        ],
        style,
      ),
    );
  }
}

/** What would make the result mean less than it seems. */
function doubts({ lostSeconds, wallSeconds, probe }: NetworkProbeResult): string[] {
  const lost = lostSeconds / wallSeconds;
  return [
    ...(lost > lostShare
      ? [
          `the emulated network stood still for ${formatPercent(lost)} of the time for want of a processor: ` +
            'measure on a quieter machine, or slow it down more with --emulate',
        ]
      : []),
    ...probe.tiers
      .filter(({ reached }) => !reached)
      .map(
        ({ name }) =>
          `ports below ${name} were the narrower ones: its bandwidth is at least what is written, its ports are ` +
          'not known',
      ),
  ];
}

/** Ranks on this machine, when no host says how many. */
const defaultRanks = 4;

/**
 * Runs the probe, on the ranks that the person's own mpirun started where it did. Throws `InputError` for flags that do
 * not go together.
 */
export async function runProbe(context: MontaContext, flags: CalibrateFlags): Promise<void> {
  await onStartedRanks({ ...flags, backend: flags.backend }, (launcher) => probeAndWrite(context, flags, launcher));
}

/** Ranks over MPI or NCCL, where the flags or the person's mpirun say so. */
function hostsOf(flags: CalibrateFlags, launcher?: Launcher): NetworkProbeOptions['hosts'] {
  const backend = backendFrom(undefined, flags);
  if (backend.kind === 'local') return undefined;
  if (flags.cluster !== undefined || flags.emulate !== undefined)
    throw new InputError(`the network of a job over ${backend.kind} is real, it is not emulated`, {
      file: '--backend',
      expected: `${backend.kind} without --cluster and --emulate`,
    });
  if (backend.kind === 'nccl') {
    const ranks = flags.ranks ?? startedPlace(process.env)?.size ?? cardsHere();
    const ranksPerHost = backend.ranksPerNode ?? ranks;
    return { launcher: launcher ?? launcherOf(backend), count: ranks / ranksPerHost, ranksPerHost };
  }
  const hosts = backend.hosts ?? [{ name: 'localhost', slots: flags.ranks ?? defaultRanks }];
  return { launcher: launcher ?? launcherOf(backend), count: hosts.length, ranksPerHost: hosts[0]?.slots ?? 1 };
}

/** One card: no links, so that a plan takes those of the datasheet. Throws `InputError` where there is none. */
async function probeOneCard(console: Console, flags: CalibrateFlags): Promise<void> {
  if (flags.cluster !== undefined || flags.emulate !== undefined || (flags.ranks ?? 1) > 1)
    throw new InputError('one card has no links', {
      file: '--device',
      expected: '--probe --device cuda alone, or --backend nccl and --ranks for the links of several',
    });
  cardsHere();
  console.note('timing products, attention, copies and launches on the card');
  const { probeCard } = await import('@monta/runtime/bench/cuda');
  finishCard(console, flags, probeCard());
}

/** Writes what was found of a card. */
function finishCard(console: Console, flags: CalibrateFlags, probe: Probe): void {
  finish({
    console,
    flags,
    fit: {
      calibration: { series: [], notes: ['one card: its links were not measured'], probes: [probe] },
      fits: [],
      warnings: [],
    },
    warnings: ['one card has no links: plans take those of the cluster file'],
    more: { show: () => showCard(console, probe), json: { probe } },
  });
}

function showCard(console: Console, { computeDevice, card }: Probe): void {
  if (card === undefined) return;
  const { style } = console;
  console.print(style.bold(`Matrix products on ${computeDevice}, bf16, measured`));
  console.print(
    renderTable(
      [{ header: 'm x n x k' }, { header: 'time', ...number }, { header: 'rate', ...number }],
      productRows(card.gemms),
      { style, indent: 2 },
    ),
  );
  const attention = card.attention.map(({ sequence, heads, kvHeads, headDim, forwardSeconds, backwardSeconds }) => [
    `${sequence}, ${heads} heads on ${kvHeads} of ${headDim}`,
    formatSeconds(forwardSeconds),
    formatSeconds(backwardSeconds),
  ]);
  console.print(
    renderTable(
      [{ header: 'causal attention' }, { header: 'forward', ...number }, { header: 'backward', ...number }],
      attention,
      { style, indent: 2 },
    ),
  );
  console.print(
    renderFacts(
      [
        ['Memory', formatBandwidth(card.memoryBytesPerSecond)],
        ['A launch', `${formatSeconds(card.launchSeconds)}, of the host ${formatSeconds(card.hostLaunchSeconds)}`],
      ],
      style,
    ),
  );
}

const productRows = (gemms: readonly ProbedGemm[]): string[][] =>
  gemms.map(({ m, n, k, seconds }) => [
    `${m} x ${n} x ${k}`,
    formatSeconds(seconds),
    formatFlops((2 * m * n * k) / seconds),
  ]);

async function probeAndWrite({ console }: MontaContext, flags: CalibrateFlags, launcher?: Launcher): Promise<void> {
  const backend = backendFrom(undefined, flags);
  if (backend.kind === 'local' && backend.device !== undefined) return await probeOneCard(console, flags);
  const hosts = hostsOf(flags, launcher);
  if (flags.emulate !== undefined && flags.cluster === undefined) {
    throw new InputError('--emulate needs the cluster that is emulated', { expected: '--cluster' });
  }
  if (flags.cluster !== undefined && flags.emulate === undefined) {
    throw new InputError('this machine is not a cluster', {
      expected: '--emulate auto with --cluster, or --probe alone for the memory backend',
      hint: 'measure a real cluster with --backend mpi --hosts, or with nccl-tests on it and calibrate from its output',
    });
  }
  const cluster = flags.cluster === undefined ? undefined : loadCluster(flags.cluster);
  const timeScale =
    cluster === undefined
      ? 1
      : flags.emulate === 'auto' || flags.emulate === undefined
        ? easyTimeScale(cluster)
        : flags.emulate;
  const progress = console.progressColumns !== undefined;
  const result = await probeNetwork({
    ...(cluster === undefined ? {} : { emulated: { cluster, timeScale } }),
    ...(flags.ranks === undefined ? {} : { ranks: flags.ranks }),
    ...(hosts === undefined ? {} : { hosts }),
    onProgress: (done) => {
      if (progress) console.note(`measured: ${done}`);
    },
  });
  const fit = fitCalibration(result.measurements);
  const notes =
    cluster === undefined
      ? []
      : [
          `${cluster.name}: emulated at 1/${timeScale} of its speed on ${result.probe.computeDevice}; times are ` +
            'divided by it again',
        ];
  finish({
    console,
    flags,
    fit: { ...fit, calibration: { ...fit.calibration, notes, probes: [result.probe] } },
    warnings: [...doubts(result), ...fit.warnings],
    more: {
      show: () => {
        console.print();
        showProbe(console, result.probe, cluster);
      },
      json: { probe: result.probe, lostSeconds: result.lostSeconds, wallSeconds: result.wallSeconds },
    },
  });
}
