/** How fast plans are searched and settings priced: `npm run bench:plan`. Processor time of one thread. */
import type { PlanProblem } from '@monta/core';
import { formatInteger, formatSeconds, Random } from '@monta/core/units';
import { getCluster } from '@monta/core/cluster';
import { getModel } from '@monta/core/model';
import { formatLayout } from '@monta/core/layout';
import { EstimateModel, randomSettings, Search } from '@monta/core/plan';
import { optimizeLater } from '../engine.js';
import { renderTable } from '../output/table.js';
import { createStyle } from '../output/style.js';
import { simulatedRows } from './simulated-speed.js';

// As the command does.
optimizeLater('plan');

/** Configurations a second of Calculon: published, and measured on one core (its validation set; early refusals). */
const calculon = { published: 103, measured: 743 };

const problemOf = (cluster: string, globalBatch: number): PlanProblem => ({
  model: getModel('deepseek-v3'),
  cluster: getCluster(cluster),
  sequence: 4096,
  globalBatch,
  bounds: {},
  fixed: {},
  precision: 'bf16',
  states: 'mixed',
  stack: 'fused',
  imbalance: 1,
});

/** Seconds of the processor that `action` takes, all threads of the engine together. */
function processorSeconds(action: () => void): number {
  const before = process.cpuUsage();
  action();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function searchRow(cluster: string, globalBatch: number): string[] {
  const search = new Search(problemOf(cluster, globalBatch), new EstimateModel());
  let begun = 0;
  const seconds = processorSeconds(() => {
    for (const { done } of search.run()) begun = done;
  });
  const { best, counts } = search.result;
  return [
    `DeepSeek-V3, ${cluster}${begun < 1 ? ' (not ended)' : ''}`,
    formatSeconds(seconds),
    formatInteger(counts.represented),
    formatInteger(counts.prunedByMemory),
    formatInteger(counts.prunedByTime),
    formatInteger(counts.priced),
    formatInteger(counts.weighed),
    best === undefined ? '-' : `${formatSeconds(best.seconds)}, ${formatLayout(best.setting.layout)}`,
  ];
}

type Settings = ReturnType<typeof randomSettings>;

const keyOf = ({ layout, virtualStages, microBatch, recompute, ...way }: Settings[number]): string => {
  const { sharing, dispatcher, schedule, overlap } = way;
  const degrees = [formatLayout(layout), virtualStages, microBatch, String(recompute)];
  return [...degrees, sharing, dispatcher, schedule, overlap.ep].join(' ');
};

/** So many settings drawn from the whole space, none twice. */
function distinctSettings(problem: PlanProblem, count: number): Settings {
  const random = new Random(1);
  const settings = new Map<string, Settings[number]>();
  while (settings.size < count)
    for (const setting of randomSettings(problem, count, random))
      if (settings.size < count) settings.set(keyOf(setting), setting);
  return [...settings.values()];
}

/** Settings a second, priced by a model that has priced nothing yet. */
function pricingRow(
  name: string,
  settings: Settings,
  price: (model: EstimateModel, setting: Settings[number]) => void,
): string[] {
  const model = new EstimateModel();
  const seconds = processorSeconds(() => {
    for (const setting of settings) price(model, setting);
  });
  return [name, formatInteger(Math.round(settings.length / seconds))];
}

const [fewSettings, manySettings] = [200_000, 1_000_000];

const style = createStyle(false);
const searched = [searchRow('h800-256x8', 15_360), searchRow('h800-2048x8', 61_440)];
const columns = ['search', 'processor', 'represented', 'no room', 'no faster', 'priced', 'weighed', 'best'].map(
  (header, index) => ({ header, align: index > 0 && index < 7 ? ('number' as const) : ('left' as const) }),
);
process.stdout.write(`${renderTable(columns, searched, { style })}\n`);
process.stdout.write(`resident memory ${formatInteger(Math.round(process.memoryUsage().rss / 2 ** 20))} MiB\n\n`);
const settings = distinctSettings(problemOf('h800-256x8', 15_360), manySettings);
const first = settings.slice(0, fewSettings);
const both = (model: EstimateModel, setting: Settings[number]): void => {
  model.seconds(setting);
  model.memoryBytes(setting);
};
const rates = [
  pricingRow(`time, ${formatInteger(fewSettings)} settings`, first, (model, setting) => model.seconds(setting)),
  pricingRow(`time and memory, ${formatInteger(fewSettings)} settings`, first, both),
  pricingRow(`time and memory, ${formatInteger(manySettings)} settings`, settings, both),
  ['Calculon, published', formatInteger(calculon.published)],
  ['Calculon, measured on one core', formatInteger(calculon.measured)],
];
process.stdout.write(
  `${renderTable([{ header: 'prices' }, { header: 'a second', align: 'number' }], rates, { style })}\n`,
);
const headers = [{ header: 'simulated' }, { header: 'processor', align: 'number' as const }, { header: 'result' }];
process.stdout.write(`\n${renderTable(headers, simulatedRows(processorSeconds), { style })}\n`);
