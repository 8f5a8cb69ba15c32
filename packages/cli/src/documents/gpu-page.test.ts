import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkNames, type GpuReport } from '@monta/runtime/bench/cuda';
import { gpuDocument } from './gpu-document.js';
import { gpuNodesText } from './gpu-nodes-page.js';
import { gpuPage } from './gpu-page.js';
import { gpuRunsText } from './gpu-runs-page.js';

const docs = new URL('../../../../docs/', import.meta.url);
const read = (name: string): GpuReport => JSON.parse(readFileSync(new URL(name, docs), 'utf8')) as GpuReport;
const report = read('gpu.json');

describe('the page about GPUs', () => {
  it('is the one in docs: npm run docs:gpu was run after the last change', () => {
    const document = gpuDocument((name) => (existsSync(new URL(name, docs)) ? read(name) : undefined));
    expect(document).toBe(readFileSync(new URL('gpu.md', docs), 'utf8'));
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

  it('has a section of every run of its own, and says what no card has run', () => {
    const place = { ranks: 2, asked: 100, done: 40, failed: [], medianSeconds: 3, slowestSeconds: 4 };
    const left = { processes: [], services: ['7 mps'], files: [], cardBytes: 2 ** 21 };
    const compared = { predictedSeconds: 0.011, measuredSeconds: 0.01 };
    const kernels = [{ kernel: 'moe.forward experts', ...compared }];
    const rows = [{ bytes: 2 ** 21, seconds: 1e-3, wrong: 0 }];
    const table = { kind: 'tp', lane: 'intra', groups: [[0, 1]], nodes: 1, op: 'all_gather', rows } as const;
    const text = gpuRunsText({
      starts: { ...report, command: ['--parts', 'starts'], starts: { ...place, left } },
      predicted: {
        ...report,
        predicted: { layers: 6, tokens: 8, probeSeconds: 9, step: compared, layer: compared, kernels },
      },
      links: { ...report, links: { cards: 2, layout: 'tp=2', tables: [table], tablesNotBegun: 3 } },
    });
    expect(text).toContain('| 2 | 100 | 40 | 0 | 3.00 | 4.00 | service 7 mps; 2 MiB of cards |');
    expect(text).toContain('| the step | 11.00 | 10.00 | 10.0 % |');
    expect(text).toContain('| all_gather | 1 x tp of 2 on 1, intra | 2 | 1.00 | 2.10 | 1.05 | 0 |');
    expect(text).toContain('3 tables were cut off by time.');
    expect(text).toMatch(/No card has run them.*--parts verified --seconds 400.*--parts sanitizer/su);
    const errors = { sanitizer: 'no driver\nat', starts: 'it was late' };
    expect(gpuRunsText({ sanitizer: { ...report, errors } })).toContain('It did not run to its end: no driver');
    const way = (name: string, seconds: number) => ({ name, seconds: [seconds, 2 * seconds], medianSeconds: seconds });
    const parallel = { ranks: 2, tokens: 8192, model: 'm', monta: [way('slow', 0.004), way('fast', 0.002)] };
    const beside = gpuRunsText({
      parallel: { ...report, parallel: { ...parallel, peer: { ...way('theirs', 0.003), torch: '2.11' } } },
    });
    expect(beside).toMatch(/\| fast \| 2\.00 \| 2\.00 to 4\.00 \| 1\.50 \|\n\| slow .*\| 0\.75 \|\n\| theirs /u);
    const alone = gpuRunsText({ parallel: { ...report, parallel: { ...parallel, problem: 'no torch\nat' } } });
    expect(alone).toMatch(/\| fast \| 2\.00 \| 2\.00 to 4\.00 \| – \|.*PyTorch did not run: no torch\n/su);
    const cut = gpuRunsText({ starts: { ...report, errors, starts: { ...place, left } } });
    const shared = { ...report, note: 'On one card.', starts: { ...place, done: 100, left } };
    const twice = gpuRunsText({ starts: { ...report, starts: { ...place, left } } }, { further: { starts: shared } });
    expect(twice).toMatch(/\| 2 \| 100 \| 40 \|.*another run\. On one card\.\n.*\| 2 \| 100 \| 100 \|/su);
    expect(cut).toMatch(/\| 2 \| 100 \| 40 \|.*It did not run to its end: it was late/su);
  });

  it('says of one card what stands on the page, by the reports that are there', () => {
    const older = report.checks.filter(({ name }) => name !== 'rows in fp8');
    const reports: Record<string, GpuReport> = {
      'gpu.json': { ...report, checks: older },
      'gpu-nodes.json': read('gpu-nodes.json'),
    };
    const page = (): string => gpuDocument((name) => reports[name]);
    expect(page()).toContain('**between two cards, with NVLink inside a node, nothing was measured**');
    expect(page()).toMatch(/## Checks that no card has run\n\n.*rows in fp8/u);
    expect(page()).toMatch(/No card has run them.*--parts starts/su);
    const nodes = { ...read('gpu-nodes.json').nodes, cards: 2 } as GpuReport['nodes'];
    reports['gpu-nodes-2.json'] = { ...read('gpu-nodes.json'), nodes };
    const [first] = report.checks;
    const failed = [{ ...first.worst, passed: false, problem: 'no such kernel\nat line 1' }];
    const checks = checkNames.map((name) => ({ ...first, name, failed: name === 'rows in fp8' ? failed : [] }));
    // As JSON keeps what is not a number.
    const kept = JSON.parse(JSON.stringify([{ ...first, worst: { ...first.worst, error: NaN } }, ...checks])) as never;
    reports['gpu-checks.json'] = { ...report, command: ['--parts', 'checks,shadow'], checks: kept };
    expect(page()).toContain('Between cards, with NVLink inside a node, the section above was measured.');
    expect(page()).not.toMatch(/nothing was measured|no card has run/u);
    expect(page()).toContain('- Failed: rows in fp8, ');
    expect(page()).toContain(': no such kernel\n');
    expect(page()).toContain('| not a number |');
    expect(page()).toMatch(/## Kernels beside the CPU\n\n.*`\.\/run gpu-checks\.json --parts checks,shadow`/u);
  });

  it("sets a model's rate beside the datasheet's of the card, where it is known", () => {
    expect(gpuPage(report)).toMatch(/\| Monta \| [\d.]+ \| \d+ \| \d+ \| \d\d\.\d % \|/u);
    const strange = gpuPage({ ...report, card: { ...report.card, name: 'somebody else' } });
    expect(strange).toMatch(/\| Monta \| [\d.]+ \| \d+ \| \d+ \| – \|/u);
    expect(strange).not.toContain('989 TFLOP/s');
  });

  it('says what is older than the program, until newer reports come', () => {
    const compared = { predictedSeconds: 0.011, measuredSeconds: 0.01 };
    const predicted = { layers: 1, tokens: 8, probeSeconds: 9, step: compared, layer: compared, kernels: [] };
    const parallel = { ranks: 2, tokens: 8, model: 'm', monta: [] };
    const reports: Record<string, GpuReport> = {
      'gpu.json': { ...report, model: undefined },
      'gpu-predicted.json': { ...report, revision: 1, model: undefined, predicted },
      'gpu-parallel.json': { ...report, revision: 1, model: undefined, parallel },
    };
    const page = (): string => gpuDocument((name) => reports[name]);
    expect(page()).toContain('Figures of `predicted`, `parallel` are older: of the loop alone');
    reports['gpu-predicted.json'] = { ...report, revision: 2, predicted };
    expect(page()).toContain('Figures of `parallel` are older: of the loop alone');
    reports['gpu-parallel.json'] = { ...report, revision: 2, parallel };
    expect(page()).not.toMatch(/are older|loop alone/u);
    expect(page()).toContain('## Not here yet');
    reports['gpu.json'] = { ...report, revision: 1 };
    expect(page()).toContain('Figures of `model` are older');
  });

  it('moves a part from what no card has run to a section of its own as soon as its report is there', () => {
    const reports: Record<string, GpuReport> = { 'gpu.json': report };
    const page = (): string => gpuDocument((name) => reports[name]);
    const sections: Record<string, Partial<GpuReport>> = {
      checks: { checks: report.checks },
      verified: { verified: [] },
      sanitizer: { sanitizer: { runs: [] } },
      starts: {
        starts: {
          ranks: 2,
          asked: 1,
          done: 1,
          failed: [],
          medianSeconds: 1,
          slowestSeconds: 1,
          left: { processes: [], services: [], files: [], cardBytes: 0 },
        },
      },
      links: { links: { cards: 1, layout: 'tp=1', tables: [], tablesNotBegun: 0 } },
      parallel: { parallel: { ranks: 1, tokens: 8, model: 'm', monta: [] } },
    };
    for (const [part, found] of Object.entries(sections)) {
      const listed = new RegExp(`## Not run on a card.*\\./run gpu-${part}\\.json`, 'su');
      const own = new RegExp(`\\n## [^\\n]+\\n\\n${report.card.name}[^\\n]*\\./run gpu-${part}\\.json`, 'u');
      // Checks stand in the report of everything.
      expect(listed.test(page())).toBe(part !== 'checks');
      expect(page()).not.toMatch(own);
      reports[`gpu-${part}.json`] = { ...report, command: ['--parts', part], ...found };
      expect(page()).toMatch(own);
      expect(page()).not.toMatch(listed);
    }
  });

  it('computes the bars of several cards from their run', () => {
    const { nodes, ...rest } = read('gpu-nodes.json');
    const text = gpuNodesText({ ...rest, nodes: { ...nodes, cards: 2 } });
    expect(text).toContain('# On 2 GPUs');
    expect(gpuNodesText({ ...rest, nodes }, { file: 'gpu-nodes-8.json' })).toContain('`./run gpu-nodes-8.json --parts');
    expect(text).toMatch(/\| the best exchange reaches its ceiling \| 97 % \| 54\.1 % \| no \|/u);
    // Where the choice is called by its chunks too.
    const [layer] = nodes?.between?.strategies ?? [];
    const pass = (name: 'forward' | 'backward', chunks: number, medianSeconds: number, boundSeconds: number) => ({
      ...layer.passes[0],
      pass: name,
      name: 'sliced',
      chunks,
      medianSeconds,
      boundSeconds,
    });
    const passes = [pass('forward', 1, 5, 9), pass('forward', 4, 3, 2), pass('backward', 1, 4, 3), ...layer.passes];
    const strategies = [{ ...layer, passes, plan: { label: 'pipelined, 4 / 1 chunks', seconds: 7 } }];
    const pipelined = { ...nodes, cards: 2, between: { ...nodes?.between, strategies } } as GpuReport['nodes'];
    expect(gpuNodesText({ ...rest, nodes: pipelined })).toContain('| at most 1.10x | 1.40x | no |');
    expect(text).toMatch(
      /\| the plan's choice is the fastest or within 5 % \| 90 % of 40 layers \| 76\.5 % of 17 \| no \|/u,
    );
  });
});
