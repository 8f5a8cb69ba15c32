/**
 * The part of docs/accuracy.md on prices without a calibration: kernels, collectives of presets, MoE layers and steps
 * that others timed.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  dispatcherPairs,
  fittedOn,
  formatBytes,
  formatPercent,
  formatSeconds,
  layerErrors,
  leaveShapesOut,
  median,
  presetErrors,
  quantile,
  readKernels,
  readMeasuredLayers,
  readMeasuredSteps,
  readTimedDispatchers,
  stepRatios,
  type KernelError,
  type PresetError,
  type TimedDispatcher,
} from '@monta/core';
import { logs } from './published-measurements.js';

const core = fileURLToPath(new URL('../../../core/src/', import.meta.url));
const read = <T>(path: string, reader: (text: string, name: string) => T): T =>
  reader(readFileSync(`${core}${path}`, 'utf8'), path);

const seconds = (measured: number, predicted: number) => [formatSeconds(measured), formatSeconds(predicted)];
const signed = (share: number): string => `${share < 0 ? '−' : '+'}${formatPercent(Math.abs(share))}`;
const row = (...cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;

interface Compared {
  readonly error: number;
  readonly naiveError: number;
}

/** Median and 90th percentile of both predictors' absolute errors. */
function shares(errors: readonly Compared[]): string[] {
  const own = errors.map(({ error }) => Math.abs(error));
  const naive = errors.map(({ naiveError }) => Math.abs(naiveError)).filter(Number.isFinite);
  return [median(own), quantile(own, 0.9), median(naive), quantile(naive, 0.9)].map((share) => formatPercent(share));
}

const kinds = [
  { name: 'GEMM, bf16', of: /^gemm_bf16/u, above: 50e-6, bar: '4 / 10 %' },
  { name: 'GEMM, fp8', of: /^gemm_fp8/u, above: 50e-6, bar: '4 / 10 %' },
  { name: 'grouped GEMM', of: /^grouped/u, above: 50e-6, bar: '8 / 20 %' },
  { name: 'attention', of: /^attention/u, above: 50e-6, bar: '5 / 12 %' },
  { name: 'memory-bound', of: /^(?:copy|add|row_gather)/u, above: 50e-6, bar: '8 / 20 %' },
  { name: 'memory-bound, fused', of: /_fused/u, above: 100e-6, bar: '8 / 20 %' },
] as const;

function kernels(): string {
  const all = ['kernels-h200.csv', 'kernels-h200-more.csv'].flatMap((name) =>
    read(`cost/kernels/fixtures/${name}`, readKernels),
  );
  const errors = leaveShapesOut(all, all, fittedOn.multiprocessors);
  const own = (kind: (typeof kinds)[number]): KernelError[] =>
    errors.filter(({ kernel }) => kind.of.test(kernel.name) && kernel.seconds > kind.above);
  const worst = kinds
    .flatMap(own)
    .sort((a, b) => Math.abs(b.error) - Math.abs(a.error))
    .slice(0, 6);
  const farthest = worst.map(({ kernel, predictedSeconds, error }) =>
    row(kernel.name, kernel.label, ...seconds(kernel.seconds, predictedSeconds), signed(error)),
  );
  return `## Kernels

${all.length} kernels timed on H200 (\`packages/core/src/cost/kernels/fixtures/\`), sustained. Each is predicted from \
a fit to the others, without any of its own shape. Naive: the median rate of the others of its kind. Only kernels \
over 50 µs (fused ones over 100 µs) are judged: below, the host's launch is what was timed. The form of the model was \
chosen looking at half of these timings.

${row('kernel', 'rows', 'median error', '90th percentile', 'naive median', 'naive 90th', 'wanted')}
|---|--:|--:|--:|--:|--:|--:|
${kinds.map((kind) => row(kind.name, own(kind).length, ...shares(own(kind)), kind.bar)).join('\n')}

Farthest off:

${row('kernel', 'shape', 'measured', 'predicted', 'error')}
|---|---|--:|--:|--:|
${farthest.join('\n')}

- **fp8 GEMMs** are few: calls, waves and bytes are those of bf16 with a rate of their own. Two shapes under 50 µs, \
not judged here, are 33 % too low (32.9 µs, depth 2048) and 14 % too high (40.8 µs).
- **Many small experts** in one grouped call (128 experts with 32 rows each) are 17 to 21 % too fast: their weights \
are read at less than the bandwidth that large ones reach.
- Other GPUs than the H200 are priced by the ratios of datasheets. No kernel of another GPU was timed here.
`;
}

/** Farthest off in each group of rows. */
function byMachine(errors: readonly PresetError[]): string[] {
  const systems = [...new Set(errors.map(({ measurement }) => measurement.system))];
  return systems
    .map((system) => errors.filter(({ measurement }) => measurement.system === system))
    .sort((a, b) => median(b.map(({ error }) => Math.abs(error))) - median(a.map(({ error }) => Math.abs(error))))
    .map((own) => row(own[0]?.measurement.system ?? '', own[0]?.preset ?? '', own.length, ...shares(own)));
}

function presets(): string {
  const large = presetErrors(logs).filter(({ measurement }) => measurement.bytes >= 2 ** 24);
  const worst = [...large].sort((a, b) => Math.abs(b.error) - Math.abs(a.error)).slice(0, 4);
  const farthest = worst.map(({ measurement: m, predictedSeconds, error }) =>
    row(m.system, m.op, formatBytes(m.bytes, 'binary'), ...seconds(m.seconds, predictedSeconds), signed(error)),
  );
  return `## Collectives of presets, without a calibration

nccl-tests logs over two nodes, from 16 MiB up, against presets alone: datasheet bandwidth times the share that is \
reached, and the fastest of ring, tree and NVLS. Naive: bytes over the nominal bandwidth of the NICs. Latencies and \
protocols of NCCL were fitted on these logs, so this is no test on rows kept back.

${row('log', 'preset', 'rows', 'median error', '90th percentile', 'naive median', 'naive 90th')}
|---|---|--:|--:|--:|--:|--:|
${row('all', '', large.length, ...shares(large))}
${byMachine(large).join('\n')}

Farthest off:

${row('log', 'collective', 'size', 'measured', 'predicted', 'error')}
|---|---|--:|--:|--:|--:|
${farthest.join('\n')}

GPUDirect-TCPX (a3high) moves bytes through the host, which no preset models. Of an all_to_all between Hopper nodes \
no log stands here: what it reaches of a NIC (0.80 of it over two nodes, tables of SimAI; 0.91 on two H200 nodes) is \
met within 15 % (\`packages/core/src/cost/nccl.test.ts\`).
`;
}

function layers(): string {
  const errors = layerErrors(read('plan/fixtures/moe-layers.csv', readMeasuredLayers));
  const rows = errors.map(({ layer, predictedSeconds, error, naiveError }) =>
    row(layer.label, layer.pass, ...seconds(layer.seconds, predictedSeconds), signed(error), signed(naiveError)),
  );
  return `## MoE layers

Layers of experts that were timed, router to combined output, against \`monta simulate --of layer\`: even routing, \
\`scattered\` in one chunk (\`packages/core/src/plan/fixtures/moe-layers.csv\`). Nothing is fitted to these rows. \
Naive: products at the datasheet's peak and dispatched bytes at the nominal bandwidth of the link.

${row('layer', 'pass', 'measured', 'predicted', 'error', 'naive error')}
|---|---|--:|--:|--:|--:|
${rows.join('\n')}

- Products of experts are priced as each implementation runs them: one grouped call (transformers), a call an expert, \
or a batched call for all experts of a padded size (Monta's layer on one GPU). \`plan\` and \`simulate\` take the \
faster of the first two, \`--expert-products\` says otherwise. Gradients are written in bf16 on one GPU, added in f32 \
on the H100s.
- The H100 rows were timed in short runs with pauses, in which a card holds a higher clock (796 against 678 TFLOP/s \
for a large product on an H200). Prices are those of sustained work.
- DeepEP and HybridEP rows of the same test, and fp8, are compared by ratios, below.
`;
}

const ranOf = ({ dispatcher, what, kind }: TimedDispatcher): string =>
  kind === 'transfer' ? `${dispatcher} ${what}` : dispatcher;
const groundOf = ({ cluster, precision, kind, what }: TimedDispatcher): string =>
  `${cluster.name}, ${kind === 'step' ? 'gpt-oss-120b, EP 64' : kind === 'layer' ? `layer ${what}` : 'transfer'}` +
  (precision === 'mixed' ? '' : `, ${precision}`);

function dispatchers(): string {
  const pairs = dispatcherPairs(read('plan/fixtures/dispatchers.csv', readTimedDispatchers));
  const rows = pairs.map(({ first, second, published, predicted, error, constantRight }) =>
    row(
      first.source,
      groundOf(first),
      `${ranOf(first)} / ${ranOf(second)}`,
      published.toFixed(3),
      predicted.toFixed(3),
      signed(error),
      constantRight === undefined ? '' : constantRight ? 'right' : 'wrong',
    ),
  );
  const ordered = pairs.filter(({ constantRight }) => constantRight !== undefined);
  const right = ordered.filter(({ published, predicted }) => published > 1 === predicted > 1).length;
  const constant = ordered.filter(({ constantRight }) => constantRight === true).length;
  const errors = pairs.map(({ error }) => Math.abs(error));
  return `## Dispatchers against each other

Ratios of times of dispatchers that others timed on the same ground \
(\`packages/core/src/plan/fixtures/dispatchers.csv\`, each row with its source): ${pairs.length} pairs, the predicted \
ratio off by ${formatPercent(median(errors))} in the median, ${formatPercent(quantile(errors, 0.9))} in one of ten. \
Naive: a constant order, HybridEP before DeepEP before all_to_all; it is right in ${constant} of ${ordered.length} \
pairs of different dispatchers, the prediction in ${right}.

${row('source', 'what', 'pair', 'published', 'predicted', 'error', 'constant order')}
|---|---|---|--:|--:|--:|---|
${rows.join('\n')}

- all_to_all is \`sliced+scattered\`, DeepEP and HybridEP are \`deduplicated\` without the row moves that their \
transfers do on the way (\`packages/core/src/cost/libraries.ts\`): DeepEP reads tokens where they lie and adds up what \
comes back, HybridEP also places rows by expert and sums them.
- DeepEP's multiprocessors move 16 GB/s each, read off the transfers of the same source (4 to 24 of them), so the two \
pairs of its dispatch and NCCL's are no test on rows kept back; HybridEP's 28 GB/s are an assumption: its default of \
16 fills the NVLink of a Hopper GPU, and not that of a rack, which is why all_to_all comes first for gpt-oss there.
- A layer's ratio stands for a step of gpt-oss: attention, which is the same for both, is left out, so that a step's \
own ratio is nearer to 1.
`;
}

function steps(): string {
  const ratios = stepRatios(read('plan/fixtures/training-steps.csv', readMeasuredSteps));
  const rows = ratios.map(({ measured, predictedSeconds, ratio }) => {
    const bytes = measured.sameBytes ? '' : ' (*)';
    return row(measured.label, ...seconds(measured.seconds, predictedSeconds), `${ratio.toFixed(2)}${bytes}`);
  });
  return `## Training steps

Steps that others timed in bf16, with model, batch and layout known, against \`monta simulate --of step --dispatch \
scattered:1/1\` (\`packages/core/src/plan/fixtures/training-steps.csv\`). A prediction is what links and kernels \
take. A software stack adds host time, unfused kernels, synchronisation and recomputation. \`plan\` and \`simulate\` \
print the range of these ratios beside every step.

${row('step', 'measured', 'predicted', 'measured / predicted')}
|---|--:|--:|--:|
${rows.join('\n')}

(*) HybridEP sends each token once a node; the simulated all_to_all sends it once an expert. These rows are no test \
of the model, and not in the range.
`;
}

/** All sections. */
export const pricesPage = (): string => [kernels(), presets(), layers(), dispatchers(), steps()].join('\n');
