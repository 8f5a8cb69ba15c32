/**
 * `npm run bench:choices -- [--layers N] [--seconds S] [--json]`: over layers and clusters with different winners, the
 * plan's way to dispatch beside the fastest that was measured, over a network emulated to scale.
 */
import { loadavg } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import {
  formatPercent,
  formatSeconds,
  getCluster,
  parseLayout,
  type Layout,
  type MoeShape,
  type Routing,
} from '@monta/core';
import { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';
import { describeHost } from '../train/setting.js';
import { benchDispatch } from './dispatch-bench.js';
import { judgedRounds, judgeLayer, type JudgedLayer } from './judged-layer.js';

interface Layer {
  readonly name: string;
  readonly cluster: string;
  readonly shape: MoeShape;
  readonly routing: Routing;
}

/** Two nodes of two: inner over outer bandwidth from 2 to 36. */
const clusters = ['a800-2x2', 'h100-2x2', 'h800-2x2', 'b200-2x2', 'laptop-2x2'];
const layouts = ['tp=2,dp=2,ep=2', 'tp=2,dp=2,ep=2,sp', 'tp=1,dp=4,ep=4', 'tp=2,dp=2,ep=4,etp=1'];
/** Few large experts, Mixtral's, and many small ones. */
const kinds = [
  { experts: 4, topK: 1, hiddenSize: 4096 },
  { experts: 8, topK: 2, hiddenSize: 4096 },
  { experts: 8, topK: 4, hiddenSize: 4096 },
  { experts: 64, topK: 6, hiddenSize: 2048 },
  { experts: 128, topK: 8, hiddenSize: 2048 },
];
const chunkCounts = [1, 2, 4];
const tokensOfReplica = [2048, 16384];
/** Of all combinations every so-manieth, so that neighbours differ and a shorter list still has some of every kind. */
const stride = 37;

/** So many layers, all different, spread evenly over clusters, layouts, kinds of experts, sizes and routing. */
function layers(count: number): Layer[] {
  const all = clusters.flatMap((cluster) =>
    layouts.flatMap((layout) =>
      kinds.flatMap((kind) =>
        tokensOfReplica.flatMap((tokens) =>
          (['uniform', 'zipf'] as const).map((routing) => ({ cluster, layout, kind, tokens, routing })),
        ),
      ),
    ),
  );
  return Array.from({ length: Math.min(count, all.length) }, (_, place) => {
    const { cluster, layout, kind, tokens, routing } = all[(place * stride) % all.length] ?? all[0];
    const { experts, topK, hiddenSize } = kind;
    const parsed: Layout = parseLayout(layout, 4);
    const shape: MoeShape = { tokens, hiddenSize, expertFfn: hiddenSize, experts, topK, layout: parsed, dtype: 'bf16' };
    const skew = routing === 'zipf' ? ', skewed' : '';
    return {
      name: `${cluster} ${layout} ${experts} top-${topK} ${tokens} tokens${skew}`,
      cluster,
      shape,
      routing: routing === 'zipf' ? { kind: 'zipf', exponent: 0.7 } : { kind: 'uniform' },
    };
  });
}

const { values: flags } = parseArgs({
  options: {
    layers: { type: 'string', default: '42' },
    seconds: { type: 'string', default: '10' },
    json: { type: 'boolean', default: false },
  },
});
const console = new Console(process.stdout, process.stderr, process.env);
const over = ({ seconds }: { seconds: number }, { best }: JudgedLayer): number => seconds / best.seconds - 1;
const loadBefore = loadavg()[0] ?? 0;
const judged: { readonly layer: Layer; readonly result: JudgedLayer }[] = [];
for (const layer of layers(Number(flags.layers))) {
  const bench = await benchDispatch({
    cluster: getCluster(layer.cluster),
    shape: layer.shape,
    routing: layer.routing,
    seed: 1,
    chunkCounts,
    emulate: 'auto',
    rounds: judgedRounds.trials + judgedRounds.judging,
    seconds: Number(flags.seconds),
  });
  judged.push({ layer, result: judgeLayer(bench, chunkCounts) });
  console.note(`${judged.length}: ${layer.name}`);
}
const within = (limit: number, of: (one: JudgedLayer) => number): number =>
  judged.filter(({ result }) => of(result) <= limit).length;
const plan = within(0.05, (one) => over(one.plan, one));
const alone = within(0.1, (one) => over(one.predicted, one));
const winners = [...new Set(judged.map(({ result }) => result.best.name.split(' ')[0]))].sort();
if (flags.json)
  console.json({ layers: judged.map(({ layer: { name }, result }) => ({ name, ...result })), plan, alone, winners });
else
  console.print(
    [
      `The plan's way to dispatch beside the fastest measured · ${describeHost()}, load before ` +
        loadBefore.toFixed(1),
      renderTable(
        [
          { header: 'layer' },
          { header: 'fastest measured' },
          { header: 'takes', align: 'right' },
          { header: 'plan' },
          { header: 'over', align: 'right' },
          { header: 'predictions alone' },
          { header: 'over', align: 'right' },
        ],
        judged.map(({ layer, result }) => [
          layer.name,
          result.best.name,
          formatSeconds(result.best.seconds),
          result.plan.name,
          formatPercent(over(result.plan, result)),
          result.predicted.name,
          formatPercent(over(result.predicted, result)),
        ]),
      ),
      `  plan within 5 % of the fastest: ${plan} of ${judged.length}; predictions alone within 10 %: ${alone} of ` +
        `${judged.length}; winners: ${winners.join(', ')}`,
      `  ${judgedRounds.trials} rounds are the plan's trials, ${judgedRounds.judging} others judge; links emulated ` +
        'to scale\n',
    ].join('\n'),
  );
