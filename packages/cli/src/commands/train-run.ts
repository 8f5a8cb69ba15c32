/** What the process that leads a `monta train` does: plan, train, compare, report. */
import { totalmem } from 'node:os';
import type { MachineOverheads, MachineRoom, PlannedStrategy, RunPlan } from '@monta/core';
import { formatLayout } from '@monta/core/layout';
import { inChunks, namedStrategies } from '@monta/core/schedule';
import { refuseWhatDoesNotFit } from '@monta/core/memory';
import { settingStep } from '@monta/core/plan';
import type { Launcher, TrainReport } from '@monta/runtime';
import { addressableBytes } from '@monta/runtime/device/cpu';
import { cardsHere, whileKeepingThreads } from '@monta/runtime/launch';
import { checkExecutable } from '@monta/runtime/execute';
import { firstCard } from '@monta/runtime/device/cuda/bindings';
import { prepareStart, readByteText } from '@monta/runtime/train';
import { stringify } from 'yaml';
import { hasOwnNetwork, launcherOf, onCards, withLanesOf } from '../config/backend-config.js';
import type { ConfigFile } from '../config/config-file.js';
import { takeTrainConfig, trainConfigDocument, type TrainConfig } from '../config/train-config.js';
import { plannedTraining } from '../config/planned-run.js';
import { Interrupted } from '../errors.js';
import type { Console } from '../output/console.js';
import { emptyChunksNote } from '../output/empty-chunks.js';
import { Progress, type ProgressState } from '../output/progress.js';
import { RunFolder } from '../run-folder.js';
import { interruptible, Whereabouts } from '../train/interruption.js';
import { withMeasuredNetwork } from '../train/measured-network.js';
import { measureOverheads } from '../train/overheads.js';
import { comparable, planRun } from '../train/run-plan.js';
import { writeReport } from '../train/run-report.js';
import { showJob, showPlan, showResult } from '../train/run-text.js';
import { loadEmulatedCurves } from '../inputs.js';
import { settingOf, type Setting } from '../train/setting.js';
import { jobOf, runStrategies } from '../train/strategies-run.js';
import type { TrialGround } from '../train/trial.js';
import type { TrainFlags } from './train.flags.js';

/** Draws progress, and writes a line of metrics for every report. */
function progressOf(console: Console, where: Whereabouts) {
  const metrics = where.folder.lines('metrics.jsonl');
  const line = new Progress({
    label: 'Train',
    total: where.steps,
    columns: console.progressColumns,
    write: (text) => console.printError(text),
    now: () => performance.now() / 1e3,
  });
  // The pace of the chosen strategy: those beside it have another.
  let pace: Pick<ProgressState, 'tokensPerSecond' | 'secondsPerStep'> = {};
  return {
    notes: (notes: readonly string[]): void => notes.forEach((note) => console.note(note)),
    report: (planned: PlannedStrategy, report: TrainReport): void => {
      metrics.append({ strategy: planned.label, ...report });
      if (report.kind === 'checkpoint') where.saved = report.step;
      if (report.kind !== 'step') return;
      where.done = report.step;
      if (planned.role === 'chosen')
        pace = { tokensPerSecond: report.tokens / report.seconds, secondsPerStep: report.seconds };
      line.update({ done: report.step, loss: report.crossEntropy, ...pace });
    },
    close: (): void => {
      line.finish();
      metrics.close();
    },
  };
}

/**
 * Complains about what cannot be gone on from before anything is measured or written. How tokens travel does not matter
 * to it.
 */
function checkResume(setting: Setting, resume: string | undefined): void {
  if (resume === undefined) return;
  const strategy = inChunks(namedStrategies.scattered, 1);
  prepareStart(jobOf(setting, strategy, { resume }));
}

/** Says where the configuration's own dispatcher has more chunks than rows to cut. */
function noteEmptyChunks(console: Console, { config, layout }: Setting): void {
  if (config.dispatch === 'auto') return;
  const { sequence, sequences } = settingStep({ config, layout }, config.dispatch);
  const note = emptyChunksNote(config.dispatch, Math.ceil((sequence * sequences) / layout.tp));
  if (note !== undefined) console.note(note);
}

/** The memory that the ranks share: each card's, this machine's, or, over MPI, that of hosts we know nothing of. */
function roomFor({ config: { backend }, ranks }: Setting, { ranksPerCard }: Launcher): MachineRoom {
  if (!onCards(backend))
    return { ranksHere: backend.kind === 'local' ? ranks : 1, bytes: totalmem(), rankBytes: addressableBytes };
  const { bytes = Infinity } = firstCard() ?? {};
  return { ranksHere: ranksPerCard ?? Math.ceil(ranks / cardsHere()), bytes, rankBytes: bytes };
}

/** What `plan.json` holds: the choice, its prediction, and what it rests on. */
const planDocument = ({ layout }: Setting, plan: RunPlan, overheads: MachineOverheads) => ({
  strategy: plan.chosen.strategy,
  overlap: plan.chosen.overlap,
  layout: formatLayout(layout),
  predictedStepSeconds: plan.chosen.predicted.seconds,
  compared: plan.compared.map(({ label, role, predicted }) => ({
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

/** The setting with what links, collectives and kernels take here, measured before the plan. */
async function measuredHere(
  console: Console,
  asked: Setting,
  { launcher, signal }: Pick<TrialGround, 'launcher' | 'signal'>,
): ReturnType<typeof measureOverheads> {
  const between = hasOwnNetwork(asked.config.backend) && asked.ranks > 1;
  const linked = between ? await withMeasuredNetwork(asked, launcher, signal) : asked;
  console.note('timing collectives and kernels here, for the plan');
  return measureOverheads(linked, launcher, signal);
}

const trialGround = (console: Console, ground: Omit<TrialGround, 'onTrial'>): TrialGround => ({
  ...ground,
  onTrial: (labels, steps) =>
    console.note(`${labels.join(', ')} are predicted close to each other: trying ${steps} steps of each`),
});

/**
 * Plans, trains and reports, on the ranks of a launcher; default: that of the configuration. Throws `InputError` for
 * bad input, `RankFailure` when a rank fails, `Interrupted` after Ctrl-C.
 */
export async function planAndTrain(
  console: Console,
  flags: TrainFlags,
  file: ConfigFile | undefined,
  started?: Launcher,
): Promise<void> {
  const plan = flags.plan === undefined ? {} : plannedTraining(flags.plan);
  const config = takeTrainConfig(file, { ...plan, ...flags });
  await trainAndReport(console, flags, config, started ?? launcherOf(config.backend));
}

async function trainAndReport(
  console: Console,
  flags: TrainFlags,
  config: TrainConfig,
  given: Launcher,
): Promise<void> {
  const launcher = withLanesOf(given, config.backend);
  const started = new Date();
  const curves =
    flags.calibration === undefined ? undefined : loadEmulatedCurves(flags.calibration, config.cluster, console);
  const asked: Setting = { ...settingOf(config), ...(curves === undefined ? {} : { curves }) };
  const text = readByteText(config.data.text, config.data.sequence);
  const step = settingStep(asked, inChunks(namedStrategies.scattered, 1));
  refuseWhatDoesNotFit(step, roomFor(asked, launcher));
  checkExecutable(step, launcher.device);
  checkResume(asked, flags.resume);
  const folder = RunFolder.create(config.output, started);
  folder.write('config.yaml', stringify(trainConfigDocument(config)));
  if (!flags.json) {
    showJob(console, asked, folder);
    noteEmptyChunks(console, asked);
  }
  const where = new Whereabouts(config.steps, folder);
  const runUntilReported = async (signal: AbortSignal): Promise<void> => {
    const ground = { launcher, signal, resume: flags.resume };
    const { setting, overheads } = await measuredHere(console, asked, ground);
    const full = await planRun(setting, overheads, trialGround(console, ground));
    const plan: RunPlan = { ...full, compared: flags.compare ? comparable(full, (line) => console.note(line)) : [] };
    folder.writeJson('plan.json', planDocument(setting, full, overheads));
    if (!flags.json) showPlan(console, setting, plan);
    const progress = progressOf(console, where);
    const start = { checkpoints: folder.file('checkpoints'), resume: flags.resume };
    const run = await runStrategies({ setting, launcher, plan, start, progress, signal }).finally(progress.close);
    const report = writeReport({ setting, plan, run, text, started, folder });
    if (flags.json) console.json(report);
    else showResult(console, { report, folder });
  };
  // Probes, trials and the training run the same code: threads that have compiled it do all of them.
  const onKeptThreads = (signal: AbortSignal): Promise<void> =>
    whileKeepingThreads(asked.ranks + 1, () => runUntilReported(signal));
  await interruptible(where, onKeptThreads).catch((error: unknown) => {
    if (where.goOn !== undefined && !(error instanceof Interrupted))
      console.note(`step ${where.saved} was saved; go on from there with\n  ${where.goOn}`);
    throw error;
  });
}
