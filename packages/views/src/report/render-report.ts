/** The report of a run as one HTML page that needs nothing else: no network, no script, no other file. */
import { formatBytes, formatCount, formatInteger, formatPercent, formatSeconds } from '@monta/core/units';
import { escapeXml as escape } from '../svg.js';
import { timelineSvg } from '../timeline/timeline.js';
import { figure } from './figure.js';
import { htmlPage } from './html-page.js';
import { bytesPlot, carriedPlot, lanesPlot, loadPlot, lossPlot, operationsPlot, stepsPlot } from './sections.js';
import { strategyOf, type RunReport, type StrategyRun } from './run-report.js';

const signedPercent = (share: number) => `${share < 0 ? '−' : '+'}${formatPercent(Math.abs(share))}`;
const factor = (value: number) => `${value.toFixed(2)}×`;

function number(value: string, meaning: string, better = false): string {
  const mark = better ? ' class="better"' : '';
  return `<div${mark}><strong>${escape(value)}</strong><span>${escape(meaning)}</span></div>`;
}

/** A strategy beside the chosen one: a factor only where it stands out of the noise. */
function comparisonNumber({ name, role, comparison }: StrategyRun): string {
  if (comparison === undefined) return '';
  const whose = role === 'fixed' ? `the best fixed strategy (${name})` : name;
  const interval = `${factor(comparison.low)} to ${factor(comparison.high)}`;
  return comparison.verdict === 'too close to call'
    ? number('a tie', `with ${whose}: step time over the chosen ${interval}, too close to call`)
    : number(
        factor(comparison.median),
        `step time of ${whose} over the chosen (${interval})`,
        comparison.verdict === 'faster',
      );
}

/** The figures that matter most, each with what it is. */
function headlines(report: RunReport): string {
  const chosen = strategyOf(report, 'chosen');
  const [, last] = report.loss.heldOut.at(-1) ?? [];
  const error =
    chosen?.predictedStepSeconds === undefined ? undefined : chosen.predictedStepSeconds / chosen.stepSeconds - 1;
  return [
    ...report.strategies.map(comparisonNumber),
    ...(chosen === undefined ? [] : [number(formatSeconds(chosen.stepSeconds), `a step, ${report.timing.origin}`)]),
    ...(error === undefined ? [] : [number(signedPercent(error), 'error of the predicted step time')]),
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
  const slowed = scale === 1 ? 'at full speed' : `slowed by a factor of ${escape(formatCount(scale ?? 1))}`;
  const speed = scale === undefined ? '' : `, ${slowed}`;
  const items = [
    `<b>Computed for real:</b> the loss, every gradient and every byte that was moved, on ${escape(timing.ranOn)}.`,
    emulated
      ? '<b>Emulated:</b> the network. Bytes travel through memory and are held back to the bandwidths and ' +
        `latencies of ${escape(cluster.name)}` +
        `${speed}. Step times are measured with it; they are not those of the real cluster.`
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

/** Columns of the table of strategies; on a phone each cell carries its own. */
const heads = ['strategy', 'steps', 'step, 10 – 90 %', 'predicted', 'tokens/s', 'over the chosen'] as const;

/** A strategy's step over that of the chosen one, and the interval or what it means. */
function overChosen({ role, comparison }: StrategyRun): readonly [text: string, below?: string] {
  if (role === 'chosen') return ['1'];
  if (comparison === undefined) return ['–', 'too few steps'];
  const interval = `${factor(comparison.low)} – ${factor(comparison.high)}`;
  return comparison.verdict === 'too close to call'
    ? [comparison.verdict, interval]
    : [factor(comparison.median), interval];
}

/** One row per strategy that was run. */
function strategyTable(report: RunReport): string {
  const rows = report.strategies.map((strategy) => {
    const [low, high] = strategy.stepSecondsSpread;
    const cells: (readonly [text: string, below?: string])[] = [
      [formatInteger(strategy.steps)],
      [formatSeconds(strategy.stepSeconds), `${formatSeconds(low)} – ${formatSeconds(high)}`],
      [strategy.predictedStepSeconds === undefined ? '–' : formatSeconds(strategy.predictedStepSeconds)],
      [formatInteger(strategy.tokensPerSecond)],
      overChosen(strategy),
    ];
    const role = `<span class="muted">${roleNames[strategy.role]}</span>`;
    const name = `<td class="name">${escape(strategy.name)}<br>${role}</td>`;
    const row = cells
      .map(([text, below], index) => {
        const second = below === undefined ? '' : `<br><span class="muted">${escape(below)}</span>`;
        return `<td class="number" data-head="${heads[index + 1] ?? ''}"><span>${escape(text)}${second}</span></td>`;
      })
      .join('');
    return `<tr${strategy.role === 'chosen' ? ' class="chosen"' : ''}>${name}${row}</tr>`;
  });
  const head = heads.map((text, index) => `<th${index > 0 ? ' class="number"' : ''}>${text}</th>`).join('');
  return (
    '<div class="card scroll"><table ' +
    `class="strategies"><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`
  );
}

/** How the strategies of the run were compared. */
function turnsText({ turns, strategies }: RunReport): string {
  if (turns === undefined) return 'One strategy ran alone.';
  const pairs = strategies.find(({ comparison }) => comparison !== undefined)?.comparison?.pairs;
  const ratios =
    pairs === undefined
      ? ''
      : ` Ratios are medians of ${pairs} rounds with their ${formatPercent(turns.confidence)} intervals.`;
  return (
    `All strategies compute the same, bit for bit. They took turns in one training, a step each, so that what ` +
    `slowed the machine for a while slowed all of them.${ratios}`
  );
}

function definitions(pairs: readonly (readonly [string, string])[]): string {
  return `<dl>${pairs.map(([label, text]) => `<dt>${escape(label)}</dt><dd>${escape(text)}</dd>`).join('')}</dl>`;
}

/** Pairs whose second cell is markup. */
function keyTable(pairs: readonly (readonly [string, string])[]): string {
  const rows = pairs.map(([key, markup]) => `<tr><td>${escape(key)}</td><td>${markup}</td></tr>`);
  return `<div class="card"><table><tbody>${rows.join('')}</tbody></table></div>`;
}

const code = (text: string) => `<code>${escape(text)}</code>`;

/** A link to a file beside the page; each part of its path is quoted by itself. */
const fileLink = (path: string) =>
  `<a href="${escape(path.split('/').map(encodeURIComponent).join('/'))}">${escape(path)}</a>`;

/** Title, and one line on what ran. */
function opening(report: RunReport, title: string): string[] {
  const { cluster, model, data } = report;
  const took = `${formatSeconds(report.seconds)}${report.seconds >= 60 ? ' minutes' : ''}`;
  const setting = [model.summary, cluster.summary, report.layout, data.name].map(escape).join('; ');
  return [
    `<h1>${escape(title)}</h1>`,
    `<p class="lead muted">Run ${escape(report.run)}, started ` +
      `${escape(report.started.slice(0, 16).replace('T', ' '))}, took ${escape(took)}. ${setting}, ` +
      `${formatInteger(data.tokensPerStep)} tokens a step.</p>`,
    report.invented
      ? '<p class="note"><b>Example page.</b> The numbers below are invented to show its form; nothing was run.</p>'
      : '',
    `<div class="numbers">${headlines(report)}</div>`,
  ];
}

function lossSection(report: RunReport): string[] {
  const { loss } = report;
  const gain = loss.unigram - (loss.heldOut.at(-1)?.[1] ?? Number.NaN);
  const ending =
    `${Math.abs(gain).toFixed(2)} nat ${gain >= 0 ? 'below' : 'above'} it ` +
    (gain >= 0 ? 'uses context' : 'has not learned context yet');
  return [
    '<h2>Loss</h2>',
    figure(
      (width) => lossPlot(report, width),
      Number.isFinite(gain)
        ? 'The unigram line is the cross-entropy of held-out text under the frequencies of the training text; a ' +
            `model that ends ${ending}.`
        : 'Nothing was evaluated on held-out text.',
    ),
  ];
}

function timeSection(report: RunReport): string[] {
  const { timeline } = report;
  return [
    '<h2>Where the time goes</h2>',
    figure(
      (width) => lanesPlot(report, width),
      'Mean over ranks. Lanes run beside each other, so a bar may be longer than the step: the more so, the more ' +
        'is hidden.',
    ),
    timeline === undefined
      ? ''
      : figure(
          (width) => timelineSvg(timeline, { width }),
          'One step of one rank, predicted over measured. The trace holds that step on all ranks; ui.perfetto.dev ' +
            'opens it.',
        ),
  ];
}

/** Predicted against measured, operation by operation, and what the distance between them is and is not. */
function predictionSection(report: RunReport): string[] {
  const { operations, operationError } = report;
  if (operations.length === 0) return [];
  const error = operationError === undefined ? '' : ` Median distance ${formatPercent(operationError)}.`;
  const waiting = report.timing.sharedCores
    ? ' There are more ranks than cores here. The prediction shares the cores evenly between the ranks that ' +
      'compute, which stretches every operation. The machine runs ranks in turns: most operations are short, a few ' +
      'hold a whole pause, and peers wait meanwhile. So single operations lie off the diagonal: that is waiting, ' +
      'not a wrong price. What to compare is what each lane takes in all, above.'
    : '';
  return [
    '<h2>How close the prediction was</h2>',
    figure(
      (width) => operationsPlot(report, width),
      `Every operation of a step: the transfer or the kernel itself, without waiting for peers.${error}${waiting}`,
    ),
  ];
}

/** Ranks whose memory is listed; of more, the fullest. */
const listedRanks = 16;

/** What each rank held at its highest, beside what was predicted. */
function memorySection(report: RunReport): string[] {
  const { predictedBytes, routedBytes, imbalance, measuredBytes, cardBytes } = report.memory;
  const ranks = measuredBytes.map((bytes, rank) => ({ bytes, rank }));
  const shown = [...ranks].sort((a, b) => b.bytes - a.bytes || a.rank - b.rank).slice(0, listedRanks);
  const cell = (text: string): string => `<td class="number">${escape(text)}</td>`;
  const rows = shown.map(({ bytes, rank }) => {
    const figures = [predictedBytes, routedBytes[rank], bytes].map((one) => formatBytes(one, 'binary'));
    const error = signedPercent(routedBytes[rank] / bytes - 1);
    return `<tr><td>rank ${rank}</td>${[...figures, error].map(cell).join('')}</tr>`;
  });
  const heads = ['even routing', 'as routed', 'measured', 'error']
    .map((text) => `<th class="number">${text}</th>`)
    .join('');
  const kernels = cardBytes === undefined ? '' : ` With what kernels take: ${formatBytes(cardBytes, 'binary')}.`;
  return [
    '<h2>Memory</h2>',
    '<p>The most that a rank held at a time: weights, gradients, moments, activations and buffers. Predicted from ' +
      'the compiled program, for even routing and for what was routed when the rank held the most ' +
      `(at most ${factor(imbalance)} the mean at the fullest rank); measured by the memory that hands them out. ` +
      `The error is that of the second.${kernels}</p>`,
    `<div class="card scroll"><table><thead><tr><th>fullest ranks first</th>${heads}</tr></thead>` +
      `<tbody>${rows.join('')}</tbody></table></div>`,
  ];
}

function loadSection({ expertLoad }: RunReport): string[] {
  if (expertLoad.length === 0) return [];
  const caption = 'A cell without colour is balanced. The most loaded rank sets the pace of a dispatch.';
  return ['<h2>Load of experts</h2>', ...expertLoad.map((load) => figure((width) => loadPlot(load, width), caption))];
}

/** Draws the page. */
export function renderReport(report: RunReport): string {
  const { cluster, model, data, plan } = report;
  const title = `${model.name} on ${cluster.name}: ${plan.chosen}`;
  const limits = report.limits.map((limit) => `<li>${escape(limit)}</li>`).join('');
  const files = report.files.map(({ path, purpose }) => [purpose, fileLink(path)] as const);
  const settings = [['command', report.command] as const, ...report.configuration];
  const sections: string[] = [
    ...opening(report, title),
    `<h2>What is real here</h2>${provenance(report)}`,
    `<h2>The plan</h2><div class="card">${definitions([['Chosen', plan.chosen], ...plan.reasons])}</div>`,
    `<h2>Result</h2><p>${turnsText(report)} Step times are medians after warm-up.</p>`,
    strategyTable(report),
    figure(
      (width) => stepsPlot(report, width),
      `Step time, ${report.timing.origin}, beside what was predicted before the run.`,
    ),
    ...lossSection(report),
    ...timeSection(report),
    ...predictionSection(report),
    ...memorySection(report),
    '<h2>Bytes per link</h2>',
    figure((width) => bytesPlot(report, width), 'Of one step, from shapes and even routing.'),
    figure(
      (width) => carriedPlot(report, width),
      'Of the whole run: all steps, each in its own way, and evaluation. Counted bytes are those that ' +
        'ranks handed to ' +
        'the network.',
    ),
    ...loadSection(report),
    `<h2>What this does not show</h2><ul>${limits}</ul>`,
    '<h2>Configuration</h2>',
    keyTable(settings.map(([key, value]) => [key, code(value)] as const)),
    ...(files.length === 0 ? [] : ['<h2>Files</h2>', keyTable(files)]),
    `<footer>${escape(data.licence === undefined ? data.name : `${data.name}: ${data.licence}`)}. The numbers of ` +
      `this page are in <a href="report.json">report.json</a> beside it.</footer>`,
  ];
  return htmlPage(title, sections);
}
