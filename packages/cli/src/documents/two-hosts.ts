/**
 * Writes the measured part of docs/two-hosts.md, and its plots, from what `npm run bench:two-hosts -- --out
 * docs/two-hosts.json` left: `npm run docs:two-hosts`. Only what stands between the two marks is replaced.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formatSeconds, InputError } from '@monta/core';
import { barChart, scatter } from '@monta/views';
import {
  choiceLine,
  choiceTable,
  costLine,
  exchangeName,
  exchangeTable,
  linksLine,
  originLine,
  partsTable,
  passTable,
  predictionLine,
  summarizeChoices,
} from '../bench/two-hosts/report.js';
import type { RateResult, TwoHostsResult } from '../bench/two-hosts/types.js';

const docs = new URL('../../../../docs/', import.meta.url);
const at = (name: string): string => fileURLToPath(new URL(name, docs));
const marks = ['<!-- measured -->', '<!-- end of measured -->'] as const;
const mebibyte = 2 ** 20;
/** Drawn: the volume from which the paper's ratio is asked for. */
const drawnMebibytes = 8;

/** `400mbit`, as tc takes it, as people write it. */
const rateText = (rate: string): string =>
  rate === 'none'
    ? 'no limit'
    : rate.replace(
        /^([\d.]+)([kmg])bit$/u,
        (_, value: string, unit: string) => `${value} ${unit === 'k' ? 'k' : unit.toUpperCase()}bit/s`,
      );

/** Exchanges of one volume: measured, predicted and bound, for every TP. */
function exchangePlot({ rate, exchanges }: RateResult): string {
  const drawn = exchanges.filter(({ volumeBytes }) => volumeBytes === drawnMebibytes * mebibyte);
  return barChart({
    title: `AllToAll + AllGather of ${drawnMebibytes} MiB a replica between two hosts, ${rateText(rate)}`,
    subtitle: 'medians over Open MPI; predicted from probes; bound: bytes over the line rate',
    value: { label: 'time', format: formatSeconds },
    series: ['measured', 'predicted', 'bound'],
    rows: drawn.map((one) => ({
      name: `TP=${one.tp} ${exchangeName(one)}`,
      values: [one.medianSeconds, one.predictedSeconds, one.boundSeconds],
    })),
  });
}

function passesPlot(rates: readonly RateResult[]): string {
  return scatter({
    title: 'Passes of dispatch and combine',
    subtitle: 'every strategy, chunk count, volume and TP; band: 15 %',
    quantity: 'time of a pass',
    scale: 'log',
    format: formatSeconds,
    tolerance: 0.15,
    series: rates.map(({ rate, cases }) => ({
      name: rateText(rate),
      points: cases.flatMap(({ passes }) =>
        passes.map(({ medianSeconds, predictedSeconds }) => ({ measured: medianSeconds, predicted: predictedSeconds })),
      ),
    })),
  });
}

function measuredPart(result: TwoHostsResult): string {
  const parts = [originLine(result)];
  for (const rate of result.rates) {
    parts.push(`### Link: ${rateText(rate.rate)}`);
    parts.push([...rate.links.map(linksLine), ...rate.costs.map(costLine)].map((line) => `- ${line}`).join('\n'));
    if (rate.exchanges.length > 0) {
      const plot = `two-hosts-${rate.rate}.svg`;
      writeFileSync(at(plot), exchangePlot(rate));
      parts.push(
        `![Exchanges, ${rateText(rate.rate)}](${plot})`,
        'AllToAll + AllGather, without kernels:',
        exchangeTable(rate.exchanges),
      );
      if (rate.parts.length > 0)
        parts.push('What `sliced` is made of, each collective by itself, ms:', partsTable(rate.parts));
    }
    parts.push('Dispatch and combine through the executor, forward and backward together:', choiceTable(rate.cases));
    const largest = [...rate.cases].sort((a, b) => b.tp - a.tp || b.volumeBytes - a.volumeBytes)[0];
    if (largest)
      parts.push(
        `<details><summary>Every strategy at TP=${largest.tp}, ${largest.volumeBytes / mebibyte} MiB</summary>`,
        passTable(largest),
        '</details>',
      );
  }
  writeFileSync(at('two-hosts-predicted.svg'), passesPlot(result.rates));
  parts.push(
    '### The plan, and the predictions it rests on',
    `${choiceLine(summarizeChoices(result.rates.flatMap(({ cases }) => cases)))}.`,
    `${predictionLine(result.rates)}.`,
    '![Predicted and measured](two-hosts-predicted.svg)',
  );
  return parts.join('\n\n');
}

const page = readFileSync(at('two-hosts.md'), 'utf8');
const [start, end] = marks.map((mark) => page.indexOf(mark)) as [number, number];
if (start < 0 || end < start)
  throw new InputError('has no place for the measured part', {
    file: 'docs/two-hosts.md',
    expected: marks.join(' … '),
  });
const result = JSON.parse(readFileSync(at('two-hosts.json'), 'utf8')) as TwoHostsResult;
writeFileSync(
  at('two-hosts.md'),
  `${page.slice(0, start + marks[0].length)}\n\n${measuredPart(result)}\n\n${page.slice(end)}`,
);
