/**
 * One gated feed-forward whose gate and up matrices are column-parallel and whose down matrix is row-parallel over TP:
 * that of a layer without experts, and the experts that every token visits. Its output is a partial sum over TP.
 */
import { dtypeBytes, rowsRegion } from './moe-shape.js';
import { gradient, weight, type SlotShape } from './parameter-regions.js';
import type { DType, Lane, Region } from './schedule.js';
import { read, write, type TemplateBuilder } from './template-builder.js';
import { feedForwardParts, inputGradientParts, matrixWork, weightGradientParts, type Work } from './work.js';

export interface FeedForwardBlock {
  readonly builder: TemplateBuilder;
  /** First part of the names of its slots and regions. */
  readonly block: 'mlp' | 'shared';
  readonly tokens: number;
  readonly hiddenSize: number;
  /** Inner width on this rank. */
  readonly ffn: number;
  readonly dtype: DType;
  readonly lane?: Lane;
  /** Region of its input, all T rows. */
  readonly normed: string;
  /**
   * Every row of the output is multiplied by the sigmoid of its token's product with one more row of weights
   * (Qwen2-MoE).
   */
  readonly tokenGate?: boolean;
}

type Sizes = Pick<FeedForwardBlock, 'block' | 'ffn' | 'hiddenSize'>;

const slots = ({ block, ffn, hiddenSize }: Sizes) =>
  ({
    gate: { slot: `${block}.gate`, rows: ffn, columns: hiddenSize },
    up: { slot: `${block}.up`, rows: ffn, columns: hiddenSize },
    down: { slot: `${block}.down`, rows: hiddenSize, columns: ffn },
  }) as const satisfies Record<string, SlotShape>;

const tokenGateShape = ({ hiddenSize }: Sizes): SlotShape => ({
  slot: 'shared.tokenGate',
  rows: 1,
  columns: hiddenSize,
});

const regionOf = (f: FeedForwardBlock, name: string, columns: number, life: Region['life']): string =>
  f.builder.region(rowsRegion({ id: `${f.block}.${name}`, shape: f, rows: f.tokens, columns, order: 'rows', life }));

/** Kept for the backward: products of gate and up, and each token's factor. */
function keep(f: FeedForwardBlock): { readonly gateUp: string; readonly scale?: string } {
  const gateUp = regionOf(f, 'gateUp', 2 * f.ffn, 'saved');
  if (f.tokenGate !== true) return { gateUp };
  const scale = { id: `${f.block}.scale`, dtype: 'f32', rows: f.tokens, columns: 1, order: 'rows' } as const;
  return { gateUp, scale: f.builder.region({ ...scale, life: 'saved' }) };
}

function weights(f: FeedForwardBlock) {
  const of = slots(f);
  const weightOf = (shape: SlotShape) => weight(f.builder, f.dtype, shape);
  return {
    gate: weightOf(of.gate),
    up: weightOf(of.up),
    down: weightOf(of.down),
    tokenGate: f.tokenGate === true ? weightOf(tokenGateShape(f)) : undefined,
  };
}

const parts = (f: FeedForwardBlock) => ({
  hiddenSize: f.hiddenSize,
  ffn: f.ffn,
  elementBytes: dtypeBytes[f.dtype],
});

const lane = (f: FeedForwardBlock) => (f.lane === undefined ? {} : { lane: f.lane });

/** The token's own gate: a product with one column. */
const gateFlops = (f: FeedForwardBlock): number => (f.tokenGate === true ? 2 * f.hiddenSize : 0);

/** Forward. Returns the region of its output, a partial sum over TP. */
export function emitFeedForward(f: FeedForwardBlock): string {
  const { hiddenSize, ffn } = f;
  const bytes = dtypeBytes[f.dtype];
  const { gateUp, scale } = keep(f);
  const output = regionOf(f, 'output', hiddenSize, 'layer');
  f.builder.kernel({
    id: f.block,
    kernel: 'mlp',
    operands: {
      normed: read(f.normed),
      ...weights(f),
      gateUp: write(gateUp),
      activated: write(regionOf(f, 'activated', ffn, 'layer')),
      output: write(output),
      scale: scale === undefined ? undefined : write(scale),
    },
    work: matrixWork({
      rows: f.tokens,
      flopsPerRow: 6 * hiddenSize * ffn + gateFlops(f),
      bytesPerRow: (2 * hiddenSize + 5 * ffn) * bytes,
      fixedBytes: 3 * hiddenSize * ffn * bytes,
      parts: [
        ...feedForwardParts(parts(f)),
        ...(f.tokenGate === true ? [{ kind: 'product', columns: 1, depth: hiddenSize } as const] : []),
      ],
    }),
    ...lane(f),
  });
  return output;
}

function backwardWork(f: FeedForwardBlock): Work {
  const { hiddenSize, ffn } = f;
  const bytes = dtypeBytes[f.dtype];
  return matrixWork({
    rows: f.tokens,
    flopsPerRow: 12 * hiddenSize * ffn + 2 * gateFlops(f),
    bytesPerRow: (4 * hiddenSize + 10 * ffn) * bytes,
    fixedBytes: 9 * hiddenSize * ffn * bytes,
    parts: [
      ...[inputGradientParts, weightGradientParts].flatMap((of) => of(parts(f))),
      ...(f.tokenGate === true
        ? ([
            { kind: 'product', columns: hiddenSize, depth: 1 },
            { kind: 'product', columns: 1, depth: hiddenSize, gradient: 'added' },
          ] as const)
        : []),
    ],
  });
}

/**
 * Backward of all T rows of `source`, the output's gradient. Returns the region of the input's, a partial sum over TP.
 */
export function emitFeedForwardBackward(f: FeedForwardBlock, source: string): string {
  const { builder, hiddenSize, ffn } = f;
  const of = slots(f);
  const { gateUp, scale } = keep(f);
  const normedGradient = regionOf(f, 'normedGradient', hiddenSize, 'layer');
  builder.kernel({
    id: f.block,
    kernel: 'mlp.backward',
    operands: {
      outputGradient: read(source),
      normed: read(f.normed),
      gateUp: read(gateUp),
      ...weights(f),
      scale: scale === undefined ? undefined : read(scale),
      activated: write(regionOf(f, 'activated', ffn, 'layer')),
      gateUpGradient: write(regionOf(f, 'gateUpGradient', 2 * ffn, 'layer')),
      normedGradient: write(normedGradient),
      gateGradient: gradient(builder, of.gate),
      upGradient: gradient(builder, of.up),
      downGradient: gradient(builder, of.down),
      tokenGateGradient: f.tokenGate === true ? gradient(builder, tokenGateShape(f)) : undefined,
    },
    work: backwardWork(f),
    ...lane(f),
  });
  return normedGradient;
}
