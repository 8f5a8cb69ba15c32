/**
 * Tests and measures on this machine's first card, and writes one JSON: node main.js --out FILE [--parts checks,rates,attention,layer] [--peers]
 * [--shapes M,Q]. Exit code 1 where a
 * check did not pass.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { checkNames, runCheck, type CheckResult } from '../../device/cuda/checks/index.js';
import { cudaAvailable } from '../../device/cuda/bindings/index.js';
import { CudaContext } from '../../device/cuda/context.js';
import { measureAttention } from './attention.js';
import { measureRates } from './rates.js';
import { layerShapes, layerTable, measureLayer, type LayerMeasurement } from './layer.js';

const parts: Readonly<Record<string, (context: CudaContext, options: Options) => unknown>> = {
  checks: runChecks,
  rates: measureRates,
  attention: measureAttention,
  layer: measureLayers,
};

interface Options {
  readonly peers: boolean;
  /** Names of layer shapes. */
  readonly shapes: readonly string[];
}

async function measureLayers(_context: CudaContext, { peers, shapes }: Options): Promise<object> {
  const measured: Record<string, LayerMeasurement> = {};
  for (const name of shapes) {
    measured[name] = await measureLayer(layerShapes[name], peers);
    process.stdout.write(`${layerTable(name, measured[name])}\n`);
  }
  return measured;
}

function runChecks(context: CudaContext): CheckResult[] {
  // A seed of its own in every run: inputs are fresh, and the report says which.
  const seed = Date.now() % 2 ** 31;
  process.stdout.write(`checks with seed ${seed}\n`);
  return checkNames.flatMap((name) => {
    const results = runCheck(context, name, seed);
    const failed = results.filter(({ passed }) => !passed);
    process.stdout.write(`${name}: ${results.length - failed.length} of ${results.length} passed\n`);
    for (const { check, storage, error, bound } of failed)
      process.stdout.write(`  ${storage} ${check}: ${error} > ${bound}\n`);
    return results;
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
    command: process.argv.slice(2),
    cudnn: context.libraries.cudnn.version,
  };
  const { name, architecture, driverCuda } = context.facts;
  process.stdout.write(`${name}, ${architecture}, driver ${String(report['driver'])}, CUDA ${driverCuda}\n`);
  for (const part of values.parts.split(',')) {
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
  const { checks } = report;
  if (Array.isArray(checks) && (checks as CheckResult[]).some(({ passed }) => !passed)) process.exitCode = 1;
  context.close();
}

await main();
