import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { GpuReport } from '@monta/runtime/bench/cuda';
import { gpuNodesText } from './gpu-nodes-page.js';
import { gpuPage } from './gpu-page.js';

const docs = new URL('../../../../docs/', import.meta.url);
const read = (name: string): GpuReport => JSON.parse(readFileSync(new URL(name, docs), 'utf8')) as GpuReport;
const report = read('gpu.json');

describe('the page about GPUs', () => {
  it('is the one in docs: npm run docs:gpu was run after the last change', () => {
    const both = `${gpuPage(report)}\n${gpuNodesText(read('gpu-nodes.json'))}`;
    expect(both).toBe(readFileSync(new URL('gpu.md', docs), 'utf8'));
  });

  it('says which card, driver and date, and sets the fastest way beside each peer', () => {
    const time = (name: string, milliseconds: number) => ({ name, milliseconds, runs: [milliseconds] });
    const layer = {
      Q: {
        shape: { tokens: 8, hidden: 8, ffn: 8, experts: 2, picks: 1, renormalise: true },
        flops: 1e12,
        monta: [time('slow', 5), time('fast', 4)],
        peers: [time('theirs', 6), { name: 'absent', milliseconds: NaN, runs: [], error: 'no module\nat line 1' }],
      },
    };
    const page = gpuPage({ ...report, driver: '1.2.3', date: '2026-01-02', layer });
    expect(page).toContain('| driver | 1.2.3, CUDA 13.0');
    expect(page).toContain('| date | 2026-01-02 |');
    expect(page).toContain('| Q | fast | theirs | 1.50 |');
    expect(page).toContain('- Q: absent did not run: no module');
    expect(page).not.toContain('| Q | absent |');
  });
});
