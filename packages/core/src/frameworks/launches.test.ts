/** Ways in which public repositories start their runs, in words of our own. */
import { describe, expect, it } from 'vitest';
import { overriddenRun } from './bridge/check.js';
import { configurationLaunches } from './configuration-launch.js';
import { frameworkLaunches, type FrameworkLaunch } from './launches.js';
import { MegatronRun } from './megatron/run.js';
import { readMegatronArguments } from './megatron/settings.js';
import { readLaunchScript, type LaunchScriptOptions } from './shell/launch-script.js';
import { TorchtitanRun } from './torchtitan/run.js';

const launches = (text: string, options: LaunchScriptOptions = {}): FrameworkLaunch[] =>
  frameworkLaunches(readLaunchScript({ file: 'x.sh', text }, options));

/** Degrees as TP PP CP EP, whatever the framework calls them. */
function degrees(launch: FrameworkLaunch | undefined): readonly (number | undefined)[] {
  if (launch === undefined || launch.kind === 'deepspeed') return [];
  if (launch.kind === 'torchtitan') {
    const run = new TorchtitanRun(launch.assignments);
    return (['tensor', 'pipeline', 'context', 'expert'] as const).map((name) => run.degree(`${name}_parallel_degree`));
  }
  const run =
    launch.kind === 'bridge'
      ? overriddenRun(launch.assignments, {})
      : new MegatronRun(readMegatronArguments(launch.arguments));
  return [run.tensor, run.pipeline, run.contextParallel, run.expert];
}

describe('the launches of a script', () => {
  it('of Megatron-Bridge by Slurm: a run for each row, ranks by the header', () => {
    const found = launches(`#!/bin/bash
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
ROWS=("2,4,1,4" "4,2,2,8")
for ROW in "\${ROWS[@]}"; do
  IFS=',' read -r TP PP CP EP <<< "$ROW"
  CMD="uv run python scripts/run_recipe.py --recipe gpt_oss_pretrain_config model.tensor_model_parallel_size=$TP \\
    model.pipeline_model_parallel_size=$PP model.context_parallel_size=$CP model.expert_model_parallel_size=$EP"
  srun --mpi=pmix bash -c "$CMD"
done
`);
    expect(found.map(({ kind, ranks }) => [kind, ranks])).toEqual([
      ['bridge', 32],
      ['bridge', 32],
    ]);
    expect(found.map(degrees)).toEqual([
      [2, 4, 1, 4],
      [4, 2, 2, 8],
    ]);
  });

  it('of ms-swift: flags with underscores, ranks by its variables', () => {
    const [run, ...others] = launches(
      'NPROC_PER_NODE=8 NNODES=2 megatron sft --model Qwen/Qwen3-30B-A3B --tensor_model_parallel_size 2 \\\n' +
        '  --pipeline_model_parallel_size 1 --context_parallel_size 1 --expert_model_parallel_size 8 \\\n' +
        '  --sequence_parallel true --moe_grouped_gemm true --recompute_modules core_attn moe_act\n',
    );
    expect(others).toEqual([]);
    expect([run?.kind, run?.ranks, run?.program]).toEqual(['bridge', 16, 'megatron sft']);
    expect(degrees(run)).toEqual([2, 1, 1, 8]);
    if (run?.kind !== 'bridge') throw new Error('another kind');
    expect(overriddenRun(run.assignments, {}).list('recompute_modules')).toEqual(['core_attn', 'moe_act']);
  });

  it('of torchtitan by its module, and of NeMo by overrides of a trainer', () => {
    const [titan] = launches(
      'torchrun --nnodes 2 --nproc_per_node 8 -m torchtitan.train --module deepseek_v3 --config deepseek_v3_16b ' +
        '--parallelism.tensor_parallel_degree 2 --parallelism.expert-parallel-degree=8 --compile.no-enable\n',
    );
    expect([titan?.kind, titan?.ranks]).toEqual(['torchtitan', 16]);
    expect(degrees(titan)).toEqual([2, 1, 1, 8]);
    const [nemo] = launches(
      'python pretrain.py --config-name=moe trainer.devices=8 trainer.num_nodes=4 ' +
        '++model.tensor_model_parallel_size=4 model.pipeline_model_parallel_size=2 ' +
        "model.expert_model_parallel_size=4 'model.cp_comm_type=[p2p,a2a]'\n",
    );
    expect(degrees(nemo)).toEqual([4, 2, undefined, 4]);
    if (nemo?.kind !== 'bridge') throw new Error('another kind');
    const run = overriddenRun(nemo.assignments, {});
    expect(run.context.gpus).toBe(32);
    expect(run.list('cp_comm_type')).toEqual(['p2p', 'a2a']);
  });

  it('of a script that takes its sizes as arguments: not known without, read with them', () => {
    const script =
      'SIZE=$1\nTP=$2\nif [ $SIZE = A3B ]; then\n  EP=8\n  EXTRA="--num-experts 128"\nfi\n' +
      'torchrun --nproc_per_node 8 pretrain_gpt.py --tensor-model-parallel-size $TP --bf16 $EXTRA ' +
      '--expert-model-parallel-size $EP --pipeline-model-parallel-size 1\n';
    expect(degrees(launches(script)[0])).toEqual([undefined, 1, 1, undefined]);
    const [given] = launches(script, { arguments: ['A3B', '2'] });
    expect(degrees(given)).toEqual([2, 1, 1, 8]);
  });

  it('leaves alone what is no run of theirs', () => {
    expect(
      launches('python train.py --lr 1 --epochs 3 --seed 1 --model a --data b\nmegatron export --to hf\n'),
    ).toEqual([]);
  });
});

describe('the launches of a configuration', () => {
  it('in Python are one a function', () => {
    const text = `TP = 2
def small_config():
    cfg = base()
    cfg.model.tensor_model_parallel_size = TP
    cfg.model.expert_model_parallel_size = 4
    return cfg

def large_config(gpus: int = 64):
    cfg = base()
    cfg.model.tensor_model_parallel_size = 8  # all of a node
    cfg.model.expert_model_parallel_size = experts_of(gpus)
    cfg.model.pipeline_model_parallel_size: int = 4
    return cfg
`;
    const found = configurationLaunches({ file: 'recipe.py', text }) ?? [];
    expect(found.map(({ kind, program }) => `${kind} ${program}`)).toEqual([
      'bridge small_config',
      'bridge large_config',
    ]);
    expect(found.map(degrees)).toEqual([
      [2, undefined, undefined, 4],
      [8, 4, undefined, undefined],
    ]);
  });

  it('in YAML may have flags as keys, filled in by variables, and an environment', () => {
    const text = `ENV_VARS:
  CUDA_DEVICE_MAX_CONNECTIONS: 1
MODEL_ARGS:
  --tensor-model-parallel-size: \${TP}
  --pipeline-model-parallel-size: 4
  --moe-layer-freq: ([0]*3+[1]*58)
  --sequence-parallel: true
  --fp16: false
`;
    const [found] = configurationLaunches({ file: 'model.yaml', text }, { TP: '2' }) ?? [];
    expect(degrees(found)).toEqual([2, 4, 1, 1]);
    if (found?.kind !== 'megatron') throw new Error('another kind');
    const run = new MegatronRun(readMegatronArguments(found.arguments), { environment: found.environment });
    expect([run.on('sequence_parallel'), run.on('fp16')]).toEqual([true, false]);
    expect(run.variable('CUDA_DEVICE_MAX_CONNECTIONS')).toBe('1');
    const [open] = configurationLaunches({ file: 'model.yaml', text }) ?? [];
    expect(degrees(open)[0]).toBeUndefined();
  });
});

it.each(['def f(', 'a.b.c = [', 'x = ((((', '"""', 'cfg.model.a = "', 'def f():\n  a.b.c = (1,\n'])(
  'Python that is none does no harm: %j',
  (text) => {
    expect(() => configurationLaunches({ file: 'x.py', text: `${text}\n`.repeat(50) })).not.toThrow();
  },
);

describe('trainers that build on Megatron-LM', () => {
  it('under Ray: ranks are the actors of training, the environment is that of the job', () => {
    const [run] = launches(
      'ENVIRONMENT="{\\"env_vars\\": {\\"CUDA_DEVICE_MAX_CONNECTIONS\\": \\"1\\"}}"\n' +
        'ray job submit --address=http://127.0.0.1:8265 --runtime-env-json="${ENVIRONMENT}" -- python3 train.py \\\n' +
        '  --actor-num-nodes 2 --actor-num-gpus-per-node 8 --colocate --rollout-batch-size 32 --rm-type math \\\n' +
        '  --n-samples-per-prompt 8 --eps-clip 0.2 --tensor-model-parallel-size 4 --expert-model-parallel-size 8\n',
    );
    expect([run?.kind, run?.ranks]).toEqual(['megatron', 16]);
    expect(run?.environment.get('CUDA_DEVICE_MAX_CONNECTIONS')?.text).toBe('1');
    expect(degrees(run)).toEqual([4, 1, 1, 8]);
  });

  it('with a configuration of DeepSpeed that the script writes itself', () => {
    const [run] = launches(
      'CONFIG=out/ds.json\nSTAGE=2\ncat <<CONFIGURATION > $CONFIG\n' +
        '{"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": $STAGE}}\nCONFIGURATION\n' +
        'deepspeed --num_gpus 8 pretrain_gpt.py --deepspeed --deepspeed_config $CONFIG \\\n' +
        '  --tensor-model-parallel-size 2 --num-layers 4 --hidden-size 64\n',
    );
    if (run?.kind !== 'deepspeed') throw new Error('another kind');
    expect(run.ranks).toBe(8);
    expect(JSON.parse(run.text ?? '')).toMatchObject({ zero_optimization: { stage: 2 } });
    expect(run.megatron?.arguments.map(({ text }) => text)).toContain('--tensor-model-parallel-size');
  });

  it('as a fork, of which nothing that only it has is an error', () => {
    const read = (flags: string) => {
      const [run] = launches(`torchrun --nproc_per_node 8 pretrain_gpt.py --num-layers 4 --hidden-size 64 ${flags}\n`);
      if (run?.kind !== 'megatron') throw new Error('another kind');
      return readMegatronArguments(run.arguments, run.program);
    };
    const own = read('--moe-num-experts=64 --moe-top-k 2 --position-embedding-type rotary');
    expect(own.fork).toBe('MegaBlocks');
    expect(own.findings.map(({ severity }) => severity)).toEqual(['unknown', 'unknown', 'unknown']);
    expect(read('--moe-top-kk 2').findings.map(({ severity }) => severity)).toEqual(['error']);
  });
});
