/**
 * Tests and measures on this machine's first card, and writes one JSON: node main.js --out FILE [--parts
 * checks,shadow,training,…] [--peers] [--shapes M,Q] [--quick]. `nodes` needs two cards. Exit code 1 where a check
 * did not pass or a part failed.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { strategyLabel } from '@monta/core';
import { checkNames, runCheck, summarize, type CheckSummary } from '../../device/cuda/checks/index.js';
import { cudaAvailable } from '../../device/cuda/bindings/index.js';
import { CudaContext } from '../../device/cuda/context.js';
import { measureModel } from './model.js';
import { measureNodes } from './nodes.js';
import type { ReportPart } from './report.js';
import { measureAttention } from './attention.js';
import { measureRates } from './rates.js';
import { followSteps, type KernelDifference } from './shadow.js';
import { otherStrategies, smallModels } from './small-models.js';
import { compareTraining, type TrainingComparison } from './training.js';
import { layerShapes, layerTable, measureLayer, type LayerMeasurement } from './layer.js';

const parts: { readonly [Part in ReportPart]: (context: CudaContext, options: Options) => unknown } = {
  checks: runChecks,
  shadow: runShadow,
  training: runTraining,
  model: (_context, { peers }) => measureModel(peers),
  rates: measureRates,
  attention: measureAttention,
  layer: measureLayers,
  nodes: (context, { quick, save }) =>
    measureNodes({ card: context.facts, quick, onReport: (nodes) => save('nodes', nodes) }),
};

/** Parts that one card can run. */
const oneCard = (Object.keys(parts) as ReportPart[]).filter((part) => part !== 'nodes');

function isPart(name: string): name is ReportPart {
  return Object.hasOwn(parts, name);
}

interface Options {
  readonly peers: boolean;
  /** Only a minute's worth of the parts that can be cut short. */
  readonly quick: boolean;
  /** Writes what a part has so far. */
  readonly save: (part: ReportPart, result: unknown) => void;
  /** Names of layer shapes. */
  readonly shapes: readonly string[];
}

async function measureLayers(
  _context: CudaContext,
  { peers, shapes }: Options,
): Promise<Record<string, LayerMeasurement>> {
  const measured: Record<string, LayerMeasurement> = {};
  for (const name of shapes) {
    measured[name] = await measureLayer(layerShapes[name], peers);
    process.stdout.write(`${layerTable(name, measured[name])}\n`);
  }
  return measured;
}

function runChecks(context: CudaContext): CheckSummary[] {
  // A seed of its own in every run: inputs are fresh, and the output says which.
  const seed = Date.now() % 2 ** 31;
  process.stdout.write(`checks with seed ${seed}\n`);
  return checkNames.map((name) => {
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
    ...otherStrategies.map((strategy) => ({
      name: `${smallModels[0].name}, ${strategyLabel(strategy)}`,
      differences: followSteps(smallModels[0], 2, strategy),
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

function driverVersion(): string | undefined {
  try {
    return execFileSync('nvidia-smi', ['--query-gpu=driver_version', '--format=csv,noheader'], { encoding: 'utf8' })
      .split('\n', 1)[0]
      .trim();
  } catch {
    return undefined;
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'gpu.json' },
      parts: { type: 'string', default: oneCard.join(',') },
      shapes: { type: 'string', default: Object.keys(layerShapes).join(',') },
      peers: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
    },
  });
  const { devices, reason = 'none is installed' } = cudaAvailable();
  if (devices === 0) throw new Error(`no CUDA device here: ${reason}`);
  const context = new CudaContext();
  const report: Record<string, unknown> = {
    card: context.facts,
    driver: driverVersion(),
    node: process.version,
    date: new Date().toISOString(),
    // Without the file's place, which says nothing.
    command: process.argv.slice(2).filter((part, at, all) => part !== '--out' && all[at - 1] !== '--out'),
    cudnn: context.libraries.cudnn.version,
  };
  const { name, architecture, driverCuda } = context.facts;
  process.stdout.write(`${name}, ${architecture}, driver ${String(report['driver'])}, CUDA ${driverCuda}\n`);
  const save: Options['save'] = (part, result) => {
    report[part] = result;
    writeFileSync(values.out, `${JSON.stringify(report, undefined, 1)}\n`);
  };
  const options = { peers: values.peers, quick: values.quick, shapes: values.shapes.split(','), save };
  for (const part of values.parts.split(',')) {
    if (!isPart(part)) throw new Error(`${part} is no part: ${Object.keys(parts).join(', ')}`);
    const start = performance.now();
    try {
      save(part, await parts[part](context, options));
    } catch (error) {
      const text = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
      process.stdout.write(`${part}: ${text}\n`);
      save(part, { error: text });
      process.exitCode = 1;
    }
    process.stdout.write(`${part}: ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
  }
  context.close();
}

await main();
