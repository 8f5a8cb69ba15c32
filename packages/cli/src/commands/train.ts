/** `monta train`: plan, train, compare, report. */
import { totalmem } from 'node:os';
import {
  clusterSummary,
  formatBytes,
  formatLayout,
  formatInteger,
  formatPercent,
  formatSeconds,
  inChunks,
  lastStep,
  type MachineRoom,
  maxOf,
  namedStrategies,
  perfettoPieces,
  type PlannedStrategy,
  refuseWhatDoesNotFit,
  type RunPlan,
} from '@monta/core';
import {
  addressableBytes,
  cardsHere,
  firstCard,
  leadMpirun,
  prepareStart,
  readByteText,
  underMpirun,
  type Launcher,
  type TrainReport,
} from '@monta/runtime';
import { memoryError, renderReport, speedUp, strategyOf, type RunReport } from '@monta/views';
import { stringify } from 'yaml';
import { hasOwnNetwork, launcherOf, onCards } from '../config/backend-config.js';
import { readTrainConfig, trainConfigDocument, type TrainConfig } from '../config/train-config.js';
import { plannedTraining } from '../config/planned-run.js';
import type { MontaContext } from '../context.js';
import { Interrupted } from '../errors.js';
import type { Console } from '../output/console.js';
import { Progress } from '../output/progress.js';
import { renderFacts } from '../output/table.js';
import { RunFolder } from '../run-folder.js';
import { withMeasuredNetwork } from '../train/measured-network.js';
import { measureOverheads } from '../train/overheads.js';
import { planRun } from '../train/run-plan.js';
import { networkShare, runReport } from '../train/run-report.js';
import { loadEmulatedCurves } from '../inputs.js';
import { settingOf, stepOf, type Setting } from '../train/setting.js';
import { jobOf, runStrategies } from '../train/strategies-run.js';
import type { TrialGround } from '../train/trial.js';
import type { TrainFlags } from './train.command.js';

/** Runs `body` with a signal that Ctrl-C and SIGTERM abort. */
async function interruptible<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new Interrupted('interrupted; what the run wrote so far is in its folder'));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    return await body(controller.signal);
  } finally {
    process.removeListener('SIGINT', stop);
    process.removeListener('SIGTERM', stop);
  }
}

function showPlan(console: Console, setting: Setting, plan: RunPlan, folder: RunFolder): void {
  const { config, layout, fabric } = setting;
  const baseline = plan.compared.find(({ role }) => role === 'baseline');
  const against = baseline ? ` (duplicated ${formatSeconds(baseline.predicted.seconds)})` : '';
  const expected = `expected step ${formatSeconds(plan.chosen.predicted.seconds)}${against}`;
  const facts: (readonly [string, string])[] = [
    [
      'Cluster',
      hasOwnNetwork(config.backend)
        ? `${config.cluster.name}, over ${config.backend.kind === 'mpi' ? 'Open MPI' : 'NCCL'}: ` +
          `${clusterSummary(setting.cluster)}; measured just now`
        : `${config.cluster.name}: ${clusterSummary(config.cluster)}; ` +
          (fabric ? `emulated at 1/${fabric.timeScale} of this speed` : 'not emulated'),
    ],
    [
      'Model',
      `${config.model.name}, ${formatLayout(layout)}, ${formatInteger(config.batch)} x ` +
        `${formatInteger(config.data.sequence)} tokens a step`,
    ],
    [
      'Plan',
      [plan.chosen.label, networkShare(setting, plan), expected].filter((part) => part !== undefined).join('; '),
    ],
    ...plan.reasons,
    ['Folder', folder.path],
  ];
  console.print(renderFacts(facts, console.style));
}

const ratio = (value: number | undefined): string => (value === undefined ? '' : `${value.toFixed(2)}x`);

interface Shown {
  readonly report: RunReport;
  readonly folder: RunFolder;
}

/** What the fullest rank held, beside what was predicted. */
function memoryText(report: RunReport): string {
  const { predictedBytes, skewed, measuredBytes, cardBytes } = report.memory;
  const predicted = (bytes: number): string => {
    const error = memoryError(bytes, report.memory);
    return `${formatBytes(bytes, 'binary')} (${error < 0 ? '−' : '+'}${formatPercent(Math.abs(error))})`;
  };
  const kernels = cardBytes === undefined ? '' : `; ${formatBytes(cardBytes, 'binary')} with what kernels take`;
  return (
    `${formatBytes(maxOf(measuredBytes), 'binary')} at the most on a rank; predicted for even routing ` +
    `${predicted(predictedBytes)}, for its skew of ${skewed.imbalance.toFixed(2)} ` +
    `${predicted(skewed.predictedBytes)}${kernels}`
  );
}

function showResult(console: Console, { report, folder }: Shown): void {
  const { loss: evaluations } = report;
  const chosen = strategyOf(report, 'chosen');
  const heldOut = evaluations.heldOut.at(-1)?.[1];
  const emulated =
    report.timing.timeScale === undefined ? '' : ` (emulated network, 1/${report.timing.timeScale} of its speed)`;
  const facts: (readonly [string, string])[] = [];
  if (chosen)
    facts.push([
      'Result',
      `held-out ${heldOut?.toFixed(3) ?? '?'} nat/byte (unigram ${evaluations.unigram.toFixed(3)})   step ` +
        `${formatSeconds(chosen.stepSeconds)} measured, ${formatSeconds(chosen.predictedStepSeconds ?? NaN)} ` +
        `predicted${emulated}`,
    ]);
  for (const role of ['baseline', 'fixed'] as const) {
    const other = strategyOf(report, role);
    if (other)
      facts.push([
        '',
        `${other.name}${role === 'fixed' ? ' (best fixed)' : ''} ${formatSeconds(other.stepSeconds)} measured, ` +
          `${formatSeconds(other.predictedStepSeconds ?? NaN)} predicted → ` +
          ratio(speedUp(report, role)) +
          (other.heldOut === undefined ? '' : `; held-out ${other.heldOut.toFixed(3)}`),
      ]);
  }
  facts.push(
    ['Memory', memoryText(report)],
    ['Report', folder.file('report.html')],
    ['Trace', `${folder.file('trace.json')} (open in ui.perfetto.dev)`],
  );
  console.print(renderFacts(facts, console.style));
}

/** Draws progress, and writes a line of metrics for every report. */
function progressOf(console: Console, setting: Setting, folder: RunFolder) {
  const metrics = folder.lines('metrics.jsonl');
  let line: Progress | undefined;
  return {
    starting: (planned: PlannedStrategy): void => {
      line = new Progress({
        label: planned.role === 'chosen' ? 'Train' : planned.label,
        total: setting.config.steps,
        columns: console.progressColumns,
        write: (text) => console.printError(text),
        now: () => performance.now() / 1e3,
      });
    },
    notes: (notes: readonly string[]): void => notes.forEach((note) => console.note(note)),
    report: (planned: PlannedStrategy, report: TrainReport): void => {
      metrics.append({ strategy: planned.label, ...report });
      if (report.kind === 'step')
        line?.update({
          done: report.step,
          loss: report.crossEntropy,
          tokensPerSecond: report.tokens / report.seconds,
          secondsPerStep: report.seconds,
        });
    },
    finished: (): void => line?.finish(),
    close: (): void => metrics.close(),
  };
}

/**
 * Runs the command. Throws `InputError` for bad input, `RankFailure` when a rank fails, `Interrupted` after Ctrl-C.
 * Under an mpirun of the person's own, the process of rank 0 does all that a person sees.
 */
export async function runTrain({ console }: MontaContext, flags: TrainFlags, file?: string): Promise<void> {
  const run = (launcher?: Launcher): Promise<void> =>
    trainAndReport(
      console,
      flags,
      readTrainConfig(file, { ...(flags.plan === undefined ? {} : plannedTraining(flags.plan)), ...flags }),
      launcher,
    );
  await (underMpirun() === undefined ? run() : leadMpirun(run));
}

/**
 * Complains about what cannot be gone on from before anything is measured or written. How tokens travel does not matter
 * to it.
 */
function checkResume(setting: Setting, resume: string | undefined): void {
  if (resume === undefined) return;
  const strategy = inChunks(namedStrategies.scattered, 1);
  prepareStart(jobOf(setting, { strategy, role: 'chosen' }, undefined, resume));
}

/** The memory that the ranks share: each card's, this machine's, or, over MPI, that of hosts we know nothing of. */
function roomFor({ config: { backend }, ranks }: Setting): MachineRoom {
  if (!onCards(backend))
    return { ranksHere: backend.kind === 'local' ? ranks : 1, bytes: totalmem(), rankBytes: addressableBytes };
  const { bytes = Infinity } = firstCard() ?? {};
  return { ranksHere: Math.ceil(ranks / cardsHere()), bytes, rankBytes: bytes };
}

async function trainAndReport(
  console: Console,
  flags: TrainFlags,
  config: TrainConfig,
  launcher: Launcher = launcherOf(config.backend),
): Promise<void> {
  const started = new Date();
  const curves =
    flags.calibration === undefined ? undefined : loadEmulatedCurves(flags.calibration, config.cluster, console);
  const asked: Setting = { ...settingOf(config), ...(curves === undefined ? {} : { curves }) };
  const text = readByteText(config.data.text, config.data.sequence);
  refuseWhatDoesNotFit(stepOf(asked, inChunks(namedStrategies.scattered, 1)), roomFor(asked));
  checkResume(asked, flags.resume);
  const folder = RunFolder.create(config.output, started);
  folder.write('config.yaml', stringify(trainConfigDocument(config)));
  await interruptible(async (signal) => {
    const linked =
      hasOwnNetwork(config.backend) && asked.ranks > 1 ? await withMeasuredNetwork(asked, launcher, signal) : asked;
    const { setting, overheads } = await measureOverheads(linked, launcher, signal);
    const ground: TrialGround = {
      launcher,
      resume: flags.resume,
      signal,
      onTrial: (labels, steps) =>
        console.note(`${labels.join(', ')} are predicted close to each other: trying ${steps} steps of each`),
    };
    const full = await planRun(setting, overheads, ground);
    const plan: RunPlan = flags.compare && flags.resume === undefined ? full : { ...full, compared: [] };
    folder.writeJson('plan.json', {
      strategy: plan.chosen.strategy,
      layout: formatLayout(setting.layout),
      predictedStepSeconds: plan.chosen.predicted.seconds,
      compared: full.compared.map(({ label, role, predicted }) => ({
        label,
        role,
        predictedStepSeconds: predicted.seconds,
      })),
      reasons: plan.reasons,
      tried: plan.tried,
      overheads,
      kernels: Object.fromEntries(plan.model.kernels ?? []),
      candidates: plan.choice?.candidates ?? [],
    });
    if (!flags.json) showPlan(console, setting, plan, folder);
    const progress = progressOf(console, setting, folder);
    const results = await runStrategies({
      setting,
      launcher,
      plan,
      start: { checkpoints: folder.file('checkpoints'), resume: flags.resume },
      progress,
      signal,
    }).finally(progress.close);
    const [chosen] = results;
    if (!chosen) return;
    const measured = lastStep(chosen.result.trace);
    const { timeScale } = measured;
    folder.write('trace.json', perfettoPieces([{ ...plan.chosen.predicted.trace, timeScale }, measured]));
    const { evaluationBatches } = jobOf(setting, plan.chosen);
    const report = runReport(setting, plan, results, {
      run: folder.name,
      started,
      seconds: (Date.now() - started.getTime()) / 1e3,
      command: ['monta', 'train', ...process.argv.slice(3)].join(' '),
      text,
      evaluationBatches,
      files: [
        { path: 'config.yaml', purpose: 'everything that was set; monta train config.yaml repeats the run' },
        { path: 'plan.json', purpose: 'the choice, its prediction, and what it rests on' },
        { path: 'metrics.jsonl', purpose: 'every step and evaluation of every strategy' },
        { path: 'trace.json', purpose: 'one step, predicted and measured, for ui.perfetto.dev' },
        { path: 'checkpoints', purpose: 'the trained model and the state to go on from' },
        { path: 'report.json', purpose: 'the figures of this page' },
      ],
    });
    folder.writeJson('report.json', report);
    folder.write('report.html', renderReport(report));
    if (flags.json) console.json(report);
    else showResult(console, { report, folder });
  });
}
