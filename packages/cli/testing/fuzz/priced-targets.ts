/** Targets of the fuzzer that are priced once they are read: plans of searches, and tables of published runs. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCompare } from '#cli/commands/compare.js';
import { runExplain } from '#cli/commands/explain.js';
import { validateRunFiles } from '#cli/commands/validate-runs.js';
import { readTextFile } from '#cli/files.js';
import { Console } from '#cli/output/console.js';
import type { Target } from './targets.js';

const chosen = `
  "layout": "tp=2,dp=2,pp=2,ep=2,etp=1",
  "virtualStages": 2,
  "sequences": 1,
  "microBatches": 32,
  "schedule": "interleaved",
  "dispatcher": "deduplicated",
  "dispatch": "deduplicated",
  "sharing": "distributed-optimizer",
  "recompute": ["core_attn", "layernorm"],
  "overlap": { "tp": true, "ep": false, "dp": true, "pp": true },
  "expected": { "seconds": 3.5, "tokensPerSecondPerGpu": 9362, "mfu": 0.4, "memoryBytes": 70e9`;

const plan = `{
  "kind": "monta.plan",
  "version": 1,
  "model": "mixtral-8x7b",
  "cluster": "h100-1x8",
  "framework": "megatron",
  "sequence": 4096,
  "globalBatch": 64,
  "dtype": "bf16",
  "precision": "bf16",
  "states": "mixed",
  "stack": "fused",
  "imbalance": 1,${chosen}, "boundSeconds": 1.2, "basis": "scaled", "parts": { "compute": 2.5 } },
  "runnersUp": [{${chosen} }, "layersOfStages": [8, 8, 8, 8] }],
  "search": { "represented": 1000, "prunedByMemory": 10, "prunedByTime": 20, "priced": 970, "complete": true },
  "sources": ["a datasheet"]
}
`;

/** Reads the samples' sources from the repository; writes the samples into a folder. */
export function pricedTargets(folder: string, repository: string): Target[] {
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const silent = { isTTY: false, write: (): boolean => true };
  const console = new Console(silent, silent, {});
  const context = { process: { stdout: silent, stderr: silent }, console, env: {} };
  const runs = readFileSync(join(repository, 'packages/core/src/estimate/fixtures/published-runs.csv'), 'utf8');
  const searched = file('searched.json', plan);
  return [
    { name: 'plan of a search', sample: searched, read: (path) => runExplain(context, { json: true }, path) },
    { name: 'two plans', sample: searched, read: (path) => runCompare(context, { json: true }, searched, path) },
    {
      name: 'published runs',
      sample: file('runs.csv', runs.split('\n').slice(0, 24).join('\n')),
      read: (path) => validateRunFiles(console, [{ path, text: readTextFile(path) }], true),
    },
  ];
}
