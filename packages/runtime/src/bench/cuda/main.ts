/**
 * Tests and measures on this machine's cards, and writes one JSON: node main.js --out FILE [--parts
 * checks,shadow,training,…] [--peers] [--checks router,…] [--shapes M,Q] [--quick] [--seconds 400]. Parts over several
 * ranks, `verified` and `sanitizer` are cut at so many seconds each, and leave what they have; others run to their
 * end. `nodes` means most on two cards or more. Exit code 1 where a check did not pass or a part failed; being cut is
 * no failure.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkNames, runCheck, summarize, type CheckSummary } from '../../device/cuda/checks/index.js';
import { cudaAvailable } from '../../device/cuda/bindings/index.js';
import { CudaContext } from '../../device/cuda/context.js';
import { measureModel } from './model.js';
import { cardsHost, measureNodes } from './nodes.js';
import { measureLinks } from './links.js';
import { measureParallel, type ParallelReport } from './parallel.js';
import { measurePredicted, type PredictedReport } from './predicted.js';
import { reportRevision, type ReportPart } from './report.js';
import { runSanitizer, type SanitizerReport, type SanitizerRun } from './sanitizer.js';
import { isNothing, lookAtHost, measureStarts, type StartsReport } from './starts.js';
import { measureVerified, type VerifiedModel } from './verified.js';
import { OutOfTime } from '../../launch/bounded-launcher.js';
import { writeFileAtomically } from '../../files/disk.js';
import { boundedLauncher, cardsHere, ncclLauncher } from '../../launch/index.js';
import { measureAttention } from './attention.js';
import { measureRates } from './rates.js';
import { followSteps, type KernelDifference } from './shadow.js';
import { otherSteps, smallModels } from './small-models.js';
import { compareTraining, type TrainingComparison } from './training.js';
import { layerShapes, layerTable, measureLayer, type LayerMeasurement } from './layer.js';

const parts: { readonly [Part in ReportPart]: (context: CudaContext, options: Options) => unknown } = {
  checks: runChecks,
  shadow: runShadow,
  training: runTraining,
  model: (_context, { peers }) => measureModel(peers),
  rates: (context) => measureRates(context),
  attention: (context) => measureAttention(context),
  layer: measureLayers,
  nodes: (context, options) => runNodes('nodes', context, options),
  choices: (context, options) => runNodes('choices', context, options),
  starts: runStarts,
  links: (_context, { seconds, save }) => measureLinks({ seconds, say, onReport: (links) => save('links', links) }),
  verified: runVerified,
  sanitizer: runTools,
  predicted: runPredicted,
  parallel: runParallel,
};

/** Without `--parts`: what one card runs within some ten minutes. */
const usualParts: readonly ReportPart[] = ['checks', 'shadow', 'training', 'model', 'rates', 'attention', 'layer'];

const say = (text: string): void => void process.stdout.write(`${text}\n`);

function isPart(name: string): name is ReportPart {
  return Object.hasOwn(parts, name);
}

interface Options {
  readonly peers: boolean;
  /** Only a minute's worth of the parts that can be cut short. */
  readonly quick: boolean;
  /** Writes what a part has so far. */
  readonly save: (part: ReportPart, result: unknown) => void;
  /** Names of checks of kernels. */
  readonly checks: readonly string[];
  /** Names of layer shapes. */
  readonly shapes: readonly string[];
  /** For parts that can be cut. */
  readonly seconds: number;
  /** Checkpoints with what they must give. */
  readonly fixtures: string;
}

const runNodes = (part: 'nodes' | 'choices', context: CudaContext, { quick, seconds, save }: Options) =>
  measureNodes({
    host: cardsHost(context.facts.totalBytes),
    quick,
    choicesAlone: part === 'choices',
    seconds,
    say,
    onReport: (nodes) => save(part, nodes),
  });

/** As many as are asked for of jobs over NCCL. */
const [startsAsked, startRanks, settleSeconds] = [100, 2, 15];

async function runStarts(_context: CudaContext, { seconds, save }: Options): Promise<StartsReport> {
  const report = await measureStarts({
    launcher: ncclLauncher(),
    ranks: startRanks,
    count: startsAsked,
    seconds: seconds - settleSeconds,
    look: lookAtHost,
    settleSeconds,
    onReport: (soFar) => {
      save('starts', soFar);
      say(`${soFar.done} starts and stops`);
    },
  });
  const { done, failed, left, medianSeconds } = report;
  say(`${done} starts and stops of ${startRanks} ranks, ${medianSeconds.toFixed(2)} s each, ${failed.length} failed`);
  say(isNothing(left) ? 'nothing is left' : `left: ${JSON.stringify(left)}`);
  if (failed.length > 0 || !isNothing(left)) process.exitCode = 1;
  return report;
}

async function runVerified(
  _context: CudaContext,
  { seconds, fixtures, save }: Options,
): Promise<readonly VerifiedModel[]> {
  return await measureVerified(fixtures, {
    seconds,
    onModel: (all) => {
      save('verified', all);
      const one = all.at(-1);
      if (one === undefined) return;
      const { model, dtype, passed, worst, problem } = one;
      const far = worst && `${worst.quantity} ${worst.error.toExponential(1)} of ${worst.tolerance}`;
      say(`${model}, ${dtype}: ${passed ? 'passed' : 'FAILED'}, ${far ?? problem ?? ''}`);
      if (!passed) process.exitCode = 1;
    },
  });
}

/** The checks of kernels once more, under each tool, in processes of their own. */
async function runTools(_context: CudaContext, { seconds, save }: Options): Promise<SanitizerReport> {
  const own = fileURLToPath(import.meta.url);
  const runs: SanitizerRun[] = [];
  const report = await runSanitizer({
    command: (without) => {
      const names = checkNames.filter((name) => !without.includes(name)).join(',');
      return [process.execPath, own, '--parts', 'checks', '--checks', names, '--out', '/dev/null'];
    },
    seconds,
    onRun: (run) => {
      runs.push(run);
      save('sanitizer', { runs });
      const errors = run.errors === undefined ? 'no summary' : `${run.errors} errors`;
      say(`${run.tool}: ${errors}, ${run.seconds.toFixed(0)} s`);
    },
  });
  if (report.program === undefined) say('compute-sanitizer is not here');
  if (runs.some(({ errors }) => errors !== 0)) process.exitCode = 1;
  return report;
}

async function runPredicted(): Promise<PredictedReport> {
  const report = await measurePredicted();
  for (const what of ['step', 'layer'] as const) {
    const { predictedSeconds, measuredSeconds } = report[what];
    const off = 100 * (predictedSeconds / measuredSeconds - 1);
    say(
      `${what}: ${(1e3 * predictedSeconds).toFixed(2)} ms predicted, ${(1e3 * measuredSeconds).toFixed(2)} ms ` +
        `measured, ${off.toFixed(1)} %`,
    );
  }
  return report;
}

/** Over all cards of the host: each a rank of one expert group. */
async function runParallel(_context: CudaContext, { seconds, save }: Options): Promise<ParallelReport> {
  const end = performance.now() + seconds * 1e3;
  const ranks = 2 ** Math.floor(Math.log2(cardsHere()));
  return await measureParallel({
    launcher: boundedLauncher(ncclLauncher(), { end, stuckAfterSeconds: 60 }),
    ranks,
    dtype: 'bf16',
    seconds,
    onReport: (soFar) => {
      save('parallel', soFar);
      for (const { name, medianSeconds } of [...soFar.monta, ...(soFar.peer === undefined ? [] : [soFar.peer])])
        say(`${name}: ${(1e3 * medianSeconds).toFixed(2)} ms`);
      if (soFar.problem !== undefined) say(`PyTorch: ${soFar.problem}`);
    },
  });
}

async function measureLayers(
  _context: CudaContext,
  { peers, shapes, save }: Options,
): Promise<Record<string, LayerMeasurement>> {
  const measured: Record<string, LayerMeasurement> = {};
  for (const name of shapes) {
    measured[name] = await measureLayer(layerShapes[name], peers);
    save('layer', measured);
    process.stdout.write(`${layerTable(name, measured[name])}\n`);
  }
  return measured;
}

function runChecks(context: CudaContext, { checks }: Options): CheckSummary[] {
  // A seed of its own in every run: inputs are fresh, and the output says which.
  const seed = Date.now() % 2 ** 31;
  process.stdout.write(`checks with seed ${seed}\n`);
  return checks.map((name) => {
    const summary = summarize(name, runCheck(context, name, seed));
    const { compared, failed } = summary;
    process.stdout.write(`${name}: ${compared - failed.length} of ${compared} passed\n`);
    for (const { check, storage, error, bound } of failed)
      process.stdout.write(`  ${storage} ${check}: ${error} > ${bound}\n`);
    if (failed.length > 0) process.exitCode = 1;
    return summary;
  });
}

/** Relative to the CPU's output, from the same operands: sums in another order, no more. */
const kernelBound = 1e-4;

/** Every kernel of training steps beside the CPU's, launch by launch. */
function runShadow(): Record<string, KernelDifference[]> {
  const runs = [
    ...smallModels.map((model) => ({ name: model.name, differences: followSteps(model, 2) })),
    ...otherSteps.map(({ model, name, changes }) => ({
      name: `${model.name}, ${name}`,
      differences: followSteps(model, 2, changes),
    })),
  ];
  for (const { name, differences } of runs) {
    const bad = differences.filter(({ worst }) => !(worst <= kernelBound));
    process.stdout.write(`${name}: ${differences.length - bad.length} of ${differences.length} kernels agree\n`);
    for (const { kernel, role, worst } of bad)
      process.stdout.write(`  ${kernel}, ${role}: ${worst.toExponential(1)} > ${kernelBound}\n`);
    if (bad.length > 0) process.exitCode = 1;
  }
  return Object.fromEntries(runs.map(({ name, differences }) => [name, differences]));
}

/** Losses of both must agree to this, nats. */
const lossBound = 1e-3;

function runTraining(): TrainingComparison[] {
  return compareTraining().map((one) => {
    const { model, steps, lossDifference, normDifference, sameBits, cpu, cuda } = one;
    process.stdout.write(
      `${model}: ${steps} steps, loss ${cpu.losses[0].toFixed(4)} to ${cpu.losses[steps - 1].toFixed(4)} on the CPU, ` +
        `${cuda.losses[steps - 1].toFixed(4)} on the card; differ by ${lossDifference.toExponential(1)}, norms by ` +
        `${normDifference.toExponential(1)}; ${sameBits ? 'the same bits again' : 'OTHER BITS AGAIN'}\n`,
    );
    if (!(lossDifference <= lossBound) || !sameBits) process.exitCode = 1;
    return one;
  });
}

const isPlace = (option: string): boolean => option === '--out' || option === '--fixtures';

function driverVersion(): string | undefined {
  try {
    return execFileSync('nvidia-smi', ['--query-gpu=driver_version', '--format=csv,noheader'], { encoding: 'utf8' })
      .split('\n', 1)[0]
      .trim();
  } catch {
    return undefined;
  }
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'gpu.json' },
      parts: { type: 'string', default: usualParts.join(',') },
      checks: { type: 'string', default: checkNames.join(',') },
      shapes: { type: 'string', default: Object.keys(layerShapes).join(',') },
      peers: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      seconds: { type: 'string', default: '400' },
      help: { type: 'boolean', default: false },
      fixtures: { type: 'string', default: fileURLToPath(new URL('../../../../../fixtures/hf', import.meta.url)) },
    },
  });
  return values;
}

/** Of `--checks`. Throws on a name that is none. */
function knownChecks(text: string): string[] {
  const names = text.split(',');
  const unknown = names.filter((name) => !checkNames.includes(name));
  if (unknown.length > 0) throw new Error(`--checks ${unknown.join(',')}: known are ${checkNames.join(', ')}`);
  return names;
}

async function main(): Promise<void> {
  const values = readArguments();
  if (values.help) {
    say(`node ${process.version}; parts: ${Object.keys(parts).join(', ')}; usual: ${usualParts.join(', ')}`);
    say('NVLink multicast is off unless NCCL_NVLS_ENABLE is set.');
    return;
  }
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds}: a number above 0 is expected`);
  const { devices, reason = 'none is installed' } = cudaAvailable();
  if (devices === 0) throw new Error(`no CUDA device here: ${reason}`);
  const context = new CudaContext();
  const report: Record<string, unknown> = {
    revision: reportRevision,
    card: context.facts,
    driver: driverVersion(),
    node: process.version,
    date: new Date().toISOString(),
    // Without the places of files, which say nothing.
    command: process.argv.slice(2).filter((part, at, all) => !isPlace(part) && !isPlace(all[at - 1] ?? '')),
    cudnn: context.libraries.cudnn.version,
    multicast: process.env['NCCL_NVLS_ENABLE'] !== '0',
  };
  const { name, architecture, driverCuda } = context.facts;
  process.stdout.write(`${name}, ${architecture}, driver ${String(report['driver'])}, CUDA ${driverCuda}\n`);
  const write = (): void => {
    writeFileAtomically(values.out, `${JSON.stringify(report, undefined, 1)}\n`);
  };
  const save: Options['save'] = (part, result) => {
    report[part] = result;
    write();
  };
  const errors: Partial<Record<ReportPart, string>> = {};
  const { peers, quick, fixtures } = values;
  const options = {
    peers,
    quick,
    seconds,
    fixtures,
    checks: knownChecks(values.checks),
    shapes: values.shapes.split(','),
    save,
  };
  for (const part of values.parts.split(',')) {
    if (!isPart(part)) throw new Error(`${part} is no part: ${Object.keys(parts).join(', ')}`);
    const start = performance.now();
    try {
      save(part, await parts[part](context, options));
    } catch (error) {
      process.stdout.write(`${part}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      // Beside what it had saved by then; without the stack, which names places on this machine.
      errors[part] = error instanceof Error ? error.message : String(error);
      report['errors'] = errors;
      write();
      if (!(error instanceof OutOfTime)) process.exitCode = 1;
    }
    process.stdout.write(`${part}: ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
  }
  context.close();
}

await main();
// Whatever a part has left open.
process.exit();
