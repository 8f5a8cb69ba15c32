/**
 * Writes docs/gpu.md from docs/gpu.json, docs/gpu-nodes.json (of one card; gpu-nodes-2.json of two, and so on) and
 * docs/gpu-PART.json, which a GPU bundle's `run` wrote on hosts with cards: `npm run docs:gpu`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { GpuReport } from '@monta/runtime/bench/cuda';
import { gpuDocument } from './gpu-document.js';

const at = (name: string): string => fileURLToPath(new URL(`../../../../docs/${name}`, import.meta.url));
const read = (name: string): GpuReport | undefined =>
  existsSync(at(name)) ? (JSON.parse(readFileSync(at(name), 'utf8')) as GpuReport) : undefined;
writeFileSync(at('gpu.md'), gpuDocument(read));
process.stdout.write('wrote docs/gpu.md\n');
