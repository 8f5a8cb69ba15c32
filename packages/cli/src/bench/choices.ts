/**
 * `npm run bench:choices -- [--layers N] [--minutes M] [--json] [--page FILE]`: over layers and clusters with different
 * winners, the plan's way to dispatch beside the fastest that was measured, over a network emulated to scale.
 */
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { median } from '@monta/core/units';
import { benchEmulatedLayer, keepThreads, probeMover } from '@monta/runtime';
import { Console } from '../output/console.js';
import { describeHost } from '../train/setting.js';
import { choiceLayers } from './choice-layers.js';
import { choicesPage, renderChoices, type JudgedChoices, type JudgedLayer } from './choices-report.js';

const chunkCounts = [1, 2, 4];
/** Runs of ways that a plan tries, and of those near the fastest that judge. */
const [trialRuns, finalRuns] = [2, 5];
/** Of predictions, about a common factor, before a layer has shown it. */
const firstModelError = 0.1;
/** Of a token's result from its closed form, in float32. */
const tolerance = 1e-5;

/** Standard deviation of log(predicted / measured) over the passes of a layer that were measured to the end. */
function errorOf({ figures: { passes } }: JudgedLayer): number {
  const logs = passes.flatMap(({ final, predictedSeconds, medianSeconds }) =>
    final && predictedSeconds !== undefined ? [Math.log(predictedSeconds / medianSeconds)] : [],
  );
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return Math.sqrt(logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / logs.length);
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
const list = choiceLayers(Number(flags.layers));
const start = now();
const end = start + Number(flags.minutes) * 60;
// those of ranks that measure, of ranks that are probed, of the kernels' probe, and of the mover
keepThreads(10);
const moverBytesPerSecond = await probeMover();
const judged: JudgedLayer[] = [];
/** Of what layers took the share that they were given: probes and starts are on top, in the first one most. */
const givenShares: number[] = [];
const [leastSeconds, firstGivenShare] = [1, 0.6];
for (const { name, cluster, shape, routing } of list) {
  const before = now();
  const share = (end - before) / (list.length - judged.length);
  const given = givenShares.length === 0 ? firstGivenShare : Math.min(1, median(givenShares));
  const seconds = Math.max(leastSeconds, share * given);
  const { figures, scale } = await benchEmulatedLayer({
    cluster,
    name,
    shape,
    routing,
    seed: 1,
    chunkCounts,
    trialRuns,
    finalRuns,
    seconds,
    moverBytesPerSecond,
    modelError: judged.length === 0 ? firstModelError : median(judged.map(errorOf)),
  });
  if (!(figures.deviation < tolerance))
    throw new Error(`${name}: a token's result differs from its closed form by ${figures.deviation}`);
  judged.push({ figures, timeScale: scale.timeScale });
  givenShares.push(seconds / (now() - before));
  console.note(`${judged.length} of ${list.length}, ${Math.round(now() - start)} s: ${name}`);
}
const choices: JudgedChoices = {
  host: describeHost(),
  date: new Date().toISOString().slice(0, 10),
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
