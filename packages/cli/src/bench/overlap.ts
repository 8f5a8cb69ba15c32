/**
 * `npm run bench:overlap -- [--kinds "chunks experts shared weightGradients reductions passes"] [--turns 16]
 * [--steps 1] [--layouts "tp=2,dp=4,ep=2 tp=4,dp=2,ep=1"] [--time-scale 10] [--json]`: the time that kinds of overlap
 * save, measured in turns and predicted, each as soon as it has been. As it stands some four minutes on two processors;
 * each further kind and layout takes as long again.
 */
import { loadavg } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Console } from '../output/console.js';
import { describeHost } from '../train/setting.js';
import { benchedKinds, benchOverlaps, renderOverlaps } from './overlap-report.js';

const { values: flags } = parseArgs({
  options: {
    /** With spaces between. */
    kinds: { type: 'string', default: 'reductions' },
    turns: { type: 'string', default: '16' },
    steps: { type: 'string', default: '1' },
    layouts: { type: 'string', default: 'tp=2,dp=4,ep=2' },
    'time-scale': { type: 'string', default: '10' },
    json: { type: 'boolean', default: false },
  },
});

const console = new Console(process.stdout, process.stderr, process.env);
const asked = flags.kinds.split(' ');
const kinds = benchedKinds.filter((kind) => asked.includes(kind));
if (kinds.length < asked.length) {
  console.printError(`--kinds "${flags.kinds}": expected some of ${benchedKinds.join(', ')}\n`);
  process.exit(2);
}
const loadBefore = loadavg()[0] ?? 0;
if (!flags.json)
  console.print(
    `Steps with a kind of overlap and without · ${describeHost()}, load before ${loadBefore.toFixed(1)} · network ` +
      `emulated at 1/${flags['time-scale']} of its speed\n` +
      `  ${flags.turns} turns of four runs (on, off, off, on), ${flags.steps} timed steps each\n`,
  );
const results = await benchOverlaps({
  kinds,
  layouts: flags.layouts.split(' '),
  timeScale: Number(flags['time-scale']),
  turns: Number(flags.turns),
  steps: Number(flags.steps),
  onPhase: (what) => console.note(what),
  // a run that is cut short has told what it knew
  onRow: (row) => (flags.json ? undefined : console.print(`${renderOverlaps([row])}\n`)),
});
if (flags.json) console.json(results.map(({ kind, layout, bench }) => ({ kind, layout, ...bench })));
else if (results.length > 1) console.print(renderOverlaps(results));
if (results.some(({ bench }) => !bench.compared.same)) process.exitCode = 1;
