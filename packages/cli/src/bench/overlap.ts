/**
 * `npm run bench:overlap -- [--turns 20] [--steps 2] [--layouts "tp=2,dp=4,ep=2"] [--time-scale 10] [--json]`: the time
 * that reductions of gradients beside the backward pass save, measured in turns and predicted.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { completeModel, formatSeconds, type PairedFigure } from '@monta/core';
import { Console } from '../output/console.js';
import { renderTable } from '../output/table.js';
import { describeHost } from '../train/setting.js';
import { benchOverlap, type OverlapBench } from './overlap-bench.js';

/** Gradients large beside what a layer computes, so that there is something to hide. */
const model = completeModel({
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
});

const { values: flags } = parseArgs({
  options: {
    turns: { type: 'string', default: '20' },
    steps: { type: 'string', default: '2' },
    /** With spaces between. */
    layouts: { type: 'string', default: 'tp=2,dp=4,ep=2 tp=4,dp=2,ep=1' },
    'time-scale': { type: 'string', default: '10' },
    json: { type: 'boolean', default: false },
  },
});

const interval = (show: (value: number) => string, { median, low, high }: PairedFigure): string =>
  `${show(median)} (${show(low)} to ${show(high)})`;

function row(layout: string, { measured, predicted, saved, predictedSaved, ratio, compared }: OverlapBench): string[] {
  return [
    layout,
    formatSeconds(measured.behind),
    formatSeconds(measured.beside),
    interval((share) => share.toFixed(3), ratio),
    interval(formatSeconds, saved),
    formatSeconds(predictedSaved),
    interval((seconds) => (seconds / predictedSaved).toFixed(2), saved),
    formatSeconds(predicted.behind),
    compared.same ? `same in ${compared.steps} steps` : 'DIFFER',
  ];
}

const console = new Console(process.stdout, process.stderr, process.env);
const results: { layout: string; bench: OverlapBench }[] = [];
for (const layout of flags.layouts.split(' '))
  results.push({
    layout,
    bench: await benchOverlap({
      model,
      layout,
      timeScale: Number(flags['time-scale']),
      turns: Number(flags.turns),
      steps: Number(flags.steps),
      signal: new AbortController().signal,
      onPhase: (what) => console.note(what),
    }),
  });
if (flags.json) console.json(results.map(({ layout, bench }) => ({ layout, ...bench })));
else {
  const columns = [
    { header: 'layout' },
    { header: 'step, behind', align: 'number' as const },
    { header: 'beside', align: 'number' as const },
    { header: 'beside / behind (95 %)', align: 'right' as const },
    { header: 'saved (95 %)', align: 'right' as const },
    { header: 'predicted', align: 'number' as const },
    { header: 'measured / predicted', align: 'right' as const },
    { header: 'predicted step', align: 'number' as const },
    { header: 'losses, bit for bit', align: 'right' as const },
  ];
  console.print(
    `Gradients reduced beside the backward pass or behind it · ${describeHost()} · network emulated at ` +
      `1/${flags['time-scale']} of its speed\n` +
      renderTable(
        columns,
        results.map(({ layout, bench }) => row(layout, bench)),
      ) +
      `\n  ${flags.turns} turns of four runs (beside, behind, behind, beside), ${flags.steps} timed steps each\n`,
  );
}
if (results.some(({ bench }) => !bench.compared.same)) process.exitCode = 1;
