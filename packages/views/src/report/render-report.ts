/** The report of a run as one HTML page that needs nothing else: no network, no script, no other file. */
import { formatCount, formatInteger, formatPercent, formatSeconds } from '@monta/core';
import { escapeXml as escape } from '../svg.js';
import { pageStyle } from './page-style.js';
import { bytesPlot, lanesPlot, loadPlot, lossPlot, operationsPlot, stepsPlot } from './sections.js';
import { speedUp, strategyOf, type RunReport, type StrategyRun } from './run-report.js';

const figure = (svg: string, caption: string) =>
  `<figure class="card"><div class="plot">${svg}</div><figcaption>${escape(caption)}</figcaption></figure>`;

const factor = (value: number) => `${value.toFixed(2)}×`;

function number(value: string, meaning: string, better = false): string {
  return `<div${better ? ' class="better"' : ''}><strong>${escape(value)}</strong><span>${escape(meaning)}</span></div>`;
}

/** The figures that matter most, each with what it is. */
function headlines(report: RunReport): string {
  const chosen = strategyOf(report, 'chosen');
  const fixed = strategyOf(report, 'fixed');
  const overBaseline = speedUp(report, 'baseline');
  const overFixed = speedUp(report, 'fixed');
  const [, last] = report.loss.heldOut.at(-1) ?? [];
  const error =
    chosen?.predictedStepSeconds === undefined ? undefined : chosen.predictedStepSeconds / chosen.stepSeconds - 1;
  return [
    ...(overBaseline === undefined
      ? []
      : [number(factor(overBaseline), 'step time of duplicated over the chosen', overBaseline > 1)]),
    ...(overFixed === undefined || fixed === undefined
      ? []
      : [number(factor(overFixed), `the same of the best fixed strategy (${fixed.name})`, overFixed > 1)]),
    ...(chosen === undefined ? [] : [number(formatSeconds(chosen.stepSeconds), `a step, ${report.timing.origin}`)]),
    ...(error === undefined
      ? []
      : [number(`${error < 0 ? '−' : '+'}${formatPercent(Math.abs(error))}`, 'error of the predicted step time')]),
    ...(last === undefined
      ? []
      : [
          number(
            last.toFixed(2),
            `nat per ${report.loss.token} held-out (unigram ${report.loss.unigram.toFixed(2)})`,
            last < report.loss.unigram,
          ),
        ]),
  ].join('');
}

/** What is measured, emulated and predicted, in sentences. */
function provenance({ timing, cluster }: RunReport): string {
  const emulated = timing.origin === 'measured on an emulated network';
  const scale = timing.timeScale;
  const items = [
    `<b>Computed for real:</b> the loss, every gradient and every byte that was moved, on ${escape(timing.ranOn)}.`,
    emulated
      ? `<b>Emulated:</b> the network. Bytes travel through memory and are held back to the bandwidths and latencies of ${escape(cluster.name)}` +
        `${scale === undefined ? '' : `, ${scale === 1 ? 'at full speed' : `slowed by a factor of ${escape(formatCount(scale))}`}`}. Step times are measured with it; they are not those of the real cluster.`
      : '<b>Measured:</b> step times, on the hardware named.',
    `<b>Predicted:</b> whatever is marked so, before the run, from: ${escape(timing.predictionBasis)}.`,
  ];
  return `<ul>${items.map((item) => `<li>${item}</li>`).join('')}</ul>`;
}

const roleNames: Readonly<Record<StrategyRun['role'], string>> = {
  chosen: 'chosen',
  baseline: 'baseline',
  fixed: 'best fixed',
  other: 'for comparison',
};

/** One row per strategy that was run. */
function strategyTable(report: RunReport): string {
  const chosen = strategyOf(report, 'chosen');
  const rows = report.strategies.map((strategy) => {
    const [low, high] = strategy.stepSecondsSpread;
    const cells: (readonly [text: string, below?: string])[] = [
      [formatInteger(strategy.steps)],
      [formatSeconds(strategy.stepSeconds), `${formatSeconds(low)} – ${formatSeconds(high)}`],
      [strategy.predictedStepSeconds === undefined ? '–' : formatSeconds(strategy.predictedStepSeconds)],
      [formatInteger(strategy.tokensPerSecond)],
      [chosen === undefined ? '–' : factor(strategy.stepSeconds / chosen.stepSeconds)],
      [strategy.lastLoss.toFixed(3)],
      [strategy.heldOut?.toFixed(3) ?? '–'],
    ];
    const name = `<td class="name">${escape(strategy.name)}<br><span class="muted">${roleNames[strategy.role]}</span></td>`;
    const row = cells
      .map(([text, below]) => {
        const second = below === undefined ? '' : `<br><span class="muted">${escape(below)}</span>`;
        return `<td class="number">${escape(text)}${second}</td>`;
      })
      .join('');
    return `<tr${strategy.role === 'chosen' ? ' class="chosen"' : ''}>${name}${row}</tr>`;
  });
  const heads = [
    'strategy',
    'steps',
    'step, 10 – 90 %',
    'predicted',
    'tokens/s',
    'over chosen',
    'last loss',
    'held-out',
  ];
  const head = heads.map((text, index) => `<th${index > 0 ? ' class="number"' : ''}>${text}</th>`).join('');
  return `<div class="card scroll"><table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function definitions(pairs: readonly (readonly [string, string])[]): string {
  return `<dl>${pairs.map(([label, text]) => `<dt>${escape(label)}</dt><dd>${escape(text)}</dd>`).join('')}</dl>`;
}

function keyTable(pairs: readonly (readonly [string, string])[]): string {
  const rows = pairs.map(([key, value]) => `<tr><td>${escape(key)}</td><td><code>${escape(value)}</code></td></tr>`);
  return `<div class="card"><table><tbody>${rows.join('')}</tbody></table></div>`;
}

/** Draws the page. */
export function renderReport(report: RunReport): string {
  const { cluster, model, data, loss } = report;
  const title = `${model.name} on ${cluster.name}: ${report.plan.chosen}`;
  const heldOutGain = loss.unigram - (loss.heldOut.at(-1)?.[1] ?? Number.NaN);
  const sections: string[] = [
    `<h1>${escape(title)}</h1>`,
    `<p class="lead muted">Run ${escape(report.run)}, started ${escape(report.started.slice(0, 16).replace('T', ' '))}, took ${escape(formatSeconds(report.seconds))}${report.seconds >= 60 ? ' minutes' : ''}. ` +
      `${escape(model.summary)}; ${escape(cluster.summary)}; ${escape(report.layout)}; ${escape(data.name)}, ${formatInteger(data.tokensPerStep)} tokens a step.</p>`,
    report.invented
      ? '<p class="note"><b>Example page.</b> The numbers below are invented to show its form; nothing was run.</p>'
      : '',
    `<div class="numbers">${headlines(report)}</div>`,
    `<h2>What is real here</h2>${provenance(report)}`,
    `<h2>The plan</h2><div class="card">${definitions([['Chosen', report.plan.chosen], ...report.plan.reasons])}</div>`,
    `<h2>Result</h2><p>Every strategy below was run in this run, on the same data, for the steps its row says. Step times are medians after warm-up.</p>`,
    strategyTable(report),
    figure(stepsPlot(report), `Step time, ${report.timing.origin}, beside what was predicted before the run.`),
    `<h2>Loss</h2>`,
    figure(
      lossPlot(report),
      Number.isFinite(heldOutGain)
        ? `The unigram line is the cross-entropy of held-out text under the frequencies of the training text; a model that ends ${heldOutGain.toFixed(2)} nat ${heldOutGain >= 0 ? 'below' : 'above'} it ${heldOutGain >= 0 ? 'uses context' : 'has not learned context yet'}.`
        : 'Nothing was evaluated on held-out text.',
    ),
    `<h2>Where the time goes</h2>`,
    figure(
      lanesPlot(report),
      'Mean over ranks. Lanes run beside each other, so a bar may be longer than the step: the more so, the more is hidden.',
    ),
    ...(report.timelineSvg === undefined
      ? []
      : [
          figure(
            report.timelineSvg,
            'One step, predicted over measured. The trace files hold every step; open them in ui.perfetto.dev.',
          ),
        ]),
    ...(report.operations.length === 0
      ? []
      : [
          `<h2>How close the prediction was</h2>`,
          figure(
            operationsPlot(report),
            report.operationError === undefined
              ? 'Every operation of a step.'
              : `Every operation of a step; median error ${formatPercent(report.operationError)}. The time of the transfer itself, without waiting for peers.`,
          ),
        ]),
    `<h2>Bytes per link</h2>`,
    figure(
      bytesPlot(report),
      'Predicted bytes follow from shapes and routing; counted bytes are those that ranks handed to the network.',
    ),
    ...(report.expertLoad.length === 0
      ? []
      : [
          `<h2>Load of experts</h2>`,
          ...report.expertLoad.map((load) =>
            figure(loadPlot(load), 'White is balanced. The most loaded rank sets the pace of a dispatch.'),
          ),
        ]),
    `<h2>What this does not show</h2><ul>${report.limits.map((limit) => `<li>${escape(limit)}</li>`).join('')}</ul>`,
    `<h2>Configuration</h2>`,
    keyTable([['command', report.command], ...report.configuration]),
    ...(report.files.length === 0
      ? []
      : [`<h2>Files</h2>`, keyTable(report.files.map(({ path, purpose }) => [purpose, path]))]),
    `<footer>${escape(data.licence === undefined ? data.name : `${data.name}: ${data.licence}`)}. The numbers of this page are in report.json beside it.</footer>`,
  ];
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">',
    `<title>${escape(title)}</title><style>${pageStyle}</style></head>`,
    `<body><main>`,
    ...sections.filter((section) => section !== ''),
    '</main></body></html>',
    '',
  ].join('\n');
}
