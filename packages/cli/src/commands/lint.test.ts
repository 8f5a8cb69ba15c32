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
  --moe-token-dispatcher-type alltoall --moe-router-dtype fp32 --moe-aux-loss-coeff 1e-2 --bf16 \\
  --moe-ffn-hidden-size 14336
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
  const { code, out, err } = await monta('lint', path, '--cluster', 'h100-2x8', '--json');
  expect({ code, err }).toMatchObject({ code: 1 });
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
  expect(none.err).toContain('no training run that is known here in it');
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
  const { code, out, err } = await monta('lint', path, '--gpus', '8', '--model', 'mixtral-8x7b', '--json');
  expect({ code, err }).toMatchObject({ code: 1 });
  const [launch] = (JSON.parse(out) as { launches: { findings: { rule: string; line: number }[] }[] }).launches;
  expect(launch?.findings.map(({ rule, line }) => `${rule} ${line}`)).toEqual([
    'deepspeed-experts 7',
    'deepspeed-world 7',
  ]);
  const fine = script('fine.json', JSON.stringify({ ...config, expert_parallel: { enabled: true, autoep_size: 8 } }));
  const good = await monta('lint', fine, '--gpus', '8');
  expect(good.code).toBe(0);
  expect(good.out).toContain('nothing to change');
});

const priced = ['--cluster', 'h100-2x8', '--model', 'mixtral-8x7b'];

interface Launch {
  readonly framework: string;
  readonly ranks: number;
  readonly plan: { readonly layout: { readonly tp: number; readonly ep: number }; readonly dispatcher?: string };
  readonly findings: readonly { readonly rule: string; readonly line: number; readonly mend: string }[];
  readonly price: {
    readonly seconds: number;
    readonly changes: readonly { readonly flags: string }[];
    readonly best: { readonly seconds: number } | null;
  } | null;
}

async function launchesOf(...given: string[]): Promise<readonly Launch[]> {
  const { out } = await monta('lint', ...given, '--json');
  return (JSON.parse(out) as { launches: readonly Launch[] }).launches;
}

it('prices DeepSpeed by its configuration and the line that starts it, and names keys to change', async () => {
  const config = script(
    'ds_config.json',
    JSON.stringify({
      train_micro_batch_size_per_gpu: 'auto',
      gradient_accumulation_steps: 'auto',
      bf16: { enabled: true },
      zero_optimization: { stage: 2, overlap_comm: false },
      expert_parallel: { enabled: true, autoep_size: 8, preset_model: 'mixtral' },
    }),
  );
  const launch = script(
    'ds.sh',
    'deepspeed --num_nodes 2 --num_gpus 8 finetune.py --deepspeed conf/ds_config.json --max_seq_length 4096 \\\n' +
      '  --per_device_train_batch_size 1 --gradient_accumulation_steps 8 --gradient_checkpointing True\n',
  );
  const [run] = await launchesOf(launch, config, ...priced);
  expect(run).toMatchObject({ framework: 'deepspeed', ranks: 16, plan: { layout: { tp: 1, ep: 8 } }, findings: [] });
  expect(run?.price?.seconds).toBeGreaterThan(0);
  const named = run?.price?.changes.map(({ flags }) => flags).join('\n');
  expect(named).toContain('zero_optimization.');
  // the file alone does not say the sequence
  const alone = await monta('lint', config, '--gpus', '16', ...priced);
  expect(alone.err).toContain('the tokens of a sequence are not known: --sequence, or the launch script');
  expect((await monta('lint', launch)).err).toContain('conf/ds_config.json, which is not given');
});

it('reads overrides of a recipe, from the command line over those of a file', async () => {
  const file = script(
    'overrides.yaml',
    'model:\n  tensor_model_parallel_size: 4\n  expert_model_parallel_size: 8\n  sequence_parallel: true\n' +
      '  moe_token_dispatcher_type: alltoall\ntrain:\n  global_batch_size: 256\n  micro_batch_size: 1\n',
  );
  const launch = script(
    'bridge.sh',
    'TP=2\ntorchrun --nnodes 2 --nproc_per_node=8 run_recipe.py --config-file conf/overrides.yaml \\\n' +
      '  model.tensor_model_parallel_size=$TP model.pipeline_model_parallel_size=1 model.context_parallel_size=1 \\\n' +
      '  model.expert_tensor_parallel_size=1 model.moe_flex_dispatcher_backend=deepep dataset.seq_length=4096\n',
  );
  const [run] = await launchesOf(launch, file);
  expect(run).toMatchObject({
    framework: 'bridge',
    ranks: 16,
    plan: { layout: { tp: 2, ep: 8 }, dispatcher: 'alltoall' },
  });
  expect(run?.findings).toEqual([
    expect.objectContaining({
      rule: 'backend-without-flex',
      line: 4,
      mend: 'add model.moe_token_dispatcher_type=flex',
    }),
  ]);
});

it('reads a recipe in Python, and says nothing of what it leaves to the recipe', async () => {
  const recipe = script(
    'recipe.py',
    'def pretrain_config():\n    cfg = base_config()\n    cfg.model.tensor_model_parallel_size = 2  # two\n' +
      '    cfg.model.expert_model_parallel_size = 6\n    cfg.model.num_moe_experts = 128\n' +
      '    cfg.model.recompute_modules = [\n        "core_attn",\n        "moe_act",\n    ]\n    return cfg\n',
  );
  const [run] = await launchesOf(recipe);
  expect(run?.findings.map(({ rule, line }) => `${rule} ${line}`)).toEqual([
    'experts-over-expert-parallel 4',
    'experts-need-sequence-parallel 3',
    'recompute-modules 6',
  ]);
});

it('reads torchtitan: TOML, flags with dots, and both', async () => {
  const toml = script(
    'run.toml',
    '[model]\nname = "deepseek_v3"\n\n[training]\nseq_len = 4096\nlocal_batch_size = 4\n\n[parallelism]\n' +
      'tensor_parallel_degree = 3\nexpert_parallel_degree = 8\n',
  );
  const [alone] = await launchesOf(toml, '--gpus', '16');
  expect(alone).toMatchObject({ framework: 'torchtitan' });
  expect(alone?.findings.map(({ rule, line }) => `${rule} ${line}`)).toEqual([
    'torchtitan-world 9',
    'torchtitan-sequence 5',
  ]);
  const launch = script(
    'titan.sh',
    'torchrun --nnodes 2 --nproc_per_node 8 train.py --job.config_file ./run.toml \\\n' +
      '  --parallelism.tensor_parallel_degree 2\n',
  );
  const [both] = await launchesOf(launch, toml);
  expect(both).toMatchObject({ ranks: 16, plan: { layout: { tp: 2, ep: 8 } }, findings: [] });
});

it('prices torchtitan, in TOML and in Python, with the batch in sequences or in tokens', async () => {
  const toml = script(
    'priced.toml',
    '[model]\nname = "qwen3"\nflavor = "30B-A3B"\n\n[training]\nseq_len = 4096\nlocal_batch_size = 2\n\n' +
      '[parallelism]\npipeline_parallel_degree = 2\npipeline_parallel_schedule = "Interleaved1F1B"\n' +
      'expert_parallel_degree = 8\nexpert_parallel_comm_backend = "standard"\n\n' +
      '[activation_checkpoint]\nmode = "full"\n',
  );
  const [run] = await launchesOf(toml, '--cluster', 'h100-2x8');
  expect(run?.price?.seconds).toBeGreaterThan(0);
  const named = run?.price?.changes.map(({ flags }) => flags).join('\n');
  expect(named).toContain('parallelism.expert_parallel_comm_backend deepep');
  expect(run?.price?.best?.seconds).toBeLessThan(run?.price?.seconds ?? 0);
  const python = script(
    'config_registry.py',
    'def qwen3_on_16() -> Trainer.Config:\n    return Trainer.Config(\n        training=TrainingConfig(\n' +
      '            num_tokens_per_microbatch_per_dp_rank=4096,\n            max_context_length=4096,\n        ),\n' +
      '        parallelism=ParallelismConfig(\n            pipeline_parallel_degree=2,\n' +
      '            num_pp_microbatches=2,\n            pipeline_parallel_schedule="Interleaved1F1B",\n' +
      '            expert_parallel_degree=8,\n        ),\n        activation_checkpoint=FullAC.Config(),\n    )\n',
  );
  const [same] = await launchesOf(python, '--cluster', 'h100-2x8', '--model', 'qwen3-30b-a3b');
  expect(same?.price?.seconds).toBe(run?.price?.seconds);
});

it('reads overrides for doctor too, and says what it does not', async () => {
  const overrides = script(
    'ran.yaml',
    'model:\n  tensor_model_parallel_size: 1\n  pipeline_model_parallel_size: 1\n  context_parallel_size: 1\n' +
      '  expert_model_parallel_size: 8\n  expert_tensor_parallel_size: 1\n  seq_length: 4096\n' +
      '  recompute_granularity: full\ntrain:\n  global_batch_size: 256\n  micro_batch_size: 1\n',
  );
  const { out, code } = await monta('doctor', '--script', overrides, ...priced, '--tokens-per-second', '500');
  expect(code).toBe(0);
  expect(out).toContain('Layout     dp=16,ep=8');
  const toml = script('ran.toml', '[parallelism]\ntensor_parallel_degree = 2\n');
  const { err } = await monta('doctor', '--script', toml, ...priced, '--tokens-per-second', '500');
  expect(err).toContain('not known: training.local_batch_size, training.seq_len');
  // lint says no more than that
  expect(err).not.toContain('monta lint');
});
