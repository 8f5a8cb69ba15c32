/**
 * Writes docs/gpu.md from docs/gpu.json, which a GPU bundle's `run` wrote on a host with a card: `npm run docs:gpu`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { GpuReport } from '@monta/runtime/bench/cuda';
import { gpuPage } from './gpu-page.js';

const at = (name: string): string => fileURLToPath(new URL(`../../../../docs/${name}`, import.meta.url));
const report = JSON.parse(readFileSync(at('gpu.json'), 'utf8')) as GpuReport;
writeFileSync(at('gpu.md'), gpuPage(report));
process.stdout.write('wrote docs/gpu.md\n');
