/** The gain of every kind of overlap, measured beside predicted, as one table. */
import type { MoeModel, PairedFigure } from '@monta/core';
import { formatSeconds } from '@monta/core/units';
import { completeModel } from '@monta/core/model';
import { renderTable } from '../output/table.js';
import { benchOverlap, type BenchedOverlap, type OverlapBench } from './overlap-bench.js';

/** Gradients and rows large beside what a layer computes, so that there is something to hide. */
const shape = {
  name: '6 layers of 8 experts, hidden 128',
  hiddenSize: 128,
  layers: 6,
  attentionHeads: 8,
  keyValueHeads: 4,
  vocabSize: 256,
  experts: 8,
  topK: 2,
  expertFfn: 256,
  maxPositions: 1024,
} as const;
const plain = completeModel(shape);
const withShared = completeModel({ ...shape, name: `${shape.name}, one shared`, sharedExpertFfn: 512 });

export const benchedKinds: readonly BenchedOverlap[] = [
  'chunks',
  'experts',
  'shared',
  'weightGradients',
  'reductions',
  'passes',
];

/** The model that a kind is measured on: only some have experts that every token visits. */
const modelOf = (kind: BenchedOverlap): MoeModel => (kind === 'shared' ? withShared : plain);

export interface OverlapRow {
  readonly kind: BenchedOverlap;
  readonly layout: string;
  readonly bench: OverlapBench;
}

export interface OverlapRequest {
  readonly kinds: readonly BenchedOverlap[];
  readonly layouts: readonly string[];
  readonly timeScale: number;
  readonly turns: number;
  readonly steps: number;
  readonly onPhase: (what: string) => void;
  /** A kind that has been measured, while the others have not. */
  readonly onRow?: (row: OverlapRow) => void;
}

/** Measures every kind on every layout, one after another. */
export async function benchOverlaps({ kinds, layouts, onRow, ...rest }: OverlapRequest): Promise<OverlapRow[]> {
  const rows: OverlapRow[] = [];
  const { signal } = new AbortController();
  for (const layout of layouts)
    for (const kind of kinds) {
      const bench = await benchOverlap({ kind, layout, model: modelOf(kind), signal, ...rest });
      const row = { kind, layout, bench };
      rows.push(row);
      onRow?.(row);
    }
  return rows;
}

const interval = (show: (value: number) => string, { median, low, high }: PairedFigure): string =>
  `${show(median)} (${show(low)} to ${show(high)})`;

function cells({ kind, layout, bench }: OverlapRow): string[] {
  const { measured, predicted, saved, predictedSaved, ratio, compared } = bench;
  return [
    kind,
    layout,
    formatSeconds(measured.off),
    formatSeconds(measured.on),
    interval((share) => share.toFixed(3), ratio),
    (predicted.on / predicted.off).toFixed(3),
    interval(formatSeconds, saved),
    formatSeconds(predictedSaved),
    compared.same ? `same in ${compared.steps} steps` : 'DIFFER',
  ];
}

const left = (header: string) => ({ header });
const right = (header: string) => ({ header, align: 'right' as const });

/** The table; figures in brackets are 95 % intervals over turns. */
export const renderOverlaps = (rows: readonly OverlapRow[]): string =>
  renderTable(
    [
      left('overlap'),
      left('layout'),
      right('step, off'),
      right('on'),
      right('on / off (95 %)'),
      right('predicted'),
      right('saved (95 %)'),
      right('predicted'),
      right('losses, bit for bit'),
    ],
    rows.map(cells),
  );
