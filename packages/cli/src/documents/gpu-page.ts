/** The page about GPUs: every figure from one run's report, with the card, the driver and the date beside it. */
import {
  modelStep,
  type GpuReport,
  type LayerMeasurement,
  type ModelRun,
  type PieceTime,
  type WayMeasurement,
} from '@monta/runtime/bench/cuda';
import { getCluster, maxOf, minOf } from '@monta/core';
import { stageMemory } from '@monta/core/memory';

const gibibyte = 2 ** 30;
const number = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : '–');

/** `13000` is 13.0; `91900` is 9.19.0. */
function cudaVersion(code: number): string {
  return `${Math.floor(code / 1000)}.${Math.floor((code % 1000) / 10)}`;
}

function cudnnVersion(code: number): string {
  return `${Math.floor(code / 10_000)}.${Math.floor((code % 10_000) / 100)}.${code % 100}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, place) => (place === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

/** Of every check; what is not a number was kept as null. */
export function checksTable(checks: GpuReport['checks']): string {
  return table(
    ['kernels', 'storage', 'outputs compared', 'failed', 'nearest to its bound', 'error', 'bound'],
    checks.map(({ name, storages, compared, failed, worst }): string[] => [
      name,
      storages.join(', '),
      String(compared),
      String(failed.length),
      `${worst.check} (${worst.storage})`,
      exponential(worst.error),
      String(worst.bound),
    ]),
  );
}

/** NaN stands as null in JSON. */
const exponential = (error: number | null): string =>
  error === null || Number.isNaN(error) ? 'not a number' : error.toExponential(1);

function attentionTable({ attention }: GpuReport): string {
  return table(
    [
      'sequence',
      'query heads',
      'key/value heads',
      'head size',
      'forward ms',
      'backward ms',
      'host us, forward',
      'host us, backward',
    ],
    attention.map(({ shape, forward, backward }) => [
      String(shape.sequence),
      String(shape.heads),
      String(shape.kvHeads),
      String(shape.headDim),
      number(forward.milliseconds, 3),
      number(backward.milliseconds, 3),
      number(1000 * forward.hostMilliseconds, 0),
      number(1000 * backward.hostMilliseconds, 0),
    ]),
  );
}

/** What ran, and all of a layer's ways beside the floor of its products. */
function layerRows(name: string, { flops, monta, peers }: LayerMeasurement, floorRate: number): string[][] {
  const floor = (1000 * flops) / floorRate;
  const ran = [...monta, ...peers].filter(({ error }) => error === undefined);
  const row = ({ name: way, milliseconds, runs, peakBytes }: WayMeasurement): string[] => [
    name,
    way,
    number(milliseconds, 2),
    `${number(minOf(runs), 2)} to ${number(maxOf(runs), 2)}`,
    number(milliseconds / floor, 2),
    peakBytes === undefined ? '' : number(peakBytes / gibibyte, 1),
  ];
  return [[name, 'its products alone, at the sustained rate', number(floor, 2), '', '1', ''], ...ran.map(row)];
}

function ratioRows(layer: GpuReport['layer']): string[][] {
  return Object.entries(layer).flatMap(([name, { monta, peers }]) => {
    const best = [...monta].sort((a, b) => a.milliseconds - b.milliseconds)[0];
    return peers
      .filter(({ error }) => error === undefined)
      .map((peer) => [name, best.name, peer.name, number(peer.milliseconds / best.milliseconds, 2)]);
  });
}

function pieceRow(name: string, { piece, milliseconds, flops, bytes }: PieceTime): string[] {
  const rate =
    flops !== undefined
      ? `${number(flops / milliseconds / 1e9, 0)} TFLOP/s`
      : bytes !== undefined
        ? `${number(bytes / milliseconds / 1e9, 2)} TB/s`
        : '';
  return [name, piece, number(milliseconds, 3), rate];
}

function pieceRows(layer: GpuReport['layer']): string[][] {
  return Object.entries(layer).flatMap(([name, { monta }]) => {
    const best = [...monta].sort((a, b) => a.milliseconds - b.milliseconds)[0];
    return (best.pieces ?? []).map((piece) => pieceRow(name, piece));
  });
}

function shapeRows(layer: GpuReport['layer']): string[][] {
  return Object.entries(layer).map(([name, { shape }]) => [
    name,
    String(shape.tokens),
    String(shape.hidden),
    String(shape.ffn),
    String(shape.experts),
    String(shape.picks),
  ]);
}

function missing(layer: GpuReport['layer']): string {
  const lines = Object.entries(layer).flatMap(([name, { peers }]) =>
    peers.flatMap((peer) =>
      peer.error === undefined ? [] : [`- ${name}: ${peer.name} did not run: ${peer.error.split('\n', 1)[0]}`],
    ),
  );
  return lines.length === 0 ? '' : `\n${lines.join('\n')}\n`;
}

/** Training by the compiled program on the card; plainly said where no run has shown it. */
function trainingText({ training }: GpuReport): string {
  if (training === undefined)
    return (
      'Training by the same compiled programs as on the CPU (`./run gpu.json --parts shadow,training`) is ' +
      'written, and tested with a stand-in for CUDA that runs no kernel. **It was not part of this run: no figure ' +
      'here shows that it computes the right thing on a card.**'
    );
  return table(
    ['model', 'steps', 'losses differ by', 'gradient norms differ by', 'the same bits again'],
    training.map(({ model, steps, lossDifference, normDifference, sameBits }) => [
      model,
      String(steps),
      lossDifference.toExponential(1),
      normDifference.toExponential(1),
      sameBits ? 'yes' : 'no',
    ]),
  );
}

/** Launches of training steps followed on the card, and the kernel furthest from the CPU's. */
export function shadowText({ shadow }: Pick<GpuReport, 'shadow'>): string {
  if (shadow === undefined) return '';
  const rows = Object.entries(shadow).map(([model, kernels]) => {
    const [first] = [...kernels].sort((a, b) => b.worst - a.worst);
    const launches = kernels.reduce((sum, one) => sum + one.launches, 0);
    return [model, String(kernels.length), String(launches), exponential(first.worst), first.kernel];
  });
  const said =
    'Every launch of two training steps on the CPU, repeated on the card from the same operands. Nothing is written \
behind an operand.';
  return `${said}\n\n${table(['model', 'kernels', 'launches', 'largest error', 'of'], rows)}\n\n`;
}

/** What a plan says of the model's step: regions, states, workspace and the allocator's margin. */
function plannedBytes(): number {
  const setting = { convention: 'monta', sharing: 'none', precision: 'mixed', imbalance: 1 } as const;
  const { totalBytes, contextBytes } = stageMemory({ step: modelStep(), ...setting }, 0);
  return totalBytes - contextBytes;
}

/**
 * Read in fp32: weight, gradient, both moments, and the gradient once more for its norm. Written: the weight and both
 * moments, and the weight in bf16.
 */
const updateBytes = 5 * 4 + 3 * 4 + 2;

/** Dense bf16 FLOP/s of the card of that name, as Monta's clusters of it have them; undefined where they have none. */
function datasheetFlops(card: string): number | undefined {
  const family = /\b[a-z]+\d+/iu.exec(card)?.[0] ?? '';
  try {
    return getCluster(`${family}-1x1`).device.flopsPerSecond.bf16;
  } catch {
    return undefined;
  }
}

const shownSteps = [1, 5, 10, 20, 30, 40, 50, 100, 150, 200];

/** Losses by step, of those that ran. */
function lossTable(runs: readonly (readonly [string, ModelRun | { readonly error: string }])[]): string {
  const ran = runs.flatMap(([name, run]) => ('error' in run ? [] : [{ name, losses: run.losses }]));
  return table(
    ['loss at step', ...shownSteps.map(String)],
    ran.map(({ name, losses }) => [name, ...shownSteps.map((step) => losses[step - 1]?.toFixed(3) ?? '–')]),
  );
}

/** A model of more than a billion parameters, and what peers take for it. */
function modelText(report: GpuReport): string {
  const { model, rates } = report;
  if (model === undefined) return '';
  const { monta, peers, parameters, tokensPerStep, flopsPerToken } = model;
  const peak = datasheetFlops(report.card.name);
  const row = (name: string, run: typeof monta | (typeof peers)[string]): string[] =>
    'error' in run
      ? [name, run.error.split('\n', 1)[0], '', '', '', '']
      : [
          name,
          number(1000 * run.secondsPerStep, 1),
          number(run.tokensPerSecond, 0),
          number(run.teraflops, 0),
          peak === undefined ? '–' : `${number((100e12 * run.teraflops) / peak, 1)} %`,
          number(run.peakBytes / gibibyte, 1),
        ];
  const runs = [['Monta', monta] as const, ...Object.entries(peers)];
  const kernels = Object.entries(monta.kernels)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 12);
  const regions = monta.parameterBytes + monta.regionBytes;
  const planned = plannedBytes();
  const last = monta.losses.at(-1) ?? NaN;
  const productSeconds = (flopsPerToken * tokensPerStep) / rates.product.flopsPerSecond;
  const updateSeconds = (parameters * updateBytes) / rates.copy.bytesPerSecond;
  return `## A model

${number(parameters / 1e9, 2)} billion parameters, ${tokensPerStep} tokens a step, ${number(flopsPerToken / 1e9, 2)} \
GFLOP a token forward and backward; bf16; Monta keeps weights, gradients and moments in fp32. Medians of the steps \
after the first ten. Monta took ${monta.losses.length} steps, from a loss of ${number(monta.losses[0], 3)} to \
${number(last, 3)}.

${table(
  ['who', 'ms a step', 'tokens/s', 'TFLOP/s', 'MFU', 'peak GiB'],
  runs.map(([name, run]) => row(name, run)),
)}

MFU is of the datasheet's bf16 rate${peak === undefined ? '' : `, ${number(peak / 1e12, 0)} TFLOP/s`}; causal \
attention counts half. A bound of Monta's step from the rates below: its FLOPs at the sustained rate take \
${number(1e3 * productSeconds, 1)} ms, the update's ${updateBytes} bytes a parameter at the copy's \
${number(1e3 * updateSeconds, 1)} ms, together ${number(1e3 * (productSeconds + updateSeconds), 1)} ms: \
${number((100 * (productSeconds + updateSeconds)) / monta.secondsPerStep, 0)} % of what it takes.

${lossTable(runs)}

The plan of this step, as \`monta memory\` makes it without the card's own context, is \
${number(planned / gibibyte, 1)} GiB: Monta's peak is ${number(monta.peakBytes / planned, 2)} times that. Its \
program's regions and states took ${number(regions / gibibyte, 1)} GiB of it; the rest is scratch of kernels and \
rounding of allocations. The peers keep weights, gradients and moments in bf16, 8 bytes a parameter where Monta has \
18: they move less and hold less.

${table(
  ['kernel of one step', 'ms'],
  kernels.map(([name, seconds]) => [name, number(1000 * seconds, 2)]),
)}

`;
}

/** Bundles run with it off unless the host says otherwise; NCCL, of peers too, chooses by it. */
export const multicastText = ({ multicast = false }: Pick<GpuReport, 'multicast'>): string =>
  multicast ? 'may be used' : 'off';

/** Parts whose figures depend on how the compiled program multiplies experts. */
const withExperts = ['model', 'predicted', 'parallel'] as const;

/** What older reports show of the compiled program that it does otherwise now; nothing where none is old. */
function olderText(reports: readonly (GpuReport | undefined)[]): string {
  const older = withExperts.filter((part) =>
    reports.some((one) => one?.[part] !== undefined && (one.revision ?? 1) < 2),
  );
  if (older.length === 0) return '';
  const names = older.map((part) => `\`${part}\``).join(', ');
  return `- Experts in the compiled program take the faster of both ways, as measured. Figures of ${names} are older: \
of the loop alone, and kernels that ran at the same time count whole.
`;
}

/** The whole page. others: reports of parts that ran alone, of which the page says what is not here yet. */
export function gpuPage(report: GpuReport, others: readonly (GpuReport | undefined)[] = []): string {
  const { card, driver = 'unknown', date, node, command, cudnn, rates, layer } = report;
  return `# On one GPU

Written by \`npm run docs:gpu\` from \`docs/gpu.json\`. Every figure below is from one run:

${table(
  ['', ''],
  [
    [
      'card',
      `${card.name} (${card.architecture}, ${card.multiprocessors} multiprocessors, ` +
        `${number(card.totalBytes / gibibyte, 0)} GiB)`,
    ],
    [
      'driver',
      `${driver}, CUDA ${cudaVersion(card.driverCuda)}; runtime ${cudaVersion(card.runtimeCuda)}; cuDNN ` +
        cudnnVersion(cudnn),
    ],
    ['Node', node],
    ['date', date],
    ['command', `\`./run gpu.json ${command.join(' ')}\` in the folder that \`npm run bundle:gpu\` writes`],
  ],
)}

## Run it yourself

\`\`\`sh
npm run bundle:gpu                  # a folder under 45 MiB: Node packed with xz, Monta, its modules, fixtures
scp -r gpu-bundle host:             # a Linux host with a GPU and CUDA's libraries, and nothing else
ssh host gpu-bundle/run gpu.json --peers
monta bench layer --device cuda --peers
\`\`\`

CUDA's libraries are looked for in \`MONTA_CUDA_LIBRARIES\` (folders, separated by colons), on the loader's path, in \
\`/usr/local/cuda*/lib64\`, and in the packages of the \`python3\` on the path. Compiled kernels are kept in \
\`MONTA_CUDA_CACHE\`, or \`~/.cache/monta/cuda\`.

## Correctness

Each kernel beside the CPU's on fresh random inputs. Outputs are poisoned before. An error is the norm of the \
difference over the norm of what was expected. fp32 runs without TF32. No kernel adds floats by atomics; layer and \
attention are run twice and leave the same bits.

${checksTable(report.checks)}

${shadowText(report)}${trainingText(report)}

${modelText(report)}## Rates

Sustained: medians of 7 runs, of 2 s for the product and 0.1 s for the rest.

${table(
  ['what', 'time', 'rate'],
  [
    [
      'product of 8192 cubed, bf16, random data',
      `${number(rates.product.milliseconds, 3)} ms`,
      `${number(rates.product.flopsPerSecond / 1e12, 0)} TFLOP/s`,
    ],
    [
      'copy of 4 GiB within the card',
      `${number(rates.copy.milliseconds, 3)} ms`,
      `${number(rates.copy.bytesPerSecond / 1e12, 2)} TB/s, read and written`,
    ],
    ['launch of a small kernel, host', `${number(1000 * rates.launch.hostMilliseconds, 1)} us`, ''],
  ],
)}

## Attention

Causal, bf16, one sequence, by cuDNN's backend interface. Medians of 7 runs of 0.1 s.

${attentionTable(report)}

## One layer of experts

Router to combined output and back, bf16, gradients of all weights. Runs of 0.5 s, each after one of the same length \
that is not timed; five of each, in turns with the peers on the same card. The table has medians, and the least and \
the most.

${table(['shape', 'tokens', 'hidden', 'ffn', 'experts', 'top-k'], shapeRows(layer))}

${table(
  ['shape', 'way', 'ms', 'runs', 'over floor', 'peak GiB'],
  Object.entries(layer).flatMap(([name, one]) => layerRows(name, one, rates.product.flopsPerSecond)),
)}
${missing(layer)}
Peers: \`MixtralSparseMoeBlock\` of transformers with its grouped_mm experts, eager and compiled; and PyTorch without \
autograd, buffers kept, the combine's weights folded into the activation, a product an expert through cuBLAS, which \
is not its best way for many small experts (Q). Megatron-Core and DeepSpeed were not on the host.

How much faster Monta's fastest way is (above 1: Monta is faster):

${table(['shape', 'Monta', 'peer', 'peer / Monta'], ratioRows(layer))}

### Where the time goes

Means of 20 steps of the fastest way, between events. Bytes are the fewest that a piece must move.

${table(['shape', 'piece', 'ms', 'rate'], pieceRows(layer))}

## Not here yet

${olderText([report, ...others])}\
- Once a layer the host waits for counts (picks where copies are deduplicated) and plans by the block of rows.
- \`hierarchical\` moves rows by plans that the host lists row by row.
- Attention with sinks or over windows runs in bf16 by a kernel that walks keys one by one: right, not fast.
- An own grouped kernel for the experts' products, and CUDA graphs.
`;
}
