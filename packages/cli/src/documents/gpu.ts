/**
 * Writes docs/gpu.md from docs/gpu.json and docs/gpu-nodes.json, which a GPU bundle's `run` wrote on hosts with one
 * card and with two: `npm run docs:gpu`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { GpuReport } from '@monta/runtime/bench/cuda';
import { gpuNodesText } from './gpu-nodes-page.js';
import { gpuPage } from './gpu-page.js';

const at = (name: string): string => fileURLToPath(new URL(`../../../../docs/${name}`, import.meta.url));
const read = (name: string): GpuReport => JSON.parse(readFileSync(at(name), 'utf8')) as GpuReport;
const nodes = existsSync(at('gpu-nodes.json')) ? `\n${gpuNodesText(read('gpu-nodes.json'))}` : '';
writeFileSync(at('gpu.md'), `${gpuPage(read('gpu.json'))}${nodes}`);
process.stdout.write('wrote docs/gpu.md\n');
