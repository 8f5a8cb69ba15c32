/** A dispatch benchmark over cards for people. */
import type { LayerPass } from '@monta/core';
import { formatBandwidth, formatPercent } from '@monta/core/units';
import type { ContestFigures, LayerBench } from '@monta/runtime';
import { renderFacts, renderTable } from '../output/table.js';
import type { Style } from '../output/style.js';

const ms = (seconds: number): string => `${(seconds * 1e3).toFixed(2)} ms`;
const signed = (share: number): string => `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(0)} %`;
const ratio = (value: number): string => `${value.toFixed(2)}x`;

type PassFigure = ContestFigures['passes'][number];

interface BothPasses {
  readonly forward: PassFigure;
  readonly backward: PassFigure;
}

/** Ways in one chunk count, fastest first. */
function ways({ passes }: ContestFigures): BothPasses[] {
  const of = (pass: LayerPass): PassFigure[] => passes.filter((one) => one.pass === pass);
  const backward = of('backward');
  return of('forward')
    .flatMap((forward) => {
      const other = backward.find(({ name, chunks }) => name === forward.name && chunks === forward.chunks);
      return other === undefined ? [] : [{ forward, backward: other }];
    })
    .sort((a, b) => total(a) - total(b));
}

const total = ({ forward, backward }: BothPasses): number => forward.medianSeconds + backward.medianSeconds;

const cells = ({ medianSeconds, predictedSeconds = NaN, boundSeconds = NaN }: PassFigure): string[] => [
  ms(medianSeconds),
  signed(predictedSeconds / medianSeconds - 1),
  ms(boundSeconds),
];

/** The whole output. */
export function renderCards({ ground, figures }: LayerBench, style: Style): string {
  const { name, layout, dtype, predicted, plan, best, bestFixed, duplicated, tried, deviation } = figures;
  const columns = ['forward', 'error', 'bound', 'backward', 'error', 'bound'].map((header) => ({
    header,
    align: 'number' as const,
  }));
  const rates = ground.cluster.tiers.map(
    ({ name: tier }, at) => `${tier} ${formatBandwidth(ground.lineRates[at] ?? NaN)}`,
  );
  const over = ({ seconds }: { readonly seconds: number }): string => ratio(seconds / plan.seconds);
  return [
    style.bold(`${name} · ${ground.cluster.name} over NCCL · ${layout} · ${dtype}`),
    '',
    renderTable(
      [{ header: 'strategy' }, { header: 'chunks', align: 'right' }, ...columns],
      ways(figures).map(({ forward, backward }) => [
        forward.name,
        String(forward.chunks),
        ...cells(forward),
        ...cells(backward),
      ]),
      { style },
    ),
    '  medians; error: of the prediction from the calibration; bound: bytes of the busiest port over its line rate',
    '',
    renderFacts(
      [
        ['Predicted', `${predicted.label}, ${ms(predicted.seconds)}`],
        ['Plan', `${plan.label}, ${ms(plan.seconds)}${tried > 0 ? `, after trials of ${tried} ways` : ''}`],
        ['Fastest', `${best.label}, ${ms(best.seconds)}`],
        [
          'Saved',
          (duplicated === undefined ? '' : `${over(duplicated)} over duplicated, `) +
            `${over(bestFixed)} over the best fixed, ${bestFixed.label}`,
        ],
        ['Links', `${rates.join(', ')} a rank; predictions deviate by ${formatPercent(ground.modelError)}`],
        ['Checked', `every token's result against its closed form, largest difference ${deviation.toExponential(1)}`],
      ],
      style,
    ),
  ].join('\n');
}
