import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { getCluster } from '../../cluster/presets.js';
import { parseLayout } from '../../layout/index.js';
import { getModel } from '../../model/index.js';
import { trainingStep } from '../../schedule/step.js';
import type { StepShape } from '../../schedule/step-shape.js';
import type { Work } from '../../schedule/work.js';
import { median, quantile } from '../../units/quantiles.js';
import { attentionFlops, type GroupedShape, type KernelShape } from './features.js';
import { expertSeconds, shapedSeconds } from './price.js';
import { kernelShapes } from './shapes.js';

const sequence = 64;

function worksOf(layout: string, changes: Partial<StepShape['model']> = {}): [string, Work][] {
  const model = { ...getModel('qwen3-30b-a3b'), ...changes, layers: 2, moeLayers: [true, false] };
  const program = trainingStep({
    model,
    layout: parseLayout(layout, 8),
    sequence,
    sequences: 2,
    microBatches: 1,
    dtype: 'bf16',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 1 } },
  });
  return Object.entries(program.templates).flatMap(([name, { operations }]) =>
    operations.flatMap(({ id, body }) =>
      body.kind === 'kernel' ? [[`${name}/${id}`, body.work] satisfies [string, Work]] : [],
    ),
  );
}

const flopsOf = (shape: KernelShape): number =>
  'depth' in shape ? 2 * shape.rows * shape.columns * shape.depth : 'heads' in shape ? attentionFlops(shape) : 0;

const bytesOf = (shape: KernelShape): number => ('bytes' in shape ? shape.bytes : 0);

const total = (shapes: readonly KernelShape[], of: (shape: KernelShape) => number): number =>
  shapes.reduce((sum, shape) => sum + of(shape), 0);

describe('shapes of the schedule', () => {
  it.each(['tp=1,dp=8,ep=8', 'tp=2,dp=4,ep=4', 'tp=4,dp=2,ep=2,sp'])(
    'do the FLOPs and move the bytes that their kernels are said to, %s',
    (layout) => {
      const works = worksOf(layout);
      const rows = 3 * sequence;
      // The router's weight gradient is only of the own slice.
      const whole = works.filter(([name]) => name !== 'moe.backward/router' || layout.startsWith('tp=1'));
      const matrix = whole.filter(([, { kind }]) => kind !== 'memory');
      expect(
        matrix.filter(
          ([, work]) => Math.abs(total(kernelShapes(work.parts, rows), flopsOf) - rows * work.flopsPerRow) > 1,
        ),
      ).toEqual([]);
      const memory = works.filter(([, { kind }]) => kind === 'memory');
      expect(
        memory.filter(([, work]) => total(kernelShapes(work.parts, rows), bytesOf) !== rows * work.bytesPerRow),
      ).toEqual([]);
      expect(Math.min(matrix.length, memory.length)).toBeGreaterThan(10);
    },
  );

  it('turn a gradient of weights over: its result is the weights, and the rows are its depth', () => {
    const works = new Map(worksOf('tp=2,dp=4,ep=4'));
    const parts = works.get('head.backward/logits')?.parts ?? [];
    const { hiddenSize, vocabSize } = getModel('qwen3-30b-a3b');
    expect(kernelShapes(parts, 192)).toEqual([
      { kind: 'gemm', rows: 192, columns: hiddenSize, depth: vocabSize / 2 },
      { kind: 'gemm', rows: vocabSize / 2, columns: hiddenSize, depth: 192, gradient: 'added' },
    ]);
  });

  it('are those of the local experts and heads', () => {
    const works = new Map(worksOf('tp=2,dp=4,ep=4'));
    const { hiddenSize, expertFfn, headDim, attentionHeads } = getModel('qwen3-30b-a3b');
    const grouped = kernelShapes(works.get('moe.forward/experts.0')?.parts ?? [], 100).filter(
      ({ kind }) => kind === 'grouped',
    );
    expect(grouped).toEqual([
      { kind: 'grouped', groups: 32, rows: 100, columns: expertFfn, depth: hiddenSize },
      { kind: 'grouped', groups: 32, rows: 100, columns: hiddenSize, depth: expertFfn / 2 },
    ]);
    expect(kernelShapes(works.get('attention.backward/core')?.parts ?? [], 2 * sequence)).toEqual([
      {
        kind: 'attentionBackward',
        batch: 2,
        heads: attentionHeads / 2,
        sequence,
        keyDim: headDim,
        valueDim: headDim,
      },
    ]);
  });
});

describe('products of all experts', () => {
  const { device } = getCluster('h200-1x8');
  const price = (shape: GroupedShape): { readonly seconds: number; readonly grouped: number } => {
    const [best, grouped] = [
      expertSeconds({ device, computeType: 'bf16', shape, overheadSeconds: 2e-6 }, ['grouped', 'loop']),
      shapedSeconds(device, 'bf16', shape),
    ];
    return {
      seconds: best.known ? best.seconds : Number.NaN,
      grouped: grouped.known ? grouped.seconds + 2e-6 : Number.NaN,
    };
  };
  const rate = ({ rows, columns, depth }: GroupedShape, seconds: number): number =>
    (2 * rows * columns * depth) / seconds;

  it('of few large ones are a loop, at the 650 to 700 TFLOP/s that one on an H200 was measured at', () => {
    const shape = { kind: 'grouped', groups: 8, rows: 16_384, columns: 28_672, depth: 4096 } as const;
    const { seconds, grouped } = price(shape);
    expect(seconds).toBeLessThan(grouped);
    expect(rate(shape, seconds)).toBeGreaterThan(650e12);
    expect(rate(shape, seconds)).toBeLessThan(700e12);
  });

  /** Pieces of a layer on one H200, each way alone (docs/gpu.json). */
  interface Timed {
    readonly shape: Readonly<Record<'tokens' | 'hidden' | 'ffn' | 'experts' | 'picks', number>>;
    readonly monta: readonly { readonly name: string; readonly pieces: readonly Piece[] }[];
  }
  interface Piece {
    readonly piece: string;
    readonly milliseconds: number;
    readonly flops?: number;
  }

  it('batched by size, take what they took on an H200: median within 8 %, 90th percentile within 20 %', () => {
    const text = readFileSync(new URL('../../../../../docs/gpu.json', import.meta.url), 'utf8');
    const { layer } = JSON.parse(text) as { layer: Record<string, Timed> };
    const errors = Object.values(layer).flatMap(({ shape: { tokens, hidden, ffn, experts, picks }, monta }) =>
      monta
        .filter(({ name }) => name.includes('batched'))
        .flatMap(({ pieces }) => pieces.filter(({ flops }) => flops !== undefined))
        .map(({ piece, milliseconds }) => {
          const wide = (piece.startsWith('gate') ? 2 : 1) * ffn;
          const gradient = piece.includes('weight') ? ({ gradient: 'written' } as const) : {};
          const outward = piece.startsWith('gate') !== piece.includes('input');
          const [columns, depth] = outward ? [wide, hidden] : [hidden, wide];
          const shape = {
            kind: 'grouped',
            groups: experts,
            rows: tokens * picks,
            columns,
            depth,
            ...gradient,
          } as const;
          const priced = expertSeconds({ device, computeType: 'bf16', shape, overheadSeconds: 2e-6 }, ['batched']);
          return priced.known ? Math.abs((priced.seconds * 1e3) / milliseconds - 1) : Infinity;
        }),
    );
    expect(errors).toHaveLength(24);
    expect(median(errors)).toBeLessThan(0.08);
    expect(quantile(errors, 0.9)).toBeLessThan(0.2);
  });

  it('move their bytes however few FLOPs there are: gradients added in f32 over few rows wait for memory', () => {
    const shape = { kind: 'grouped', groups: 128, rows: 4096, columns: 1536, depth: 2048 } as const;
    const seconds = (gradient: 'added' | 'written'): number => {
      const products = { device, computeType: 'bf16', shape: { ...shape, gradient }, overheadSeconds: 0 } as const;
      const priced = expertSeconds(products, ['batched']);
      return priced.known ? priced.seconds : Number.NaN;
    };
    const bytes = 128 * 1536 * 2048;
    expect(seconds('added')).toBeGreaterThan((8 * bytes) / device.memoryBytesPerSecond);
    expect(seconds('written')).toBeLessThan(0.6 * seconds('added'));
  });

  it('of many small ones are one call: a loop of 128 is held up by the host', () => {
    const { seconds, grouped } = price({ kind: 'grouped', groups: 128, rows: 4096, columns: 1536, depth: 2048 });
    expect(seconds).toBe(grouped);
    expect(seconds).toBeLessThan(128 * 8e-6);
  });
});

describe('attention with a window in some layers', () => {
  it('is as many FLOPs as the keys that tokens see, counted one by one, in the mean over layers', () => {
    const [tokens, layers] = [16, [true, true, true, false]];
    const works = new Map(worksOf('dp=8', { window: { kind: 'sliding', tokens, layers } }));
    const work = works.get('attention.forward/core');
    const { attentionHeads, headDim } = getModel('qwen3-30b-a3b');
    const seen = (window: number): number =>
      Array.from({ length: sequence }, (_, token) => Math.min(token + 1, window)).reduce((a, b) => a + b, 0);
    const mean = (3 * seen(tokens) + seen(sequence)) / 4;
    const flops = 2 * 2 * 2 * mean * attentionHeads * headDim;
    const shapes = kernelShapes(work?.parts ?? [], 2 * sequence);
    expect(shapes.reduce((sum, shape) => sum + flopsOf(shape), 0)).toBeCloseTo(flops, 3);
    expect((work?.flopsPerRow ?? 0) * 2 * sequence).toBeCloseTo(flops, 3);
  });
});
