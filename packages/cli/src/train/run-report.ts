/** The report of a run: what this machine and the command know of it, and its files in the run's folder. */
import type { RunPlan } from '@monta/core';
import { lastStep, ofWay, perfettoPieces } from '@monta/core/trace';
import type { ByteText } from '@monta/runtime';
import { firstCard } from '@monta/runtime/device/cuda/bindings';
import { unigramCrossEntropy } from '@monta/runtime/train';
import { fillReport, renderReport, type RunFacts, type RunReport } from '@monta/views';
import { hasOwnNetwork, onCards } from '../config/backend-config.js';
import { trainConfigDocument } from '../config/train-config.js';
import type { RunFolder } from '../run-folder.js';
import { describeHost, type Setting } from './setting.js';
import { jobOf, type RunResult } from './strategies-run.js';

/** Hardware and backend in a line. */
function ranOnOf({ config: { backend }, ranks }: Setting): string {
  if (!onCards(backend))
    return `${describeHost()}, ${ranks} ranks as ${backend.kind === 'mpi' ? 'processes over Open MPI' : 'threads'}`;
  const { name = 'a card' } = firstCard() ?? {};
  return `${name}, ${backend.kind === 'nccl' ? `${ranks} ranks as processes over NCCL` : 'one rank'}`;
}

const files: RunReport['files'] = [
  { path: 'config.yaml', purpose: 'everything that was set; monta train config.yaml repeats the run' },
  { path: 'plan.json', purpose: 'the choice, its prediction, and what it rests on' },
  { path: 'metrics.jsonl', purpose: 'every step and evaluation, with the strategy of the step' },
  { path: 'trace.json', purpose: 'one step, predicted and measured, for ui.perfetto.dev' },
  { path: 'checkpoints', purpose: 'the trained model and the state to go on from' },
  { path: 'report.json', purpose: 'the figures of this page' },
];

/** A run that has ended. */
export interface EndedRun {
  readonly setting: Setting;
  readonly plan: RunPlan;
  readonly run: RunResult;
  readonly text: ByteText;
  readonly started: Date;
  readonly folder: RunFolder;
}

function factsOf({ setting, plan, text, started, folder }: EndedRun): RunFacts {
  const { config } = setting;
  return {
    run: folder.name,
    started,
    seconds: (Date.now() - started.getTime()) / 1e3,
    command: ['monta', 'train', ...process.argv.slice(3)].join(' '),
    text: { name: text.name, unigram: unigramCrossEntropy(text) },
    evaluationBatches: jobOf(setting, plan.chosen.strategy).evaluationBatches,
    host: describeHost(),
    ranOn: ranOnOf(setting),
    network: hasOwnNetwork(config.backend) ? 'links' : onCards(config.backend) ? 'none' : 'memory',
    configuration: trainConfigDocument(config),
    files,
  };
}

/** Writes what a run leaves when it has ended: one step of the chosen way, predicted and measured, and the report. */
export function writeReport(ended: EndedRun): RunReport {
  const { setting, plan, run, folder } = ended;
  const measured = lastStep(ofWay(run.result.trace, run.turns, 0));
  const { timeScale } = measured;
  folder.write('trace.json', perfettoPieces([{ ...plan.chosen.predicted.trace, timeScale }, measured]));
  const report = fillReport({ setting, plan, run, facts: factsOf(ended) });
  folder.writeJson('report.json', report);
  folder.write('report.html', renderReport(report));
  return report;
}
