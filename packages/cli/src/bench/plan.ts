/** How fast plans are searched and settings priced: `npm run bench:plan`. Processor time of one thread. */
import {
  EstimateModel,
  formatInteger,
  formatLayout,
  formatSeconds,
  getCluster,
  getModel,
  type PlanProblem,
  Random,
  randomSettings,
  Search,
} from '@monta/core';
import { renderTable } from '../output/table.js';
import { createStyle } from '../output/style.js';

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

/** Distinct settings drawn from the whole space, priced by a model that has priced nothing yet. */
function pricingRow(
  name: string,
  count: number,
  price: (model: EstimateModel, setting: Parameters<EstimateModel['seconds']>[0]) => void,
): string[] {
  const settings = randomSettings(problemOf('h800-256x8', 15_360), count, new Random(1));
  const model = new EstimateModel();
  const seconds = processorSeconds(() => {
    for (const setting of settings) price(model, setting);
  });
  return [name, formatInteger(Math.round(count / seconds))];
}

const style = createStyle(false);
const searched = [searchRow('h800-256x8', 15_360), searchRow('h800-2048x8', 61_440)];
const columns = ['search', 'processor', 'represented', 'no room', 'no faster', 'priced', 'weighed', 'best'].map(
  (header, index) => ({ header, align: index > 0 && index < 7 ? ('number' as const) : ('left' as const) }),
);
process.stdout.write(`${renderTable(columns, searched, { style })}\n\n`);
const rates = [
  pricingRow('time of random settings', 200_000, (model, setting) => model.seconds(setting)),
  pricingRow('time and memory of random settings', 20_000, (model, setting) => {
    model.seconds(setting);
    model.memoryBytes(setting);
  }),
  ['Calculon, published', formatInteger(calculon.published)],
  ['Calculon, measured on one core', formatInteger(calculon.measured)],
];
process.stdout.write(
  `${renderTable([{ header: 'prices' }, { header: 'a second', align: 'number' }], rates, { style })}\n`,
);
process.stdout.write(`resident memory ${formatInteger(Math.round(process.memoryUsage().rss / 2 ** 20))} MiB\n`);
