/** A simulated timeline as text. */
import type { RunSimulation, Span } from '@monta/core';
import {
  formatBandwidth,
  formatBytes,
  formatInteger,
  formatPercent,
  formatSeconds,
  maxOf,
  minOf,
} from '@monta/core/units';
import { devicesText } from '@monta/core/cluster';
import { formatLayout } from '@monta/core/layout';
import { formatDispatch } from '@monta/core/schedule';
import { leftOutOf, simulationError } from '@monta/core/plan';
import type { Console } from '../output/console.js';
import type { Style } from '../output/style.js';
import { stackText } from './step-text.js';
import { collectiveLines } from '../calibrate/coverage-facts.js';
import { renderFacts, renderTable, type Column } from '../output/table.js';
import { inputLines } from './cost-flags.js';
import { usedDevices } from './layer-inputs.js';
import { ganttText } from './simulate-gantt.js';
import type { SimulatedTimeline } from './simulated-timeline.js';
import type { SimulateFlags } from './simulate.flags.js';

const number = (header: string): Column => ({ header, align: 'number' });
const ms = (seconds: number): string => (seconds * 1e3).toFixed(3);

/** Every operation of a rank, in order of its start. */
function operationTable(spans: readonly Span[], { program }: SimulatedTimeline, style: Style): string {
  const several = program.nodes.length > 2;
  const rows = [...spans]
    .sort((a, b) => a.node - b.node || a.issued - b.issued || a.end - b.end)
    .map(({ node, operation, lane, issued, ready, end, bytes }) => [
      several ? `${node} ${operation}` : operation,
      lane,
      ms(issued),
      ms(ready - issued),
      ms(end - ready),
      ms(end),
      bytes > 0 ? formatBytes(bytes) : '-',
    ]);
  const columns = [
    { header: several ? 'node, operation' : 'operation' },
    { header: 'lane' },
    number('start ms'),
    number('waiting'),
    number('busy'),
    number('end'),
    number('bytes'),
  ];
  return renderTable(columns, rows, { style });
}

/** A step: one line a node. */
function nodeTable(spans: readonly Span[], { program }: SimulatedTimeline, style: Style): string {
  const rows = program.nodes.map(({ template, layer, microBatch }, node) => {
    const own = spans.filter((span) => span.node === node);
    const start = minOf(own.map(({ issued }) => issued));
    const end = own.reduce((last, span) => Math.max(last, span.end), -Infinity);
    const busy = (lanes: readonly Span['lane'][]): number =>
      own.filter(({ lane }) => lanes.includes(lane)).reduce((sum, span) => sum + span.end - span.ready, 0);
    return [
      template,
      layer < 0 ? '-' : String(layer),
      String(microBatch),
      ms(start),
      ms(end),
      ms(end - start),
      ms(busy(['compute'])),
      ms(busy(['inter'])),
      ms(busy(['intra'])),
      ms(busy(['copy'])),
    ];
  });
  const columns = [
    { header: 'template' },
    { header: 'layer', align: 'right' as const },
    { header: 'micro-batch', align: 'right' as const },
    ...['start ms', 'end', 'takes', 'compute', 'inter', 'intra', 'copy'].map(number),
  ];
  return renderTable(columns, rows, { style });
}

function laneTable({ simulation }: SimulatedTimeline, rank: number, style: Style): string {
  const times = simulation.summary.times.ranks.find((one) => one.rank === rank);
  const rows = (times?.lanes ?? [])
    .filter(({ busySeconds, waitingSeconds }) => busySeconds + waitingSeconds > 0)
    .map(({ lane, busySeconds, waitingSeconds, exposedSeconds }) => [
      lane,
      formatSeconds(busySeconds),
      formatSeconds(waitingSeconds),
      lane === 'compute' ? '-' : formatSeconds(exposedSeconds),
      lane === 'compute' || busySeconds === 0 ? '-' : formatPercent(1 - exposedSeconds / busySeconds),
    ]);
  return renderTable(
    [
      { header: `lane of rank ${rank}` },
      number('busy'),
      number('waiting'),
      number('exposed'),
      number('beside kernels'),
    ],
    rows,
    { style },
  );
}

/** Per tier: what ranks send and what its ports carry. */
function tierTable({ cluster, sent: rows, simulation }: SimulatedTimeline, style: Style): string {
  const table = cluster.tiers.flatMap(({ name, bytesPerSecond }, tier) => {
    const sent = rows.map((row) => row[tier] ?? 0);
    const ports = simulation.summary.ports.filter((port) => port.tier === tier);
    const [busiest] = [...ports].sort((a, b) => b.bytes - a.bytes);
    if (!busiest) return [];
    return [
      [
        name,
        formatBytes(sent.reduce((sum, one) => sum + one, 0) / sent.length),
        formatBytes(maxOf(sent)),
        `${ports.length} of ${formatBandwidth(bytesPerSecond)}`,
        busiest.bytes > 0 ? busiest.id : '-',
        formatBytes(busiest.bytes),
        formatPercent(busiest.utilisation),
      ],
    ];
  });
  return renderTable(
    [
      { header: 'tier' },
      number('sent by a rank'),
      number('most'),
      { header: 'ports (in and out)' },
      { header: 'busiest' },
      number('carries'),
      { header: 'busy', align: 'right' },
    ],
    table,
    { style },
  );
}

function pathText({ simulation }: SimulatedTimeline): string {
  const { path, makespanSeconds } = simulation.summary;
  const byTask = new Map<string, number>();
  for (const { template, task, start, end } of path) {
    const name = `${template}/${task}`;
    byTask.set(name, (byTask.get(name) ?? 0) + end - start);
  }
  return [...byTask]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 6)
    .map(([name, seconds]) => `${name} ${formatSeconds(seconds)} (${formatPercent(seconds / makespanSeconds)})`)
    .join('\n');
}

/** What stages wait for each other. */
function pipelineText({ bubbleShare, stages, updateSeconds, depth }: RunSimulation): string {
  const busy = stages.map(({ busySeconds }) => busySeconds);
  const how =
    depth === 'whole'
      ? 'simulated in one'
      : 'simulated pass by pass, which leaves out what transfers and passes of different micro-batches do to each ' +
        'other';
  return (
    `bubble ${formatPercent(bubbleShare)} of the time before the update (${formatSeconds(updateSeconds)}), mean over ` +
    `${stages.length} stages; their passes take ${formatSeconds(minOf(busy))} to ${formatSeconds(maxOf(busy))}; ${how}`
  );
}

const lines = (text: string | undefined): string[] => (text === undefined ? [] : [text]);

/** The whole output. */
export function renderSimulation(flags: SimulateFlags, result: SimulatedTimeline, console: Console): string {
  const { cluster, step, simulation, wholeStep, run, chosen } = result;
  const { summary, trace } = simulation;
  const { style } = console;
  const what = { layer: 'MoE layer', dispatch: 'dispatch + combine of a layer', step: 'training step' }[flags.of];
  const title =
    `${step.model.name} · ${what} · ${devicesText(cluster)} x ${cluster.device.name}, ${cluster.name} ` +
    `· ${formatLayout(step.layout)} · ${formatDispatch(step.strategy)}${chosen ? ' (chosen)' : ''} · ` +
    `${formatInteger(step.sequence * step.sequences)} ${step.sequence * step.sequences === 1 ? 'token' : 'tokens'}`;
  const spans = trace.spans.filter(({ rank }) => rank === flags.rank);
  const facts: (readonly [string, string])[] = [
    ...usedDevices(cluster),
    [
      'Time',
      `${formatSeconds(summary.makespanSeconds)} predicted, rests on ${summary.basis}, within about ` +
        `${formatPercent(simulationError(summary))}; ${formatPercent(summary.times.hiddenShare)} of the ` +
        `communication hidden behind kernels or the other lane`,
    ],
  ];
  if (wholeStep) {
    facts.push([
      'Step',
      [
        `${formatSeconds(wholeStep.seconds)} with all layers, ${formatInteger(wholeStep.tokensPerSecond)} ` +
          `tokens/s; the timeline shows ${step.model.layers} of them`,
        ...lines(stackText(wholeStep, cluster)),
      ].join('\n'),
    ]);
  }
  if (run) facts.push(['Pipeline', pipelineText(run)]);
  facts.push(
    [
      'Binds',
      summary.held
        .map(({ name, seconds, share }) => `${name} ${formatSeconds(seconds)} (${formatPercent(share)})`)
        .join(', '),
    ],
    ['Path', pathText(result)],
    ['Rests on', [...collectiveLines(summary.collectives), ...inputLines(result.model, cluster)].join('\n')],
    ['Left out', [...summary.leftOut, ...leftOutOf(flags.of, step.model)].join('\n')],
  );
  return [
    style.bold(title),
    '',
    flags.of === 'step' ? nodeTable(spans, result, style) : operationTable(spans, result, style),
    '',
    ganttText(spans, Math.min(console.columns, 120)),
    '',
    laneTable(result, flags.rank, style),
    '',
    tierTable(result, style),
    '',
    renderFacts(facts, style),
  ].join('\n');
}
