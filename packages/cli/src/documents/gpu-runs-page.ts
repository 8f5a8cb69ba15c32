/** The part of the GPU page about runs of their own: `./run gpu-PART.json --parts PART`, one table each. */
import type { GpuReport } from '@monta/runtime/bench/cuda';
import { busBytesPerSecond, maxOf, minOf } from '@monta/core';
import { choicesText } from './gpu-nodes-page.js';
import { checksTable, multicastText, shadowText } from './gpu-page.js';

/** In the order of the page. */
export const runParts = [
  'checks',
  'verified',
  'sanitizer',
  'starts',
  'links',
  'predicted',
  'parallel',
  'choices',
] as const;
export type RunPart = (typeof runParts)[number];
export type RunReports = { readonly [Part in RunPart]?: GpuReport | undefined };

const about: { readonly [Part in RunPart]: readonly [title: string, what: string] } = {
  checks: ['Kernels beside the CPU', 'every kernel on fresh random inputs, and every launch of training steps'],
  verified: ['verify on the card', 'all models of the fixtures, every dispatcher of one rank, in bf16 and in f32'],
  sanitizer: ['compute-sanitizer', 'all checks of kernels under its four tools, where the host has it'],
  starts: ['A hundred starts and stops', 'two ranks over NCCL, and what they leave on the host'],
  links: [
    'Collectives and dispatch over NCCL',
    'every collective over every group of two nodes of two ranks; a layer after a calibration',
  ],
  predicted: [
    'Predicted and measured',
    'a step of 1.3B parameters in six layers: kernels timed in one layer, the step predicted, then measured',
  ],
  parallel: [
    'Experts over all cards beside PyTorch',
    'a layer of Qwen3-30B-A3B, 8,192 tokens a card, forward and backward in bf16, each in turns',
  ],
  choices: [
    "The plan's choice",
    'a calibration, then many layers on two nodes of as many ranks as there are cards, every way measured',
  ],
};

/** Options beside the part: what time bounds has a time. */
const optionsOf: { readonly [Part in RunPart]?: string } = { checks: ',shadow', predicted: '' };
const commandOf = (part: RunPart): string =>
  `./run gpu-${part}.json --parts ${part}${optionsOf[part] ?? ' --seconds 400'}`;
const mebibyte = 2 ** 20;
const fixed = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : '–');
const ms = (seconds: number): string => fixed(1e3 * seconds, 2);
const off = ({ predictedSeconds, measuredSeconds }: { predictedSeconds: number; measuredSeconds: number }): string =>
  `${fixed(100 * (predictedSeconds / measuredSeconds - 1), 1)} %`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, at) => (at === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

/** What a part left. */
const bodies: { readonly [Part in RunPart]: (report: GpuReport) => string } = {
  checks: ({ checks, shadow }) => {
    const failed = checks.flatMap((one) => one.failed.map((result) => ({ name: one.name, ...result })));
    const lines = failed.map(
      ({ name, storage, check, problem }) =>
        `- Failed: ${name}, ${check} (${storage})${problem === undefined ? '' : `: ${problem.split('\n', 1)[0]}`}`,
    );
    return [checksTable(checks), ...(lines.length === 0 ? [] : [lines.join('\n')]), shadowText({ shadow }).trim()]
      .filter((text) => text !== '')
      .join('\n\n');
  },
  verified: ({ verified = [] }) =>
    table(
      ['model', 'computed in', 'dispatchers', 'nearest to its tolerance', 'error', 'tolerance', 'passed', 's'],
      verified.map(({ model, dtype, strategies, worst, problem = '–', passed, seconds }) => [
        model,
        dtype,
        String(strategies.length),
        worst?.quantity ?? problem.split('\n', 1)[0],
        worst?.error.toExponential(1) ?? '–',
        String(worst?.tolerance ?? '–'),
        passed ? 'yes' : '**no**',
        fixed(seconds, 0),
      ]),
    ),
  sanitizer: ({ sanitizer }) =>
    sanitizer === undefined || sanitizer.runs.length === 0
      ? 'The host has none.'
      : `${sanitizer.version ?? ''} initcheck does not see what libraries' products write by the tensor memory \
accelerator, so that kernels which read it would seem to err. Warps of cuDNN's attention go ways of their own and \
order themselves by barriers of the hardware: synccheck and racecheck take that for faults. racecheck leaves out the \
layer, whose products take it minutes; its kernels run in other checks.

${table(
  ['tool', 'checks', 'errors', 's'],
  sanitizer.runs.map(({ tool, without, errors, seconds }) => [
    tool,
    without.length === 0 ? 'all' : `all but ${without.join(', ')}`,
    errors === undefined ? 'not told: its time was over, or it failed' : String(errors),
    fixed(seconds, 0),
  ]),
)}`,
  starts: ({ starts }) => {
    if (starts === undefined) return '';
    const { ranks, asked, done, failed, medianSeconds, slowestSeconds, left } = starts;
    const what = [
      ...left.processes.map((one) => `process ${one}`),
      ...left.services.map((one) => `service ${one}`),
      ...left.files.map((one) => `/dev/shm/${one}`),
      ...(left.cardBytes > 0 ? [`${fixed(left.cardBytes / mebibyte, 0)} MiB of cards`] : []),
    ];
    return table(
      ['ranks', 'asked', 'done', 'failed', 'median s', 'slowest s', 'left'],
      [
        [
          String(ranks),
          String(asked),
          String(done),
          failed.length === 0 ? '0' : `${failed.length}: ${failed[0]}`,
          fixed(medianSeconds, 2),
          fixed(slowestSeconds, 2),
          what.length === 0 ? 'nothing' : what.join('; '),
        ],
      ],
    );
  },
  links: ({ links }) => {
    if (links === undefined) return '';
    const { cards, layout, tables, tablesNotBegun, dispatch } = links;
    const rows = tables.flatMap(({ op, kind, groups, nodes, lane, rows: sizes }) => {
      const ranks = groups[0]?.length ?? 1;
      return sizes
        .filter(({ bytes }) => bytes >= mebibyte)
        .map(({ bytes, seconds, wrong }) => [
          op,
          `${groups.length} x ${kind} of ${ranks} on ${nodes}, ${lane}`,
          fixed(bytes / mebibyte, 0),
          ms(seconds),
          fixed(bytes / seconds / 1e9, 2),
          fixed(busBytesPerSecond(op, ranks, bytes, seconds) / 1e9, 2),
          String(wrong),
        ]);
    });
    const left = tablesNotBegun === 0 ? '' : ` ${tablesNotBegun} tables were cut off by time.`;
    const layer =
      dispatch === undefined
        ? 'The layer was cut off by time.'
        : `A layer of 8 experts, top-2, hidden 4096, ${dispatch.mebibytes} MiB: the plan takes ${dispatch.plan.label}, \
${ms(dispatch.plan.seconds)} ms; the fastest is ${dispatch.best.label}, ${ms(dispatch.best.seconds)} ms; the best \
fixed ${dispatch.bestFixed.label}, ${ms(dispatch.bestFixed.seconds)} ms. The calibration before took \
${fixed(dispatch.calibrationSeconds, 0)} s; its predictions deviate by ${fixed(100 * dispatch.modelError, 1)} %.`;
    return `${layout} as two nodes on ${cards} ${cards === 1 ? 'card' : 'cards'}; from 1 MiB on.${left}

${table(['collective', 'groups, nodes, lane', 'MiB', 'ms', 'algbw GB/s', 'busbw GB/s', 'wrong'], rows)}

${layer}`;
  },
  predicted: ({ predicted }) => {
    if (predicted === undefined) return '';
    const { layers, tokens, probeSeconds, step, layer, kernels } = predicted;
    const shown = 16;
    return `${layers} layers, ${tokens} tokens, bf16; the probe took ${fixed(probeSeconds, 0)} s.

${table(
  ['what', 'predicted ms', 'measured ms', 'off by'],
  [
    ['the step', ms(step.predictedSeconds), ms(step.measuredSeconds), off(step)],
    ['kernels of a MoE layer', ms(layer.predictedSeconds), ms(layer.measuredSeconds), off(layer)],
    ...kernels.slice(0, shown).map((one) => [one.kernel, ms(one.predictedSeconds), ms(one.measuredSeconds), off(one)]),
  ],
)}`;
  },
  parallel: (report) => parallelText(report),
  choices: ({ choices }) => (choices?.between === undefined ? '' : choicesText(choices.between).trim()),
};

/** Monta's ways and the peer, the fastest of Monta first. */
function parallelText({ parallel }: GpuReport): string {
  if (parallel === undefined) return '';
  const { ranks, tokens, model, monta, peer, problem, cut = false } = parallel;
  const own = [...monta].sort((a, b) => a.medianSeconds - b.medianSeconds);
  const rows = [...own, ...(peer === undefined ? [] : [peer])].map(({ name, seconds, medianSeconds }) => [
    name,
    ms(medianSeconds),
    `${ms(minOf(seconds))} to ${ms(maxOf(seconds))}`,
    peer === undefined ? '–' : fixed(peer.medianSeconds / medianSeconds, 2),
  ]);
  const versus = peer === undefined ? '' : `, PyTorch ${peer.torch}`;
  return `${model} over EP=${ranks}, ${tokens} tokens a card${versus}. Monta's layer lies in a training step and \
counts from its first start to its last end, norm and residual with it; PyTorch's stands alone. Weights stay as they \
were drawn and tokens are all unlike, on both sides: experts get about as many rows each.

${table(['way', 'ms, median', 'least to most', 'PyTorch / it'], rows)}${
    problem === undefined ? '' : `\n\nPyTorch did not run: ${problem.split('\n', 1)[0]}`
  }${cut ? '\n\nThe last turn was cut off by time.' : ''}`;
}

const overCards: ReadonlySet<RunPart> = new Set(['starts', 'links', 'parallel', 'choices']);

const errorOf = ({ errors }: GpuReport, part: RunPart): string | undefined => errors?.[part]?.split('\n', 1)[0];

/** Of every run of a part, one behind the other. */
function section(part: RunPart, reports: readonly GpuReport[]): string {
  const [title, what] = about[part];
  return `## ${title}

${reports.map((report, place) => runText(part, report, place === 0 ? what : 'another run')).join('\n\n')}
`;
}

function runText(part: RunPart, report: GpuReport, what: string): string {
  const { card, driver = 'unknown', date, command, note } = report;
  const error = errorOf(report, part);
  // What only one card ran has no use for it.
  const multicast = overCards.has(part) ? `, NVLink multicast ${multicastText(report)}` : '';
  return [
    `${card.name}, driver ${driver}, ${date}${multicast}, \`./run gpu-${part}.json ${command.join(' ')}\`: ${what}.` +
      (note === undefined ? '' : ` ${note}`),
    ...(report[part] === undefined ? [] : [bodies[part](report)]),
    ...(error === undefined ? [] : [`It did not run to its end: ${error}`]),
  ].join('\n\n');
}

/** Names of checks that exist and that none of the reports has. */
const unchecked = (names: readonly string[], reports: readonly (GpuReport | undefined)[]): string[] =>
  names.filter((name) => !reports.some((report) => report?.checks?.some((one) => one.name === name)));

export interface RunsPageOptions {
  /** The report of everything on one card, whose checks count too. */
  readonly card?: GpuReport;
  /** All checks that there are. */
  readonly checkNames?: readonly string[];
  /** Another run of a part. */
  readonly further?: RunReports;
}

/** The sections, and what has not been run. */
export function gpuRunsText(
  reports: RunReports,
  { card, checkNames = [], further = {} }: RunsPageOptions = {},
): string {
  const there = runParts.flatMap((part) => {
    const report = reports[part];
    return report === undefined || (report[part] ?? report.errors?.[part]) === undefined ? [] : [{ part, report }];
  });
  const inCard = (part: RunPart): boolean => card?.[part] !== undefined;
  const absent = runParts.filter((part) => !inCard(part) && !there.some((one) => one.part === part));
  const names = unchecked(checkNames, [card, reports.checks]);
  const later =
    names.length === 0
      ? ''
      : `## Checks that no card has run

Written later than the runs on this page: ${names.join(', ')}. \`${commandOf('checks')}\` runs them.
`;
  const missing =
    absent.length === 0
      ? ''
      : `## Not run on a card

These parts of the bundle are written and have been tested without a card. No card has run them: there is no figure.

${table(
  ['what', 'of', 'command'],
  absent.map((part) => [about[part][0], about[part][1], `\`${commandOf(part)}\``]),
)}
`;
  const sections = [
    ...there.map(({ part, report }) => section(part, [report, ...[further[part] ?? []].flat()])),
    later,
    missing,
  ];
  return `# Single runs

${sections.filter((text) => text !== '').join('\n')}`;
}
