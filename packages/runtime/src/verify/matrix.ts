/** What a verification of many layouts runs: layouts of 1, 2, 4 and 8 ranks, and on each what serves it. */
import type { Layout, Strategy } from '@monta/core';
import { parseLayout, worldSize } from '@monta/core/layout';
import { searchedHalves, unsupportedStrategy } from '@monta/core/schedule';

/** TP, EP, ETP, DP and mixtures, sequence parallelism on and off. */
export const verifiedLayouts: readonly string[] = [
  'tp=1',
  'tp=2',
  'tp=2,sp',
  'dp=2,ep=2',
  'tp=2,etp=1,ep=2',
  'tp=4',
  'tp=2,dp=2,ep=2',
  'tp=2,dp=2,ep=2,sp',
  'dp=4,ep=2',
  'tp=4,dp=2,ep=2',
  'tp=4,dp=2,ep=2,sp',
  'tp=2,dp=4,ep=4,etp=2',
  'tp=4,dp=2,ep=4,etp=2',
  'tp=4,dp=2,ep=8,etp=1,sp',
  'dp=8,ep=8',
];

/** On two nodes, where there are as many ranks. */
export function onTwoNodes(text: string): Layout {
  const layout = parseLayout(text);
  return { ...layout, ranksPerNode: Math.ceil(worldSize(layout) / 2) };
}

/** All pairs of halves that serve a layout, with chunks spread over them by turns. */
export function verifiedStrategies(layout: Layout, chunks: readonly Strategy['chunks'][]): Strategy[] {
  return searchedHalves()
    .filter((halves) => unsupportedStrategy(halves, { layout }) === undefined)
    .map((halves, index) => ({ ...halves, chunks: chunks[index % chunks.length] ?? { forward: 1, backward: 1 } }));
}
