/** Large files within bounded memory: a checkpoint of 2 GB that a run saves and goes on from, a trace of 10^6 spans. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { completeModel, countParameters, perfettoPieces, resolveLayout, type MoeModel, type Span } from '@monta/core';
import { stepFolderName } from '#runtime/checkpoint/index.js';
import type { TrainJob } from '#runtime/train/index.js';
import { smallJob, smallText } from './small-job.js';

/** What may be used beside the model's own state. */
export const mostBytes = 512 * 2 ** 20;
const stateBytes = 2e9;
/** A weight and the two moments of AdamW, float32. */
const savedBytesOfParameter = 12;
/** In memory there is a gradient too. */
const heldBytesOfParameter = 16;

export interface LargeRow {
  readonly what: string;
  readonly 'file, MB': number;
  readonly 'peak RSS, MiB': number;
  readonly 'model, MiB': number;
  readonly 'beside it, MiB': number;
}

/** One layer, and a vocabulary that makes its state at least so large. */
function largeModel(bytes: number): MoeModel {
  const { model } = smallJob('', '').step;
  const hiddenSize = 128;
  const vocabSize = 8192 * Math.ceil(bytes / savedBytesOfParameter / (2 * hiddenSize) / 8192);
  return completeModel({ ...model, name: 'large vocabulary', hiddenSize, vocabSize });
}

/** Runs a program of this Node and returns what it wrote, and the most resident memory that it had, bytes. */
function measured(program: string, words: readonly string[]): { out: string; peak: number } {
  const say =
    'data:text/javascript,' +
    encodeURIComponent(
      'import { isMainThread } from "node:worker_threads";' +
        'const peak = () => process.stderr.write(`\\npeak ${process.resourceUsage().maxRSS}\\n`);' +
        'if (isMainThread) process.on("exit", peak)',
    );
  const ran = spawnSync(process.execPath, ['--import', say, program, ...words], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  const peak = /^peak (\d+)$/mu.exec(ran.stderr)?.[1];
  if (ran.status !== 0 || peak === undefined) throw new Error(`${words[0]} ended with ${ran.status}: ${ran.stderr}`);
  return { out: ran.stdout, peak: Number(peak) * 1024 };
}

const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);

const row = (what: string, file: number, peak: number, model: number): LargeRow => ({
  what,
  'file, MB': Math.round(file / 1e6),
  'peak RSS, MiB': mebibytes(peak),
  'model, MiB': mebibytes(model),
  'beside it, MiB': mebibytes(peak - model),
});

/** All files of a checkpoint with their digests, without the folder's own record of where the run saves. */
function tensorFiles(folder: string): { readonly bytes: number; readonly digests: string } {
  const { files } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
    files: Record<string, { bytes: number; sha256: string }>;
  };
  const tensors = Object.entries(files).filter(([name]) => name.endsWith('.safetensors'));
  return { bytes: tensors.reduce((sum, [, { bytes }]) => sum + bytes, 0), digests: JSON.stringify(tensors) };
}

/**
 * A run on two ranks saves a state of 2 GB after each of two steps; another goes on from the first, and must save the
 * second with the same bits. Throws when it does not.
 */
export function largeCheckpoint(root: string, bytes = stateBytes): LargeRow[] {
  const text = join(root, 'text.txt');
  writeFileSync(text, smallText);
  const model = largeModel(bytes);
  const [whole, resumed] = [join(root, 'whole'), join(root, 'resumed')];
  const job: TrainJob = {
    ...smallJob(text, whole, 2),
    steps: 2,
    step: { ...smallJob(text, whole).step, model, layout: resolveLayout({ tp: 2, ep: 1 }) },
  };
  const main = fileURLToPath(new URL('./run.main.js', import.meta.url));
  const run = (given: TrainJob): number => measured(main, ['local', JSON.stringify(given)]).peak;
  const saving = run(job);
  const goingOn = run({
    ...job,
    checkpoint: { folder: resumed, every: 1, keep: 1 },
    resume: join(whole, stepFolderName(1)),
  });
  const [a, b] = [whole, resumed].map((folder) => tensorFiles(join(folder, stepFolderName(2))));
  if (a.digests !== b.digests) throw new Error('the run that went on from 2 GB saved other bits');
  const own = countParameters(model).total * heldBytesOfParameter;
  for (const folder of [whole, resumed]) rmSync(folder, { recursive: true });
  return [
    row('a run that saves', a.bytes, saving, own),
    row('a run that goes on from it, and saves', b.bytes, goingOn, own),
  ];
}

/** `monta calibrate` on a trace of 10^6 spans, half of them collectives. */
export function largeTrace(root: string, spans = 1e6): LargeRow {
  const path = join(root, 'trace.json');
  writeTrace(path, spans);
  const cli = fileURLToPath(new URL('../../../cli/dist/main.js', import.meta.url));
  const output = join(root, 'calibration.json');
  const words = ['calibrate', path, '--cluster', 'h100-1x8', '--output', output, '--json'];
  const { out, peak } = measured(cli, words);
  if (!out.includes('"all_to_all"')) throw new Error(`monta calibrate found no collective: ${out.slice(0, 200)}`);
  return row(`monta calibrate, ${spans} spans`, statSync(path).size, peak, 0);
}

const traceRanks = 8;
const members = Array.from({ length: traceRanks }, (_, rank) => rank);

/** Writes a trace of a run: kernels and collectives of several sizes in turn, on all ranks. */
function writeTrace(path: string, count: number): void {
  const spans = Array.from({ length: count }, (_, number): Span => {
    const step = Math.floor(number / (2 * traceRanks));
    const collective = number % (2 * traceRanks) >= traceRanks;
    const bytes = collective ? 2 ** (12 + (step % 10)) : 0;
    const begin = step * 1e-2 + (collective ? 5e-3 : 0);
    const end = begin + 1e-4 + bytes / 1e9;
    const task = collective ? 'exchange' : 'compute';
    return {
      step,
      rank: number % traceRanks,
      node: 0,
      operation: `layer/${task}`,
      template: 'layer',
      task,
      chunk: 0,
      of: 1,
      lane: collective ? 'inter' : 'compute',
      issued: begin,
      ready: begin,
      end,
      bytes,
      ...(collective ? { collective: { name: 'all_to_all', group: 'ep', members } as const } : {}),
    };
  });
  const file = openSync(path, 'w');
  try {
    const trace = { kind: 'measured', source: 'made for a test', ranks: traceRanks, timeScale: 1, spans } as const;
    for (const piece of perfettoPieces([trace])) writeSync(file, piece);
  } finally {
    closeSync(file);
  }
}
