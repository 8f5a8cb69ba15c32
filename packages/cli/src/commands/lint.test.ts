import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-lint-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function script(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const good = `#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=1
torchrun --nproc_per_node 8 --nnodes \${NNODES:-2} pretrain_gpt.py \\
  --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --num-experts 8 --disable-bias-linear \\
  --tensor-model-parallel-size 2 --sequence-parallel --expert-model-parallel-size 8 --expert-tensor-parallel-size 1 \\
  --moe-token-dispatcher-type alltoall --moe-router-dtype fp32 --moe-aux-loss-coeff 1e-2 --bf16
`;

it('says nothing of a script that is right, and what it took for granted', async () => {
  const { code, out, err } = await monta('lint', script('good.sh', good), '--cluster', 'h100-2x8');
  expect(code).toBe(0);
  expect(out).toContain('TP 2 · PP 1 · CP 1 · EP 8 · ETP 1 · 16 ranks · smallest world 8');
  expect(out).toContain('nothing to change');
  expect(err).toContain('$NNODES is not given: its default 2');
});

it('points at the line of what would stop the job, and ends with exit code 1', async () => {
  const path = script('bad.sh', good.replace('--expert-model-parallel-size 8', '--expert-model-parallel-size 3'));
  const { code, out } = await monta('lint', path, '--cluster', 'h100-2x8', '--json');
  expect(code).toBe(1);
  const [launch] = (JSON.parse(out) as { launches: { findings: { rule: string; line: number; mend: string }[] }[] })
    .launches;
  expect(launch?.findings.map(({ rule, line }) => `${rule} ${line}`)).toEqual(
    expect.arrayContaining(['experts-over-expert-parallel 5', 'world-size 5']),
  );
});

it('compares with a model, and writes SARIF', async () => {
  const { code, out } = await monta('lint', script('model.sh', good), '--model', 'mixtral-8x22b', '--sarif');
  expect(code).toBe(0);
  const log = JSON.parse(out) as {
    version: string;
    runs: { results: { ruleId: string; message: { text: string } }[] }[];
  };
  expect(log.version).toBe('2.1.0');
  expect(log.runs[0]?.results[0]?.message.text).toContain('--num-layers is 32, the model has 56');
});

it('reads bare flags, and refuses what has none', async () => {
  const bare = await monta(
    'lint',
    script('flags.txt', '--num-layers 4 --num-attention-heads 3 --tensor-model-parallel-size 2'),
  );
  expect(bare.code).toBe(1);
  expect(bare.out).toContain('num_attention_heads 3 is not divisible');
  const none = await monta('lint', script('none.sh', 'echo hello\n'));
  expect(none.code).toBe(2);
  expect(none.err).toContain('no run of Megatron-LM in it');
  expect((await monta('lint', script('again.sh', good), '--gpus', '0')).code).toBe(2);
});

it('reads a configuration of DeepSpeed', async () => {
  const config = {
    train_micro_batch_size_per_gpu: 1,
    train_batch_size: 8,
    gradient_accumulation_steps: 1,
    expert_parallel: { enabled: true, autoep_size: 3 },
  };
  const path = script('ds.json', JSON.stringify(config, null, 2));
  const { code, out } = await monta('lint', path, '--gpus', '8', '--model', 'mixtral-8x7b', '--json');
  expect(code).toBe(1);
  const { findings } = JSON.parse(out) as { findings: { rule: string; line: number }[] };
  expect(findings.map(({ rule, line }) => `${rule} ${line}`)).toEqual(['deepspeed-experts 7', 'deepspeed-world 7']);
  const fine = script('fine.json', JSON.stringify({ ...config, expert_parallel: { enabled: true, autoep_size: 8 } }));
  const good = await monta('lint', fine, '--gpus', '8');
  expect(good.code).toBe(0);
  expect(good.out).toContain('nothing to change');
});
