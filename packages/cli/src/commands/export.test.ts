import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-export-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

it('turns what plan printed into a script that lint has nothing to say of', async () => {
  const place = ['--model', 'tiny-bytes', '--cluster', 'h100-1x4', '--layout', 'tp=2,dp=2,ep=2,etp=1,sp'];
  const plan = await monta('plan', ...place, '--sequence', '256', '--no-flips', '--json');
  expect(plan.code).toBe(0);
  const path = file('plan.json', plan.out);
  for (const to of ['torchrun', 'slurm']) {
    const { code, out } = await monta('export', path, '--to', to, '--nearest');
    expect(code).toBe(0);
    const lint = await monta('lint', file(`${to}.sh`, out), '--cluster', 'h100-1x4', '--model', 'tiny-bytes');
    expect(lint.out).toContain('TP 2 · PP 1 · CP 1 · EP 2 · ETP 1 · 4 ranks');
    expect(lint.out).toContain('nothing to change');
    expect(lint.code).toBe(0);
  }
  const flags = await monta('export', path, '--to', 'megatron', '--nearest');
  expect((await monta('lint', file('flags.txt', flags.out), '--gpus', '4', '--cluster', 'h100-1x4')).out).toContain(
    'nothing to change',
  );
});

it('takes a plan by hand, with stages, and says why on each line', async () => {
  const path = file(
    'hand.json',
    JSON.stringify({
      model: 'deepseek-v3',
      cluster: 'h100-128x8',
      layout: 'tp=2,pp=8,ep=64,etp=1,sp',
      sequence: 4096,
      microBatches: 256,
      virtualStages: 4,
      recompute: ['core_attn', 'moe'],
    }),
  );
  const { code, out } = await monta('export', path, '--to', 'megatron');
  expect(code).toBe(0);
  expect(out).toMatch(/^--pipeline-model-parallel-layout 'Et.*\|.*mL' {2}# 61 layers do not fill 32 stages alike/mu);
  expect(out).toContain('--recompute-modules core_attn moe');
  expect(
    out
      .split('\n')
      .filter((line) => line.startsWith('--'))
      .every((line) => line.includes('  # ')),
  ).toBe(true);
  const bridge = await monta('export', path, '--to', 'bridge');
  expect(bridge.out).toContain('  expert_model_parallel_size: 64  # 256 experts, 4 a rank');
});

it('refuses what a framework cannot run, and gives the reasons of JSON beside it', async () => {
  const hand = (layout: string): string =>
    file(
      'ds.json',
      JSON.stringify({ model: 'mixtral-8x7b', cluster: 'h100-2x8', layout, sequence: 4096, microBatches: 4 }),
    );
  const refused = await monta('export', hand('tp=2,pp=2,ep=4,etp=1,sp'), '--to', 'deepspeed');
  expect(refused.code).toBe(2);
  expect(refused.err).toContain('2 pipeline stages');
  const taken = await monta('export', hand('tp=2,ep=8,etp=1,sp'), '--to', 'deepspeed');
  expect(taken.code).toBe(0);
  expect(JSON.parse(taken.out)).toMatchObject({
    train_batch_size: 32,
    expert_parallel: { enabled: true, autoep_size: 8 },
    tensor_parallel: { autotp_size: 2 },
  });
  expect(taken.err).toContain('zero_optimization.stage: optimizer states over the replicas');
  const none = await monta('export', file('none.json', '{"model":"mixtral-8x7b"}'), '--to', 'megatron');
  expect(none.code).toBe(2);
  expect(none.err).toContain('"cluster" is missing');
});
