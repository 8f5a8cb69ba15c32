/** `monta doctor`: what an out-of-memory message or a slow all_to_all comes from. */
import type {
  AllToAllDiagnosis,
  Cluster,
  Measurement,
  MemorySetting,
  NcclLog,
  OutOfMemoryExplanation,
  RunSetting,
  SpeedExplanation,
  Topology,
} from '@monta/core';
import {
  formatBandwidth,
  formatBytes,
  formatInteger,
  formatPercent,
  formatSeconds,
  InputError,
} from '@monta/core/units';
import { peakText } from '@monta/core/memory';
import { deviceCount, looksTopology, readTopology, topologyContradictions } from '@monta/core/cluster';
import { formatLayout } from '@monta/core/layout';
import { memoryOfRun, modelOfRun } from '@monta/core/frameworks';
import {
  diagnoseAllToAll,
  explainOutOfMemory,
  looksNcclLog,
  looksOutOfMemory,
  readNcclLog,
  readOutOfMemory,
  speedOfLog,
  stageOfMessage,
} from '@monta/core/doctor';
import { readMeasurementFile } from '../calibrate/read-measurements.js';
import type { MontaContext } from '../context.js';
import { readTextFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import type { DoctorFlags } from './doctor.flags.js';
import { explainedSpeed, showSpeed, speedOfFlags } from './doctor-speed.js';
import { memoryChanges } from './memory-changes.js';
import { runOfScript } from './megatron-script.js';
import { ranSetting } from './ran-setting.js';

const bytes = (value: number): string => formatBytes(value, 'binary');

interface Ran {
  readonly setting: MemorySetting;
  readonly leftOut: readonly string[];
}

/** What ran, by its script. Throws `InputError` that names what is missing. */
function settingOf(flags: DoctorFlags, cluster: Cluster): Ran {
  const [file] = flags.script ?? [];
  if (file === undefined)
    throw new InputError('the flags of the run are not given', {
      expected: '--script train.sh: what the run was started with',
    });
  const run = runOfScript(flags.script ?? [], flags.env ?? [], deviceCount(cluster));
  const described = flags.model === undefined ? modelOfRun(run) : { model: loadModel(flags.model) };
  if ('missing' in described)
    throw new InputError(`its flags do not say which model it is: ${described.missing.join(', ')} missing`, {
      file,
      expected: '--model name|config.json, or those flags',
    });
  const memory = memoryOfRun(run, described.model);
  if (memory === undefined)
    throw new InputError('its flags do not make a layout of these ranks', {
      file,
      expected: 'degrees that divide the ranks, --micro-batch-size and --seq-length',
      hint: 'monta lint says what is wrong',
    });
  return memory;
}

function showMemory(console: Console, explained: OutOfMemoryExplanation, { setting, leftOut }: Ran): void {
  const { message, predicted, candidates, causes, stage } = explained;
  const { style } = console;
  const [first] = causes;
  console.print(style.bold(`${first?.why ?? ''}\n`));
  for (const { cause, why, mend } of causes) {
    console.print(`  ${style.bad(cause)}  ${why}`);
    console.print(`    → ${console.typed(mend)}`);
  }
  const several = setting.step.layout.pp > 1;
  const facts: [string, string][] = [
    [
      'Asked for',
      `${bytes(message.requestedBytes)}${candidates.length === 0 ? '; no tensor of the step is that large' : ''}`,
    ],
    ...candidates.slice(0, 4).map(({ what, bytes: size }): [string, string] => ['', `${what}: ${bytes(size)}`]),
    [
      'Then',
      `${bytes(message.allocatedBytes)} handed out, ${bytes(message.unallocatedBytes)} held in pieces, ` +
        `${bytes(message.freeBytes)} of ${bytes(message.capacityBytes)} free`,
    ],
    [
      'Predicted',
      `${bytes(predicted.allocatedBytes)} handed out at the peak (${peakText(predicted)}), ` +
        `${bytes(predicted.totalBytes)} with all that lies beside`,
    ],
    ...(several
      ? [
          [
            'Stage',
            stage === undefined
              ? `not known: no rank in the message; the fullest, ${predicted.stage}, is compared`
              : `${stage} of ${setting.step.layout.pp}`,
          ] as [string, string],
        ]
      : []),
    ['Layout', formatLayout(setting.step.layout)],
    ...leftOut.map((what): [string, string] => ['Left out', what]),
  ];
  console.print(`\n${renderFacts(facts, style)}`);
}

function showChanges(console: Console, setting: MemorySetting, cluster: Cluster): void {
  const changes = memoryChanges(setting, cluster);
  if (changes.length === 0) return;
  console.print(
    `\n${renderTable(
      [{ header: 'what could be changed' }, { header: 'memory', align: 'number' }, { header: 'time' }],
      changes.map(({ what, totalBytes, time }) => [what, bytes(totalBytes), time]),
      { style: console.style },
    )}`,
  );
}

function showAllToAll(console: Console, diagnosis: AllToAllDiagnosis, cluster: Cluster): void {
  const { style } = console;
  const { measurement, expectedSeconds, tiers, binding, suspects, latencyShare } = diagnosis;
  const ratio = measurement.seconds / expectedSeconds;
  const nodes =
    measurement.nodes === null
      ? ''
      : ` on ${formatInteger(measurement.nodes)} ${measurement.nodes === 1 ? 'node' : 'nodes'}`;
  console.print(
    style.bold(
      `all_to_all of ${formatBytes(measurement.bytes)} over ${formatInteger(measurement.ranks)} ranks${nodes}: ` +
        (suspects.length > 0 ? `${ratio.toFixed(1)} times slower than ${cluster.name} should be` : 'as expected'),
    ),
  );
  console.print(
    `\n${renderTable(
      [
        { header: 'tier' },
        { header: 'bytes a port', align: 'number' },
        { header: 'reached', align: 'number' },
        { header: 'expected', align: 'number' },
        { header: 'a port gives', align: 'number' },
      ],
      tiers.map((tier, index) => [
        index === binding ? `${tier.name}, binds` : tier.name,
        formatBytes(tier.bytes),
        formatBandwidth(tier.reachedBytesPerSecond),
        formatBandwidth(tier.expectedBytesPerSecond),
        formatBandwidth(tier.portBytesPerSecond),
      ]),
      { style },
    )}`,
  );
  console.print(
    `\n${renderFacts(
      [
        [
          'Measured',
          `${formatSeconds(measurement.seconds)}, ${formatBandwidth(diagnosis.measuredBusBytesPerSecond)} bus`,
        ],
        [
          'Expected',
          `${formatSeconds(expectedSeconds)}, ${formatBandwidth(diagnosis.expectedBusBytesPerSecond)} bus ` +
            '(from the cluster file; monta calibrate knows more)',
        ],
        ...(latencyShare > 0.2
          ? [['Latency', `${formatPercent(latencyShare)} of it: a small message says little of bandwidth`] as const]
          : []),
      ].map(([name = '', text = '']): [string, string] => [name, text]),
      style,
    )}`,
  );
  suspects.forEach(({ what, evidence, mend }, index) => {
    console.print(`\n  ${index + 1}. ${what}   ${style.dim(evidence)}`);
    console.print(`     → ${console.typed(mend)}`);
  });
}

/** The row that says most of bandwidth: the largest size, and of repeats the fastest. */
function largest(measurements: readonly Measurement[]): Measurement | undefined {
  const rows = measurements.filter(({ op }) => op === 'all_to_all');
  return rows.reduce<Measurement | undefined>(
    (best, one) =>
      best === undefined || one.bytes > best.bytes || (one.bytes === best.bytes && one.seconds < best.seconds)
        ? one
        : best,
    undefined,
  );
}

/** The files that were given, and where to warn. */
interface Asked {
  readonly files: readonly string[];
  readonly console: Console;
}

interface Found {
  readonly speed: { readonly explained: SpeedExplanation; readonly setting: RunSetting } | undefined;
  readonly memory: readonly OutOfMemoryExplanation[];
  readonly ran: Ran | undefined;
  readonly allToAll: AllToAllDiagnosis | undefined;
}

/** Warns of what a node's wiring says and the cluster has not. */
function warnOfTopology(console: Console, topology: Topology, cluster: Cluster): void {
  for (const one of topologyContradictions(topology, cluster)) console.warn(`${one} ${cluster.name} is taken.`);
}

function look(flags: DoctorFlags, cluster: Cluster, { files, console }: Asked): Found {
  const texts = files.map((file) => ({ file, text: readTextFile(file) }));
  const messages = texts.flatMap(({ file, text }) => (looksOutOfMemory(text) ? readOutOfMemory(text, file) : []));
  const [log] = texts.filter(({ text }) => looksNcclLog(text)).map(({ text }): NcclLog => readNcclLog(text));
  const [topology] = texts.filter(({ text }) => looksTopology(text)).map(({ file, text }) => readTopology(text, file));
  if (topology !== undefined) warnOfTopology(console, topology, cluster);
  const measured = texts
    .filter(({ text }) => /\bbusbw\b/u.test(text))
    .flatMap(({ file }) => readMeasurementFile(file, { gpu: cluster.device.name }).measurements);
  const row = largest(measured);
  const [first] = messages;
  const told = speedOfFlags(flags) ?? texts.map(({ text }) => speedOfLog(text)).find((one) => one !== undefined);
  const setting = told === undefined || first !== undefined ? undefined : ranSetting(flags, cluster);
  if (speedOfFlags(flags) !== undefined && setting === undefined)
    throw new InputError('what ran is not given', { expected: '--script train.sh, or --plan plan.json' });
  const speed =
    told === undefined || setting === undefined ? undefined : { explained: explainedSpeed(setting, told), setting };
  if (first === undefined && row === undefined && speed === undefined)
    throw new InputError('there is nothing here that it knows', {
      file: files[0],
      expected:
        "PyTorch's out-of-memory message, output of alltoall_perf (nccl-tests), or with --script a log that prints " +
        'the time of steps',
      ...(log === undefined ? {} : { hint: "NCCL's log alone says no time: give the output of alltoall_perf too" }),
    });
  const ran = first === undefined ? undefined : settingOf(flags, cluster);
  // Ranks of a stage say the same: the last message of each is explained.
  const ofStages = new Map(
    ran === undefined ? [] : messages.slice(0, mostMessages).map((one) => [stageOfMessage(one, ran.setting), one]),
  );
  return {
    speed,
    memory: ran === undefined ? [] : [...ofStages.values()].map((one) => explainOutOfMemory(one, ran.setting)),
    ran,
    allToAll:
      row === undefined
        ? undefined
        : diagnoseAllToAll(row, cluster, {
            ...(log === undefined ? {} : { log }),
            ...(topology === undefined ? {} : { topology }),
          }),
  };
}

const mostMessages = 64;

/** Runs the command. Throws `InputError` for files that it does not know, and for flags that are missing. */
export function runDoctor({ console }: MontaContext, flags: DoctorFlags, ...files: string[]): void {
  const cluster = loadCluster(flags.cluster, console);
  const { speed, memory, ran, allToAll } = look(flags, cluster, { files, console });
  if (flags.json) {
    console.json({
      outOfMemory: memory.map(({ message, stage, predicted, candidates, causes, imbalance }) => ({
        ...message,
        stage: stage ?? null,
        predictedBytes: predicted.totalBytes,
        predictedAllocatedBytes: predicted.allocatedBytes,
        peak: predicted.peak,
        candidates,
        causes,
        imbalance: imbalance ?? null,
      })),
      changes: ran === undefined ? [] : memoryChanges(ran.setting, cluster),
      allToAll: allToAll ?? null,
      speed: speed === undefined ? null : speed.explained,
    });
    return;
  }
  if (ran !== undefined) {
    for (const one of memory) showMemory(console, one, ran);
    showChanges(console, ran.setting, cluster);
  }
  if (allToAll !== undefined) showAllToAll(console, allToAll, cluster);
  if (speed !== undefined) showSpeed(console, speed.explained, speed.setting);
}
