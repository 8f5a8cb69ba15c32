/**
 * Tests and measures on this machine's first card, and writes one JSON: node main.js --out FILE [--parts checks,rates,attention,layer] [--peers]
 * [--shapes M,Q]. Exit code 1 where a check did not pass or a part failed.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { checkNames, runCheck, summarize, type CheckSummary } from '../../device/cuda/checks/index.js';
import { cudaAvailable } from '../../device/cuda/bindings/index.js';
import { CudaContext } from '../../device/cuda/context.js';
import type { ReportPart } from './report.js';
import { measureAttention } from './attention.js';
import { measureRates } from './rates.js';
import { layerShapes, layerTable, measureLayer, type LayerMeasurement } from './layer.js';

const parts: { readonly [Part in ReportPart]: (context: CudaContext, options: Options) => unknown } = {
  checks: runChecks,
  rates: measureRates,
  attention: measureAttention,
  layer: measureLayers,
};

function isPart(name: string): name is ReportPart {
  return Object.hasOwn(parts, name);
}

interface Options {
  readonly peers: boolean;
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
      parts: { type: 'string', default: Object.keys(parts).join(',') },
      shapes: { type: 'string', default: Object.keys(layerShapes).join(',') },
      peers: { type: 'boolean', default: false },
    },
  });
  const options = { peers: values.peers, shapes: values.shapes.split(',') };
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
  for (const part of values.parts.split(',')) {
    if (!isPart(part)) throw new Error(`${part} is no part: ${Object.keys(parts).join(', ')}`);
    const start = performance.now();
    try {
      report[part] = await parts[part](context, options);
    } catch (error) {
      const text = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
      process.stdout.write(`${part}: ${text}\n`);
      report[part] = { error: text };
      process.exitCode = 1;
    }
    process.stdout.write(`${part}: ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
    writeFileSync(values.out, `${JSON.stringify(report, undefined, 1)}\n`);
  }
  context.close();
}

await main();
