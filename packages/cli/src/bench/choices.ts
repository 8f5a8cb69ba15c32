/**
 * `npm run bench:choices -- [--layers N] [--minutes M] [--json] [--page FILE]`: over layers and clusters with different
 * winners, the plan's way to dispatch beside the fastest that was measured, over a network emulated to scale.
 */
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { getCluster, parseLayout, type Layout, type MoeShape, type Routing } from '@monta/core';
import { benchEmulatedLayer, keepThreads, probeMover } from '@monta/runtime';
import { Console } from '../output/console.js';
import { describeHost } from '../train/setting.js';
import { choicesPage, renderChoices, type JudgedChoices, type JudgedLayer } from './choices-report.js';

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
/** Runs of ways that a plan tries, and of those near the fastest that judge. */
const [trialRuns, finalRuns] = [2, 5];
const tokensOfReplica = [2048, 16384];
/** Of a token's result from its closed form, in float32. */
const tolerance = 1e-5;
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
    minutes: { type: 'string', default: '12' },
    json: { type: 'boolean', default: false },
    page: { type: 'string' },
  },
});
const console = new Console(process.stdout, process.stderr, process.env);
const now = (): number => performance.now() / 1e3;
const loadBefore = loadavg()[0] ?? 0;
const list = layers(Number(flags.layers));
const start = now();
const end = start + Number(flags.minutes) * 60;
// those of ranks that measure, of ranks that are probed, of the kernels' probe, and of the mover
keepThreads(10);
const moverBytesPerSecond = await probeMover();
const judged: JudgedLayer[] = [];
/** Seconds that layers were given and took: probes and starts are on top of what they were given. */
const asked = { given: 0, took: 0 };
const leastSeconds = 1;
for (const { name, cluster, shape, routing } of list) {
  const before = now();
  const share = (end - before) / (list.length - judged.length);
  const longer = asked.given === 0 ? 1.5 : asked.took / asked.given;
  const seconds = Math.max(leastSeconds, share / longer);
  const { figures, scale } = await benchEmulatedLayer({
    cluster: getCluster(cluster),
    name,
    shape,
    routing,
    seed: 1,
    chunkCounts,
    trialRuns,
    finalRuns,
    seconds,
    moverBytesPerSecond,
  });
  if (!(figures.deviation < tolerance))
    throw new Error(`${name}: a token's result differs from its closed form by ${figures.deviation}`);
  judged.push({ figures, timeScale: scale.timeScale });
  asked.given += seconds;
  asked.took += now() - before;
  console.note(`${judged.length} of ${list.length}, ${Math.round(now() - start)} s: ${name}`);
}
const choices: JudgedChoices = {
  host: describeHost(),
  loadBefore,
  loadAfter: loadavg()[0] ?? 0,
  seconds: now() - start,
  trialRuns,
  finalRuns,
  layers: judged,
};
if (flags.page !== undefined) writeFileSync(flags.page, choicesPage(choices));
if (flags.json) console.json(choices);
else console.print(renderChoices(choices));
