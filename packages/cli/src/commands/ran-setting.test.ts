/** What ran, by the script or configuration that started it, whatever its framework. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCluster } from '@monta/core';
import { afterAll, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';
import { ranSetting } from './ran-setting.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-ran-'));
afterAll(() => rmSync(folder, { recursive: true }));

function written(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const cluster = getCluster('h100-1x8');
const model = 'olmoe-1b-7b';
const config = written(
  'ds_config.json',
  JSON.stringify({
    train_micro_batch_size_per_gpu: 2,
    gradient_accumulation_steps: 4,
    bf16: { enabled: true },
    zero_optimization: { stage: 1 },
  }),
);
const script = written(
  'train.sh',
  'deepspeed --num_gpus 8 train.py --deepspeed_config ds_config.json --seq-length 4096\n',
);

it('reads a launch of DeepSpeed with its configuration', () => {
  const setting = ranSetting({ script: [script, config], model }, cluster);
  expect(setting).toMatchObject({ sequence: 4096, microBatch: 2, globalBatch: 64, sharing: 'zero1' });
  expect(setting?.layout).toMatchObject({ dp: 8, tp: 1, pp: 1 });
});

it('reads a configuration of torchtitan', () => {
  const toml = written(
    'run.toml',
    '[training]\nlocal_batch_size = 2\nglobal_batch_size = 64\nseq_len = 4096\n' +
      '[parallelism]\nexpert_parallel_degree = 8\ntensor_parallel_degree = 1\n',
  );
  const setting = ranSetting({ script: [toml], model }, cluster);
  expect(setting).toMatchObject({ sequence: 4096, microBatch: 2, globalBatch: 64 });
  expect(setting?.layout).toMatchObject({ ep: 8, tp: 1 });
});

it.each([
  ['bare.sh', 'deepspeed --num_gpus 8 train.py --deepspeed_config ds_config.json\n', [config], '--seq-length'],
  ['bare.toml', '[training]\nseq_len = 4096\n[parallelism]\nexpert_parallel_degree = 8\n', [], 'local_batch_size'],
  [
    'sequence.sh',
    'torchrun --nproc-per-node 8 pretrain_gpt.py --tensor-model-parallel-size 1 --micro-batch-size 1\n',
    [],
    '--global-batch-size',
  ],
])('names what %s leaves out, by flags that the command has', (name, text, more, missing) => {
  const asked = () => ranSetting({ script: [written(name, text), ...more], model }, cluster);
  expect(asked).toThrow(expect.objectContaining({ expected: expect.stringContaining(missing), hint: undefined }));
  expect(asked).not.toThrow(/--sequence\b/u);
});

it('leaves to the checker what does not fit together', () => {
  const toml = written(
    'odd.toml',
    '[training]\nlocal_batch_size = 2\nglobal_batch_size = 7\nseq_len = 4096\n[parallelism]\n' +
      'expert_parallel_degree = 8\n',
  );
  expect(() => ranSetting({ script: [toml], model }, cluster)).toThrow('the batch does not divide');
});

it('says what is missing', async () => {
  const speed = ['--cluster', 'h100-1x8', '--tokens-per-second', '4200'];
  const { code, err } = await monta('doctor', '--script', script, '--script', config, ...speed);
  expect(code).toBe(2);
  expect(err).toContain('the configuration does not say the model: --model');
});
