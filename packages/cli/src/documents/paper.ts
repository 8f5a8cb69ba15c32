/** Writes docs/paper.md and its plots: `npm run docs:paper`. Everything is simulated, and says so. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatBytes, formatPercent, maxOf, minOf } from '@monta/core';
import { barChart, lineChart } from '@monta/views';
import {
  centralAssumptions,
  nvlinkReached,
  nicCounts,
  paperRoom,
  speedUps,
  stepGains,
  volumes,
  type PaperRoom,
  type SpeedUp,
  type StepGain,
} from '@monta/core/plan/paper';
import { changesText, ofCapacity } from '../commands/fit-text.js';

const times = (ratio: number): string => `${ratio.toFixed(1)}x`;
const less = (slow: number, fast: number): string => `${((1 - fast / slow) * 100).toFixed(1)} %`;
const percent = (share: number): string => formatPercent(share);
/** Volumes at which NVLink's rate is varied, and its shares. */
const varied = [256, 1024].map((mebibytes) => mebibytes * 2 ** 20);
const shares = [0.6, nvlinkReached, 1];
const binary = (bytes: number): string => formatBytes(bytes, 'binary');

function speedUpTable(rows: readonly SpeedUp[]): string {
  const lines = rows.map(
    (row) =>
      `| ${row.nics} | ${binary(row.volume)} | ${times(row.allToAll)} | ${times(row.dispatchSerial)} | ` +
      `${times(row.dispatchChunked)} (${row.chunks}) | ${times(row.both)} (${row.choice}) |`,
  );
  return [
    '| NICs a node | V | AllToAll alone | AllToAll + AllGather | the same in chunks (best n) | dispatch + combine, ' +
      'the choice (chunks) |',
    '|---|---|---|---|---|---|',
    ...lines,
  ].join('\n');
}

function gainTable(rows: readonly { varied: string; gain: StepGain }[]): string {
  const lines = rows.map(({ varied, gain }) => {
    const fixed = Math.min(gain.sliced, gain.scattered, gain.pipelinedForward);
    const cells = [
      varied,
      ...[gain.duplicated, gain.sliced, gain.pipelinedForward, gain.scattered].map((seconds) => seconds.toFixed(2)),
      `${gain.chosen.toFixed(2)} (${gain.choice})`,
      less(gain.duplicated, gain.pipelinedForward),
      less(gain.sliced, gain.pipelinedForward),
      less(gain.duplicated, gain.chosen),
      less(fixed, gain.chosen),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| assumption | duplicated, s | sliced, s | sliced, 4 chunks forward, s | scattered, s | choice, s | MoNTA vs ' +
      'duplicated | MoNTA vs sliced | choice vs duplicated | choice vs best fixed |',
    '|---|---|---|---|---|---|---|---|---|---|',
    ...lines,
  ].join('\n');
}

/** NIC counts for which a speed-up reaches a bound, with the smallest volume that does. */
function reached(rows: readonly SpeedUp[], value: (row: SpeedUp) => number, bound: number): string {
  const found = nicCounts.flatMap((nics) => {
    const first = rows.find((row) => row.nics === nics && value(row) >= bound);
    return first ? [`${nics} (V from ${binary(first.volume)})`] : [];
  });
  return found.length > 0 ? found.join(', ') : 'none';
}

/** The case whose gain is nearest to the paper's 13 %, and that gain. */
function nearest(gains: readonly { varied: string; gain: StepGain }[], value: (gain: StepGain) => number): string {
  const [best] = [...gains].sort((a, b) => Math.abs(value(a.gain) - 0.13) - Math.abs(value(b.gain) - 0.13));
  return best ? `${(value(best.gain) * 100).toFixed(1)} % (${best.varied})` : 'none';
}

/** Cases whose gain over a baseline is within two points of the paper's. */
function within(gains: readonly { varied: string; gain: StepGain }[], baseline: 'duplicated' | 'sliced'): string {
  const found = gains.filter(({ gain }) => Math.abs(1 - gain.pipelinedForward / gain[baseline] - 0.13) <= 0.02);
  return found.length === 0
    ? 'none'
    : found.map(({ varied, gain }) => `${less(gain[baseline], gain.pipelinedForward)} (${varied})`).join(', ');
}

interface LinkRate {
  readonly nvlink: number;
  readonly rows: readonly SpeedUp[];
}

function nvlinkTable(links: readonly LinkRate[]): string {
  const cells = links.flatMap(({ nvlink, rows }) =>
    varied.map((volume) => {
      const own = nicCounts.map((nics) => rows.find((row) => row.nics === nics && row.volume === volume));
      const pair = (row: SpeedUp | undefined): string =>
        row === undefined ? '–' : `${times(row.dispatchChunked)}, ${times(row.both)}`;
      return `| ${percent(nvlink)} | ${binary(volume)} | ${own.map(pair).join(' | ')} |`;
    }),
  );
  return [
    `| NVLink reaches | V | ${nicCounts.map((nics) => `${nics} NIC${nics > 1 ? 's' : ''}`).join(' | ')} |`,
    `|---|---|${nicCounts.map(() => '---').join('|')}|`,
    ...cells,
  ].join('\n');
}

interface Figures {
  readonly rows: readonly SpeedUp[];
  readonly links: readonly LinkRate[];
  readonly gains: readonly { varied: string; gain: StepGain }[];
  readonly fit: PaperRoom;
}

/** Whether it fits, and the nearest that does. */
function fitText({ setting, asked, leastBytes, mostLayers, nearest }: PaperRoom): string {
  const first = `${ofCapacity(asked)} a device`;
  return asked.fits
    ? `**It fits**: ${first} (\`monta memory\`; distributed optimizer, nothing computed again).`
    : `**It does not fit**: ${first} (as \`monta memory\` counts it: Adam in 18 bytes a parameter, distributed \
optimizer, nothing computed again); at most ${mostLayers} of the ${centralAssumptions.layers} layers do. On 16 A800 no \
layout has room, with everything computed again and moments in 16 bits: the least is ${binary(leastBytes)}. The \
nearest that fits has ${nearest.devices} devices: \`${changesText(nearest.setting, setting)}\`, \
${binary(nearest.bytes)} each. The paper does not say what gave way.`;
}

function page({ rows, links, gains, fit }: Figures): string {
  const top = (nics: number, value: (row: SpeedUp) => number): string =>
    times(maxOf(rows.filter((row) => row.nics === nics).map(value)));
  const central = gains[0]?.gain;
  if (!central) throw new Error('no central case');
  const moNtaGains = gains.map(({ gain }) => 1 - gain.pipelinedForward / gain.sliced);
  const chunked = nicCounts.map(
    (nics) => `${top(nics, (row) => row.dispatchChunked)} with ${nics} NIC${nics > 1 ? 's' : ''}`,
  );
  return `# The paper's two figures, from the simulator

Written by \`npm run docs:paper\`; every number on this page is **simulated** from latency and bandwidth of each tier \
(at the rates that such links reach) and kernels timed on an H200 and carried to the A800 by datasheet ratios; \
nothing here was measured on such a cluster. Only the abstract of the paper (arXiv 2411.00662) could be read, so what \
it assumed is open; this page names each open assumption and varies it.

## 8x AllToAll at TP = 8

Two nodes of eight A800 (NVLink 200 GB/s a direction, of which ${percent(nvlinkReached)} is reached), TP = 8, EP = 2, \
two experts, top-2: every TP rank holds the same tokens. V is the volume that a replica dispatches. The baseline \
sends V from every TP rank; slicing sends V/8 and rebuilds the copies with an AllGather in the node.

![Speed-up over the duplicated dispatch](paper-speed-up.svg)

${speedUpTable(rows)}

- **AllToAll alone** approaches the duplicate factor 8 for every NIC count once V is large enough that latency does \
not matter: 7.5x or more for NICs a node of ${reached(rows, (row) => row.allToAll, 7.5)}. That number is a ratio of \
bytes, and slicing alone reaches it, without chunks: DeepSpeed-TED had the idea, and DeepSpeed merged it in its PR \
5626 before the paper.
- **AllToAll and AllGather together** cannot reach 8 unless the network is so slow that the AllGather hides behind \
it. In chunks, at best: \
${chunked.join(', ')}. 7x or more: NICs a node of ${reached(rows, (row) => row.dispatchChunked, 7)}.
- **Dispatch and combine**, with what Monta chooses: at best \
${nicCounts.map((nics) => `${top(nics, (row) => row.both)} with ${nics}`).join(', ')}. It beats the dispatch alone \
where a ReduceScatter replaces the baseline's all-reduce.

So the paper's 8x holds for the AllToAll alone on any of these clusters once V is large, and for AllToAll + AllGather \
(within 5 % of 8) with NICs a node of ${reached(rows, (row) => row.dispatchChunked, 7.6)}.

How fast NVLink really is decides the rest. AllToAll + AllGather in chunks, and dispatch + combine, at 256 MiB and at \
1 GiB by what NVLink reaches of its nominal bandwidth:

${nvlinkTable(links)}

## 13 % off the 2x70B step at 8K on 16 A800

Central case: Llama-2-70B's shape with two experts a layer, both visited (top-2), ${centralAssumptions.layers} \
layers, ${centralAssumptions.nics} NICs a node, one micro-batch of one sequence of 8,192 tokens a replica, \
activations replicated over TP, kernels by their shapes, NVLink at ${percent(nvlinkReached)} of its nominal rate, \
gradients reduced in float32 over the network, layer by layer beside the backward pass of the last micro-batch. \
"MoNTA" is its public code: sliced, 4 chunks forward, backward unchunked. What "the baseline" was is open \
too: before DeepSpeed's PR 5626 it is \`duplicated\`, after it \`sliced\`.

${fitText(fit)}

![Seconds per step](paper-step.svg)

${gainTable(gains)}

- Against \`sliced\` (DeepSpeed after its PR 5626) MoNTA's chunks gain ${(minOf(moNtaGains) * 100).toFixed(1)} to \
${(maxOf(moNtaGains) * 100).toFixed(1)} % in these cases; against \`duplicated\` \
${less(central.duplicated, central.pipelinedForward)} in the central one. 13 % lies between the two. The cases \
nearest to it: against \`duplicated\` ${nearest(gains, (gain) => 1 - gain.pipelinedForward / gain.duplicated)}; \
against \`sliced\` ${nearest(gains, (gain) => 1 - gain.pipelinedForward / gain.sliced)}. Within two points of 13 %: \
against \`duplicated\` ${within(gains, 'duplicated')}; against \`sliced\` ${within(gains, 'sliced')}.
- Monta's choice gains ${less(central.duplicated, central.chosen)} on \`duplicated\` and \
${less(Math.min(central.sliced, central.scattered, central.pipelinedForward), central.chosen)} on the best fixed \
strategy in the central case: chunks in both directions, and a ReduceScatter in place of the all-reduce.
- What moves the gain most is the number of NICs; then how much of the step is not MoE: gradient reduction \
(micro-batches) and GEMM speed.

What the simulation leaves out: congestion inside switches, message-size dependence of bandwidth beyond latency (see \
\`accuracy.md\` for measured curves), what a software stack adds to kernels and links, and any skew in routing \
(routing is even here).
`;
}

const folder = fileURLToPath(new URL('../../../../docs', import.meta.url));
mkdirSync(folder, { recursive: true });
const rows = speedUps();
const gains = stepGains();
const links = shares.map((nvlink) => ({ nvlink, rows: speedUps(varied, nvlink) }));
writeFileSync(join(folder, 'paper.md'), page({ rows, links, gains, fit: paperRoom() }));
writeFileSync(
  join(folder, 'paper-speed-up.svg'),
  lineChart({
    title: 'Speed-up over a duplicated dispatch, TP = 8, EP = 2, simulated',
    subtitle: 'solid: AllToAll + AllGather in chunks; dashed: AllToAll alone',
    x: { label: 'dispatched volume V, MiB', scale: 'log' },
    y: { label: 'times faster', domain: [0, 9] },
    series: nicCounts.flatMap((nics, colour) => {
      const points = (value: (row: SpeedUp) => number) =>
        volumes.map((volume): [number, number] => {
          const row = rows.find((one) => one.nics === nics && one.volume === volume);
          return [volume / 2 ** 20, row ? value(row) : NaN];
        });
      const name = `${nics} NIC${nics > 1 ? 's' : ''} a node`;
      return [
        { name, colour, points: points((row) => row.dispatchChunked), dots: true },
        { name: `${name}, AllToAll`, colour, look: 'dashed' as const, points: points((row) => row.allToAll) },
      ];
    }),
    levels: [{ name: 'duplicate factor', value: 8 }],
    height: 420,
  }),
);
writeFileSync(
  join(folder, 'paper-step.svg'),
  barChart({
    title: '2x70B step at 8K on 16 A800, simulated',
    value: { label: 'seconds per step', format: (seconds) => seconds.toFixed(seconds < 10 ? 2 : 1) },
    series: ['duplicated', 'sliced', 'MoNTA (4 chunks forward)', 'choice'],
    rows: gains.slice(0, 7).map(({ varied, gain }, index) => ({
      name: varied,
      chosen: index === 0,
      values: [gain.duplicated, gain.sliced, gain.pipelinedForward, gain.chosen],
    })),
  }),
);
