/** The page that holds the closed form of a step against the simulation of its program, and plans against others. */
import {
  againstAll,
  againstRandom,
  type AgainstSimulation,
  againstSimulation,
  drawnSettings,
  fitToSimulation,
  formatSeconds,
  type HeldAgainst,
  type SimulationConstant,
  simulationConstants,
  simulationPriors,
  simulateDrawn,
  type SmallSpace,
} from '@monta/core';
import { markdownTable } from './markdown-table.js';

/** Settings that constants are fitted to, and others that they are held against; their seeds. */
const drawn = {
  fitted: { count: 720, seed: 7 },
  others: { count: 500, seed: 11 },
  clean: { count: 500, seed: 31 },
} as const;

const simulated = ({ seed, count }: (typeof drawn)[keyof typeof drawn]): ReturnType<typeof simulateDrawn> =>
  simulateDrawn(drawnSettings(seed, count));

const spaceOf =
  (batch: Omit<SmallSpace, 'model' | 'cluster'>) =>
  (text: string): SmallSpace => {
    const [model = '', cluster = ''] = text.split(' on ');
    return { ...batch, model, cluster };
  };

/** Spaces of which the simulator's plan is held against random settings, and against all that there are. */
const large = [
  'mixtral-8x7b on h100-2x8',
  'qwen3-30b-a3b on h100-2x8',
  'deepseek-v2-lite on b200-2x8',
  'qwen3-30b-a3b on a100-2x8',
  'mixtral-8x7b on h100-4x8',
  'olmoe-1b-7b on h100-1x8',
].map(spaceOf({ layers: 4, globalBatch: 64, sequence: 4096 }));
const small = [
  'mixtral-8x7b on h100-1x2',
  'mixtral-8x7b on a100-2x2',
  'mixtral-8x7b on h100-2x2',
  'deepseek-v2-lite on h100-2x2',
  'olmoe-1b-7b on h100-1x4',
].map(spaceOf({ layers: 2, globalBatch: 4, sequence: 2048 }));

const random = { count: 50, seed: 50 } as const;

/** A share in percent, to so many digits behind the point. */
const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;

const row = (name: string, { settings, medianError, p95Error, spearman }: AgainstSimulation): string[] => [
  name,
  String(settings),
  percent(medianError),
  percent(p95Error),
  spearman.toFixed(4),
];

const againstTable = (rows: readonly HeldAgainst[]): string =>
  markdownTable(
    ['space', 'settings', 'plan', 'fastest of them', 'faster than the plan', 'plan behind the fastest'],
    rows.map(({ model, layers, cluster, settings, seconds, fastestSeconds, faster }) => [
      `${model}, ${layers} layers, ${cluster}`,
      String(settings),
      formatSeconds(seconds),
      formatSeconds(fastestSeconds),
      String(faster),
      percent(seconds / fastestSeconds - 1, 2),
    ]),
  );

export function estimatePage(): string {
  const runs = simulated(drawn.fitted);
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
        row(`others, seed ${drawn.others.seed}`, againstSimulation(simulated(drawn.others))),
        row(`others, seed ${drawn.clean.seed}`, againstSimulation(simulated(drawn.clean))),
      ],
    ),
    `Seed ${drawn.others.seed} was looked at while the form was chosen; seed ${drawn.clean.seed} was drawn once, ` +
      'when form and constants stood.',
    `${names.length} constants stand for what the simulation charges ` +
      '(`estimate/simulation-constants.ts`). The form is that of published runs ([accuracy](accuracy.md)), whose ' +
      'constants are others: a framework has its own kernels and host. Left out: sharded states, which ' +
      'programs have, and context parallelism, zero-bubble, DualPipe and exchanges beside another micro-batch, of ' +
      'which there is no program.',
    '## Plans against other settings',
    'The closed form at the prices of the simulation ranks, the simulator judges the best 20, as `monta plan --judge ' +
      '20` does among plans that have programs; here each in one (`--exact`). The plan is the fastest of the 20. It ' +
      `is held against ${random.count} random settings of its space that fit, each simulated in one:`,
    againstTable(large.map((space) => againstRandom(space, random.count, random.seed))),
    'In small spaces, against all settings that fit, each simulated in one:',
    againstTable(small.map(againstAll)),
    '## Constants',
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
