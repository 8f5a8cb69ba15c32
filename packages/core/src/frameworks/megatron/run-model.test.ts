import { array, assert, boolean, integer, letrec, oneof, property, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countParameters, getModel } from '../../model/index.js';
import { readLaunchScript } from '../shell/launch-script.js';
import { megatronLaunches } from './launch.js';
import { MegatronRun } from './run.js';
import { memoryOfRun } from './run-memory.js';
import { moeLayersOf } from './layer-pattern.js';
import { modelOfRun } from './run-model.js';
import { readMegatronArguments } from './settings.js';

function runOf(flags: string, gpus = 16): MegatronRun {
  const [launch] = megatronLaunches(readLaunchScript({ file: 'flags.txt', text: flags }, {}));
  return new MegatronRun(readMegatronArguments(launch?.arguments ?? []), { gpus });
}

const qwen =
  '--num-layers 48 --hidden-size 2048 --ffn-hidden-size 6144 --num-attention-heads 32 --kv-channels 128 ' +
  '--group-query-attention --num-query-groups 4 --qk-layernorm --swiglu --normalization RMSNorm ' +
  '--disable-bias-linear --untie-embeddings-and-output-weights --vocab-size 151936 --seq-length 4096 ' +
  '--num-experts 128 --moe-router-topk 8 --moe-ffn-hidden-size 768';
const deepseek =
  '--num-layers 61 --hidden-size 7168 --ffn-hidden-size 18432 --num-attention-heads 128 --multi-latent-attention ' +
  '--q-lora-rank 1536 --kv-lora-rank 512 --qk-head-dim 128 --qk-pos-emb-head-dim 64 --v-head-dim 128 --swiglu ' +
  '--normalization RMSNorm --disable-bias-linear --untie-embeddings-and-output-weights --vocab-size 129280 ' +
  '--num-experts 256 --moe-router-topk 8 --moe-ffn-hidden-size 2048 --moe-shared-expert-intermediate-size 2048 ' +
  '--moe-layer-freq "([0]*3+[1]*58)" --moe-router-score-function sigmoid --moe-router-enable-expert-bias';

describe('the model that flags describe', () => {
  it.each([
    ['qwen3-30b-a3b', qwen],
    ['deepseek-v3', deepseek],
  ])('%s has the parameters of the published model', (name, flags) => {
    const described = modelOfRun(runOf(flags));
    if ('missing' in described) throw new Error(described.missing.join());
    const [ours, published] = [countParameters(described.model), countParameters(getModel(name))];
    expect(Math.abs(ours.total / published.total - 1)).toBeLessThan(1e-4);
  });

  it('names the flags without which it is not told', () => {
    expect(modelOfRun(runOf('--num-layers 4 --num-experts 8'))).toEqual({
      missing: ['--hidden-size', '--num-attention-heads', '--vocab-size'],
    });
    expect(modelOfRun(runOf(qwen.replace('--num-experts', '--moe-layer-freq [1]*47 --num-experts')))).toEqual({
      missing: ['--moe-layer-freq with one entry a layer'],
    });
  });
});

/** Expressions of Python's lists beside what they are. */
const pattern = letrec<{ list: { text: string; value: boolean[] } }>((tie) => ({
  list: oneof(
    { maxDepth: 4 },
    array(boolean(), { minLength: 1, maxLength: 3 }).map((value) => ({
      text: `[${value.map(Number).join(',')}]`,
      value,
    })),
    tuple(tie('list'), tie('list')).map(([a, b]) => ({
      text: `(${a.text}+${b.text})`,
      value: [...a.value, ...b.value],
    })),
    tuple(tie('list'), integer({ min: 1, max: 3 })).map(([a, times]) => ({
      text: `${a.text}*${times}`,
      value: Array.from({ length: times }, () => a.value).flat(),
    })),
  ),
})).list;

it('patterns of layers are read as Python reads them', () => {
  assert(
    property(pattern, ({ text, value }) => {
      expect(moeLayersOf(text, value.length)).toEqual(value);
    }),
    { seed: 5, numRuns: 300 },
  );
  expect(moeLayersOf('2', 5)).toEqual([true, false, true, false, true]);
  expect(moeLayersOf('[1]*1000000', 1_000_000)).toBeUndefined();
  expect(moeLayersOf('__import__("os")', 4)).toBeUndefined();
});

describe('the memory setting of a run', () => {
  const run = (more: string): ReturnType<typeof memoryOfRun> =>
    memoryOfRun(
      runOf(
        `${qwen} --micro-batch-size 2 --global-batch-size 256 --expert-model-parallel-size 8 ` +
          `--expert-tensor-parallel-size 1 --bf16 ${more}`,
      ),
      getModel('qwen3-30b-a3b'),
    );

  it('follows sharding, precision, recompute and stages', () => {
    expect(run('')?.setting).toMatchObject({ sharing: 'none', precision: 'mixed', activationAgain: false });
    expect(run('')?.setting.step).toMatchObject({ sequences: 2, microBatches: 8, recompute: 'none', virtualStages: 1 });
    expect(run('--use-distributed-optimizer')?.setting.sharing).toBe('distributed-optimizer');
    expect(run('--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads')?.setting.sharing).toBe('zero2');
    const half = '--use-precision-aware-optimizer --exp-avg-dtype bf16 --exp-avg-sq-dtype bf16';
    expect(run(half)?.setting.precision).toBe('bf16-moments');
    expect(run('--recompute-granularity full')?.setting.step.recompute).toBe('full');
    const modules = run('--recompute-granularity selective --recompute-modules moe_act layernorm mla_up_proj');
    expect(modules?.setting.step.recompute).toEqual(['layernorm']);
    expect(modules?.setting.activationAgain).toBe(true);
    expect(modules?.leftOut).toEqual(['recompute of mla_up_proj']);
    const stages = run('--pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 6');
    expect(stages?.setting.step).toMatchObject({ virtualStages: 4, microBatches: 16 });
  });

  it('has rows up to the capacity where experts are padded to it, and balanced ones elsewhere', () => {
    const factor = '--moe-expert-capacity-factor 1.5';
    expect(run(factor)?.setting).toMatchObject({ imbalance: 1, step: { capacityFactor: 1.5 } });
    expect(run(`${factor} --moe-pad-expert-input-to-capacity`)?.setting.imbalance).toBe(1.5);
    const few = '--moe-expert-capacity-factor 0.5 --moe-pad-expert-input-to-capacity';
    expect(run(few)?.setting).toMatchObject({ imbalance: 1, step: { capacityFactor: 0.5 } });
  });

  it('is not made up where the batch is unknown', () => {
    expect(memoryOfRun(runOf(qwen), getModel('qwen3-30b-a3b'))).toBeUndefined();
  });
});
