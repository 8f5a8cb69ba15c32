/** `monta memory`: what takes a device's memory over a step, and what could be changed. */
import type { Cluster, MemoryFit, MemorySetting, StageMemory } from '@monta/core';
import { formatBytes, formatPercent, InputError } from '@monta/core/units';
import { deviceCount, devicesText } from '@monta/core/cluster';
import { checkModelLayout, formatLayout, parseLayout } from '@monta/core/layout';
import { inChunks, namedStrategies } from '@monta/core/schedule';
import { peakText, activityKinds, memoryLacks, overheadsOf, sharingRules, stageMemory } from '@monta/core/memory';
import type { MontaContext } from '../context.js';
import { writeFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import { clusterUnder, stepOf, usedDevices } from './layer-inputs.js';
import { memoryChanges } from './memory-changes.js';
import { nearestText, nearestTo, ofCapacity, type Nearest } from './fit-text.js';
import { fitUnderFlags, memorySetting } from './memory-flags.js';
import type { MemoryCommandFlags } from './memory.flags.js';

interface Problem {
  readonly cluster: Cluster;
  readonly setting: MemorySetting;
}

function problemOf(flags: MemoryCommandFlags, console: Console): Problem {
  const cluster = clusterUnder(flags.layout, loadCluster(flags.cluster, console));
  const model = loadModel(flags.model);
  try {
    const layout = parseLayout(flags.layout, deviceCount(cluster));
    checkModelLayout(model, layout);
    const strategy = inChunks(namedStrategies.scattered, 1);
    return { cluster, setting: memorySetting(stepOf(model, layout, flags, strategy), flags) };
  } catch (error) {
    throw error instanceof InputError && error.file === undefined ? error.at({ file: '--layout' }) : error;
  }
}

const activityNames: Readonly<Record<(typeof activityKinds)[number], string>> = {
  saved: 'activations kept for the backward',
  gathered: 'whole weights and gradients of layers at work',
  dispatch: 'buffers of dispatch and combine',
  logits: 'head and logits',
  working: 'working memory of the layer at the peak',
};

/** What takes memory, in the order in which it is told. */
function partsOf(memory: StageMemory): (readonly [name: string, bytes: number])[] {
  const { states, activity } = memory;
  return [
    ['weights', states.weights],
    ['gradients', states.gradients],
    ['optimizer states', states.optimizer],
    ...activityKinds.map((kind) => [activityNames[kind], activity[kind]] as const),
    ['work space, stand-ins of fused gradients', memory.workspaceBytes],
    ["allocator's margin", memory.allocatorBytes],
    ['communication buffers', memory.communicationBytes],
    ["driver's context", memory.contextBytes],
  ].filter((part): part is [string, number] => Number(part[1]) > 0);
}

/** Bytes of a stage over its passes, states included, one point before and one within every node. */
async function drawing(memory: StageMemory, fit: MemoryFit, title: string): Promise<string> {
  const { lineChart } = await import('@monta/views');
  const beside = memory.totalBytes - memory.timeline.peak.bytes;
  const gib = (bytes: number): number => (bytes + beside) / 2 ** 30;
  const points = memory.timeline.nodes.flatMap(({ peak, after }, node): [number, number][] => [
    [node, gib(peak)],
    [node + 0.9, gib(after)],
  ]);
  return lineChart({
    title,
    subtitle: `stage ${memory.stage}: what is held while its passes run`,
    x: { label: 'passes of layers, in order' },
    y: { label: 'GiB' },
    series: [{ name: 'held', points }],
    levels: [{ name: 'device', value: fit.capacityBytes / 2 ** 30 }],
  });
}

/** What the command finds. */
interface MemoryResult {
  readonly setting: MemorySetting;
  readonly cluster: Cluster;
  readonly fit: MemoryFit;
  /** By stage, and the fullest of them. */
  readonly stages: readonly StageMemory[];
  readonly memory: StageMemory;
  readonly changes: ReturnType<typeof memoryChanges>;
  /** Where it does not fit: what is near it and does. */
  readonly nearest: Nearest | null;
}

/** Runs the command. Throws `InputError` for bad input. */
export async function runMemory({ console }: MontaContext, flags: MemoryCommandFlags): Promise<void> {
  const { cluster, setting } = problemOf(flags, console);
  const { model, layout } = setting.step;
  const fit = fitUnderFlags(setting, cluster);
  const overheads = overheadsOf(cluster.device);
  const stages = Array.from({ length: layout.pp }, (_, stage) => stageMemory(setting, stage, overheads));
  const memory = stages.reduce((fullest, one) => (one.totalBytes > fullest.totalBytes ? one : fullest));
  const title = `${model.name} on ${devicesText(cluster)} x ${cluster.device.name}, ${formatLayout(layout)}`;
  if (flags.svg !== undefined) writeFile(flags.svg, await drawing(memory, fit, title));
  const changes = memoryChanges(setting, cluster);
  const nearest = fit.fits ? null : nearestTo(setting, cluster);
  const result = { setting, cluster, fit, stages, memory, changes, nearest };
  if (flags.json) console.json(describe(result));
  else show(console, result, title);
}

const describe = ({ setting, cluster, fit, stages, memory, changes, nearest }: MemoryResult) => ({
  model: setting.step.model.name,
  cluster: cluster.name,
  devices: deviceCount(cluster),
  part: cluster.part ?? null,
  layout: formatLayout(setting.step.layout, cluster),
  fits: fit.fits,
  nearest,
  capacityBytes: fit.capacityBytes,
  stage: memory.stage,
  totalBytes: memory.totalBytes,
  allocatedBytes: memory.allocatedBytes,
  parts: Object.fromEntries(partsOf(memory)),
  peak: memory.peak,
  stages: stages.map(({ totalBytes }) => totalBytes),
  changes: changes.map(({ what, totalBytes, time }) => ({ what, totalBytes, time })),
  partialLayers: memoryLacks(setting),
});

function show(console: Console, result: MemoryResult, title: string): void {
  const { setting, fit, memory, changes, nearest } = result;
  console.print(fit.fits ? `fits: ${ofCapacity(fit)}` : `does not fit: ${ofCapacity(fit)}`);
  if (nearest !== null) console.print(nearestText(nearest));
  console.print(`\n${console.style.bold(title)}\n`);
  const columns = [
    { header: setting.step.layout.pp > 1 ? `stage ${memory.stage}, the fullest` : 'every device' },
    { header: 'memory', align: 'number' as const },
    { header: 'share', align: 'right' as const },
  ];
  const rows = partsOf(memory).map(([name, bytes]) => [
    name,
    formatBytes(bytes, 'binary'),
    formatPercent(bytes / memory.totalBytes),
  ]);
  console.print(renderTable(columns, rows, { style: console.style }));
  console.print('');
  console.print(
    renderTable(
      [{ header: 'what could be changed' }, { header: 'memory', align: 'number' }, { header: 'time' }],
      changes.map(({ what, totalBytes, time }) => [what, formatBytes(totalBytes, 'binary'), time]),
      { style: console.style },
    ),
  );
  console.print('');
  console.print(renderFacts(factsOf(result), console.style));
}

/** What of experts' rows was not left to the routing. */
function rowsFacts({ step, imbalance }: MemorySetting): (readonly [string, string])[] {
  const { capacityFactor } = step;
  if (capacityFactor === undefined) return [];
  const most = `at most ${capacityFactor} times an even share each, what is above it is dropped`;
  const rows = imbalance === 1 ? 'balanced rows are' : `${imbalance} times the mean is`;
  const below = `${rows} below it: --imbalance sets them`;
  return [['Experts', imbalance < capacityFactor ? `${most}; ${below}` : most]];
}

/** Whose memory it is: on processors no framework of GPUs keeps anything. */
const keptAs = ({ multiprocessors }: Cluster['device']): string =>
  multiprocessors === undefined
    ? "Megatron-Core's rules, without a driver and libraries of GPUs; a report of monta train has what ranks measured"
    : 'what Megatron-Core with TransformerEngine keeps';

function factsOf({ setting, cluster, fit, stages, memory }: MemoryResult): (readonly [string, string])[] {
  const { model, layout } = setting.step;
  const headroom = fit.capacityBytes - memory.totalBytes;
  const partial = memoryLacks(setting);
  const fact = (name: string, text: string): readonly [string, string] => [name, text];
  return [
    ...usedDevices(cluster),
    fact('Peak', `${formatBytes(memory.allocatedBytes, 'binary')} allocated, in ${peakText(memory)}`),
    fact(
      'Room',
      headroom >= 0 ? formatBytes(headroom, 'binary') : `none, ${formatBytes(-headroom, 'binary')} too much`,
    ),
    ...rowsFacts(setting),
    ...(layout.pp > 1
      ? [fact('Stages', stages.map(({ totalBytes }) => formatBytes(totalBytes, 'binary')).join(', '))]
      : []),
    fact('Rests on', `${keptAs(cluster.device)}; ${sharingRules[setting.sharing].source}`),
    ...(partial > 0
      ? [
          fact(
            'Left out',
            `${partial} layers have parts that programs do not compute yet: their states are whole, their ` +
              'activations those of what is computed',
          ),
        ]
      : []),
    ...(model.multiTokenLayers > 0
      ? [
          fact(
            'Left out',
            `activations of ${model.multiTokenLayers} layers of multi-token prediction; their states are counted`,
          ),
        ]
      : []),
  ];
}
