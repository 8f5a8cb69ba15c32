/** The page that holds the closed form of a step against the simulation of its program. */
import {
  type AgainstSimulation,
  againstSimulation,
  drawnSettings,
  fitToSimulation,
  formatPercent,
  type SimulationConstant,
  simulationConstants,
  simulationPriors,
  simulateDrawn,
} from '@monta/core';
import { markdownTable } from './markdown-table.js';

/** Settings that constants are fitted to, and others that they are held against; their seeds. */
const drawn = { fitted: { count: 480, seed: 7 }, others: { count: 500, seed: 11 } } as const;

const row = (name: string, { settings, medianError, p95Error, spearman }: AgainstSimulation): string[] => [
  name,
  String(settings),
  formatPercent(medianError),
  formatPercent(p95Error),
  spearman.toFixed(3),
];

export function estimatePage(): string {
  const runs = simulateDrawn(drawnSettings(drawn.fitted.seed, drawn.fitted.count));
  const others = simulateDrawn(drawnSettings(drawn.others.seed, drawn.others.count));
  const found = fitToSimulation(runs);
  const names = Object.keys(simulationPriors) as SimulationConstant[];
  return [
    '# The estimate against the simulation',
    'Written by `npm run docs:estimate`. Nothing here is measured: both are predictions of Monta. A search ranks ' +
      'layouts by the closed form of a step (`core/estimate`); `monta plan --judge` simulates the program of the ' +
      'best. ' +
      'With the same prices both should agree. Settings are drawn from Mixtral-8x7B, Qwen3-30B-A3B, DeepSeek-V2-Lite ' +
      'and OLMoE, four layers each, on 8 to 32 H100, B200 and A100, PP up to 4, interleaved or not, all ways of ' +
      'recomputation and three exchanges. Each is simulated in one, one rank of every kind.',
    markdownTable(
      ['settings', 'number', 'median error', '95th percentile', 'rank correlation'],
      [
        row(`fitted, seed ${drawn.fitted.seed}`, againstSimulation(runs)),
        row(`others, seed ${drawn.others.seed}`, againstSimulation(others)),
      ],
    ),
    `${names.length} constants stand for what the simulation charges ` +
      '(`estimate/simulation-constants.ts`). The form is that of published runs ([accuracy](accuracy.md)), whose ' +
      'constants are others: a framework has its own kernels and host. Left out: context parallelism, sharded ' +
      'weights, zero-bubble and DualPipe, and exchanges beside another micro-batch, of which there is no program.',
    markdownTable(
      ['constant', 'in the source', 'fitted anew', 'known before', 'from'],
      names.map((name) => [
        `\`${name}\``,
        simulationConstants[name].toPrecision(3),
        found[name].toPrecision(3),
        simulationPriors[name].middle.toPrecision(3),
        simulationPriors[name].source,
      ]),
    ),
  ].join('\n\n');
}
