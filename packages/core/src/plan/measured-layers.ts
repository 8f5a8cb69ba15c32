/** How far the simulator is from MoE layers that were timed, router to combined output. */
import { getCluster } from '../cluster/presets.js';
import type { Cluster } from '../cluster/cluster.js';
import { deviceCount } from '../cluster/ports.js';
import { costModel, productWays, type ProductWay } from '../cost/index.js';
import { parseLayout } from '../layout/index.js';
import { inChunks, namedStrategies } from '../schedule/dispatchers/strategies.js';
import { moeLayerProgram } from '../schedule/step.js';
import type { GradientStore } from '../schedule/work.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { placeOf, simulate } from '../simulate/index.js';
import type { Trace } from '../trace/index.js';
import { InputError } from '../units/errors.js';
import { tableRows } from './measured-table.js';
import { routedBinding } from './workload.js';

const passes = ['forward', 'backward', 'both'] as const;
export type TimedPass = (typeof passes)[number];

export interface MeasuredLayer {
  readonly label: string;
  /** Whose implementation ran. */
  readonly source: string;
  readonly cluster: Cluster;
  readonly shape: MoeShape;
  readonly pass: TimedPass;
  readonly seconds: number;
  /** Ways in which its products of experts ran. */
  readonly products: readonly ProductWay[];
}

const gradientStores = ['added', 'written'] as const satisfies readonly GradientStore[];

function oneOf<Word extends string>(text: string, words: readonly Word[], fileName: string): Word {
  const found = words.find((one) => one === text);
  if (found === undefined) throw new InputError(`"${text}" is unknown`, { file: fileName, expected: words.join(', ') });
  return found;
}

/** Reads `fixtures/moe-layers.csv`. Throws `InputError`. */
export function readMeasuredLayers(text: string, fileName: string): MeasuredLayer[] {
  return tableRows(text, fileName).map((row) => {
    const cluster = getCluster(row.text('cluster'));
    const pass = oneOf(row.text('pass'), passes, fileName);
    return {
      label: row.text('label'),
      source: row.text('source'),
      cluster,
      pass,
      seconds: row.number('ms') * 1e-3,
      products: row
        .text('products')
        .split(' ')
        .map((word) => oneOf(word, productWays, fileName)),
      shape: {
        tokens: row.number('tokens'),
        hiddenSize: row.number('hidden'),
        expertFfn: row.number('ffn'),
        experts: row.number('experts'),
        topK: row.number('top_k'),
        layout: parseLayout(row.text('layout'), deviceCount(cluster)),
        dtype: 'bf16',
        gradients: oneOf(row.text('gradients'), gradientStores, fileName),
      },
    };
  });
}

export interface LayerError {
  readonly layer: MeasuredLayer;
  readonly predictedSeconds: number;
  /** Predicted over measured, minus 1. */
  readonly error: number;
  /**
   * The same of products at the datasheet's peak and dispatched bytes at the nominal bandwidth of the link: what anyone
   * would write first.
   */
  readonly naiveError: number;
}

/** Prices every layer, dispatched as all of them were: rows to their experts and back by all_to_all, in one chunk. */
export const layerErrors = (layers: readonly MeasuredLayer[]): LayerError[] =>
  layers.map((layer) => {
    const predictedSeconds = predicted(layer);
    return {
      layer,
      predictedSeconds,
      error: predictedSeconds / layer.seconds - 1,
      naiveError: naive(layer) / layer.seconds - 1,
    };
  });

function predicted({ cluster, shape, pass, products }: MeasuredLayer): number {
  const strategy = inChunks(namedStrategies.scattered, 1);
  const simulation = simulate({
    place: placeOf(shape.layout, cluster),
    programs: [moeLayerProgram(shape, strategy)],
    bindings: [routedBinding(shape, { kind: 'uniform' }, 1)],
    model: costModel(cluster.device, { inputs: { expertProducts: products } }),
  });
  if (!simulation.known) throw new RangeError(`no price: ${simulation.missing.join(', ')}`);
  const end = (template: string, task: string): number => lastEnd(simulation.trace, template, task);
  const forward = end('moe.forward', 'combine') - end('moe.forward', 'norm');
  const backward = end('moe.backward', 'sum') - end('moe.forward', 'residual');
  return { forward, backward, both: forward + backward }[pass];
}

function lastEnd({ spans }: Trace, template: string, task: string): number {
  const ends = spans.filter((span) => span.template === template && span.task === task).map(({ end }) => end);
  return ends.reduce((last, end) => Math.max(last, end), Number.NEGATIVE_INFINITY);
}

function naive({ cluster, shape, pass }: MeasuredLayer): number {
  const { tokens, topK, hiddenSize, expertFfn, layout } = shape;
  const rows = tokens * topK;
  const products = (6 * rows * hiddenSize * expertFfn) / (cluster.device.flopsPerSecond.bf16 ?? Number.NaN);
  const link = cluster.tiers[0]?.bytesPerSecond ?? Number.NaN;
  const travels = (2 * (2 * rows * hiddenSize * (layout.ep - 1))) / layout.ep / link;
  return { forward: products + travels, backward: 2 * products + travels, both: 3 * products + 2 * travels }[pass];
}
