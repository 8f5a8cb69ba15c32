import { describe, expect, it } from 'vitest';
import { deviceCount, getCluster } from '../../cluster/index.js';
import { resolveLayout, worldSize } from '../../layout/index.js';
import { estimateMemory, priceStep, runSetting, stepConstants } from '../../estimate/index.js';
import { getModel } from '../../model/index.js';
import { halvesName, namedStrategies, type StepShape, type Strategy } from '../../schedule/index.js';
import { maxOf, minOf, Random } from '../../units/index.js';
import { drawPlan, refusalOf } from '../../../testing/frameworks/drawn-plans.js';
import { architectureOf } from '../architecture.js';
import { tomlAssignments } from '../assigned/read-toml.js';
import { yamlAssignments } from '../assigned/read-yaml.js';
import { checkOverrides, overriddenRun } from '../bridge/check.js';
import { checkDeepspeed } from '../deepspeed/check.js';
import { DeepspeedConfig } from '../deepspeed/config.js';
import { plannedByDeepspeed, settingOfDeepspeed } from '../deepspeed/setting.js';
import type { Finding } from '../finding.js';
import { checkMegatron } from '../megatron/check.js';
import { megatronLaunches } from '../megatron/launch.js';
import { plannedBy, type PlannedRun } from '../megatron/planned-run.js';
import { MegatronRun } from '../megatron/run.js';
import { memoryOfRun } from '../megatron/run-memory.js';
import { settingOfRun } from '../megatron/run-setting.js';
import { readMegatronArguments } from '../megatron/settings.js';
import { readLaunchScript } from '../shell/launch-script.js';
import { exportPlan } from './export-plan.js';
import { checkTorchtitan } from '../torchtitan/rules.js';
import { TorchtitanRun } from '../torchtitan/run.js';
import { settingOfTorchtitan } from '../torchtitan/setting.js';
import type { ExportPlan, ExportTarget } from './exported.js';
import { exportOfSetting } from './setting-export.js';
import { stageLayout } from './stage-layout.js';

const scattered: Strategy = { ...namedStrategies.scattered, chunks: { forward: 1, backward: 1 } };

interface ReadBack {
  readonly run: MegatronRun;
  readonly findings: readonly Finding[];
  readonly planned: PlannedRun | undefined;
}

/** Reads a script as lint does: by the shell's rules, ranks from the launcher where it starts any. */
function readBack(plan: ExportPlan, text: string): ReadBack {
  const script = readLaunchScript({ file: 'export.sh', text }, { variables: { NODE_RANK: '0', MASTER_ADDR: 'node0' } });
  const launches = megatronLaunches(script);
  const [launch, another] = launches;
  if (launch === undefined || another !== undefined) throw new Error(`${launches.length} runs in ${text}`);
  const architecture = architectureOf(plan.cluster.device.name);
  const world = plan.cluster.tiers.reduce((product, { size }) => product * size, 1);
  const run = new MegatronRun(readMegatronArguments(launch.arguments), {
    gpus: launch.program === undefined ? world : (launch.ranks ?? 0),
    ...(architecture === undefined ? {} : { architecture }),
    environment: launch.environment,
  });
  return { run, findings: checkMegatron(run), planned: plannedBy(run) };
}

/** Megatron's words for a plan's dispatch. */
function dispatcherOf({ strategy, cluster }: ExportPlan): string {
  const library = cluster.name.startsWith('b200') ? 'hybridep' : 'deepep';
  return { deduplicated: `flex ${library}`, gathered: 'allgather' }[halvesName(strategy)] ?? 'alltoall';
}

/** What Megatron makes of a plan: sequence parallelism goes with tensor parallelism. */
const plannedAs = (plan: ExportPlan): PlannedRun => ({
  layout: { ...plan.layout, sequenceParallel: plan.layout.tp > 1 },
  sequences: plan.sequences,
  microBatches: plan.microBatches,
  sequence: plan.sequence,
  dispatcher: dispatcherOf(plan),
});

/** Layers of each stage; even where the flags say nothing of them. */
function stagesOfSetting(step: StepShape | undefined): readonly number[] | undefined {
  if (step === undefined || step.layersOfStages !== undefined) return step?.layersOfStages;
  const stages = step.layout.pp * (step.virtualStages ?? 1);
  return Array.from({ length: stages }, () => step.model.layers / stages);
}

describe('random plans, of which Megatron runs 300', () => {
  const random = new Random(18);
  const plans = Array.from({ length: 960 }, () => drawPlan(random));

  const written = (target: ExportTarget): ExportPlan[] => plans.filter((plan) => refusalOf(plan, target) === undefined);
  /** 300 plans that the framework can run, from draws of what it knows. */
  const writtenOf = (target: ExportTarget): ExportPlan[] => {
    const found: ExportPlan[] = [];
    while (found.length < 300) {
      const plan = drawPlan(random, target);
      if (refusalOf(plan, target) === undefined) found.push(plan);
    }
    return found;
  };

  it.each(['megatron', 'torchrun', 'slurm'] as const)('read back from %s as the same plan', (target) => {
    const accepted = written(target);
    expect(accepted.length).toBeGreaterThanOrEqual(300);
    for (const plan of accepted) {
      const { text, notes } = exportPlan(plan, target);
      const { run, planned, findings } = readBack(plan, text);
      expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
      const memory = memoryOfRun(run, plan.model)?.setting;
      expect(memory?.sharing).toBe(plan.sharing === 'fsdp' ? 'zero3' : plan.sharing);
      expect(memory?.step.virtualStages).toBe(plan.virtualStages);
      const stages = stagesOfSetting(memory?.step);
      expect(stages).toEqual(plan.layersOfStages ?? stages);
      const { tp, sequenceParallel } = plan.layout;
      expect(planned).toEqual(plannedAs(plan));
      expect(notes.some((note) => note.startsWith('sequence parallelism is on'))).toBe(tp > 1 && !sequenceParallel);
      const { forward, backward } = plan.strategy.chunks;
      expect(notes.some((note) => note.startsWith('chunks:'))).toBe(forward > 1 || backward > 1);
    }
  });

  it('are refused with a reason where the framework cannot run them', () => {
    for (const target of ['megatron', 'deepspeed', 'torchtitan'] as const) {
      const refusals = plans.flatMap((plan) => refusalOf(plan, target) ?? []);
      expect(refusals.length).toBeGreaterThan(30);
      for (const { message, expected } of refusals) {
        expect(expected ?? '').not.toBe('');
        expect(message).toMatch(/has no dispatcher like|can't do this: .|no preset for/u);
      }
    }
  });

  it('read back from Bridge as the same plan, or are refused for the same reason', () => {
    expect(plans.map((plan) => refusalOf(plan, 'bridge')?.message)).toEqual(
      plans.map((plan) => refusalOf(plan, 'megatron')?.message),
    );
    for (const plan of written('bridge')) {
      const assignments = yamlAssignments({ file: 'overrides.yaml', text: exportPlan(plan, 'bridge').text });
      const architecture = architectureOf(plan.cluster.device.name);
      const run = overriddenRun(assignments, {
        gpus: worldSize(plan.layout),
        ...(architecture === undefined ? {} : { architecture }),
      });
      expect(checkOverrides(run).filter(({ severity }) => severity !== 'slow')).toEqual([]);
      expect(plannedBy(run)).toEqual(plannedAs(plan));
      expect(memoryOfRun(run, plan.model)?.setting.step.virtualStages).toBe(plan.virtualStages);
    }
  });

  it('read back from DeepSpeed as the same plan, by its rules', () => {
    for (const plan of writtenOf('deepspeed')) {
      const { layout, model, cluster, sequence, sequences, microBatches } = plan;
      const { text } = exportPlan(plan, 'deepspeed');
      const context = { gpus: worldSize(layout), model, launch: { sequence } };
      const config = new DeepspeedConfig(JSON.parse(text), context);
      expect(checkDeepspeed(config, { file: 'ds.json', text })).toEqual([]);
      expect(plannedByDeepspeed(config)).toEqual({
        layout: { ...layout, sequenceParallel: false },
        sequences,
        microBatches,
      });
      const { tp, ep, dp } = layout;
      expect(settingOfDeepspeed(config, model, cluster)).toMatchObject({
        layout: { tp, ep, dp, etp: 1 },
        microBatch: sequences,
        globalBatch: sequences * microBatches * dp,
        overlap: { dp: true },
      });
    }
  });

  it('read back from torchtitan as the same plan, by its rules', () => {
    for (const plan of writtenOf('torchtitan')) {
      const { layout, model, cluster, sequence, sequences, microBatches, virtualStages = 1, recompute } = plan;
      const assignments = tomlAssignments({ file: 'run.toml', text: exportPlan(plan, 'torchtitan').text });
      const run = new TorchtitanRun(assignments, { gpus: worldSize(layout), model });
      expect(checkTorchtitan(run)).toEqual([]);
      const { dispatcher, ...planned } = run.planned ?? { dispatcher: '' };
      expect(planned).toEqual({
        layout: { ...layout, etp: 1, sequenceParallel: layout.tp > 1 },
        sequences,
        microBatches,
        sequence,
      });
      const library = plan.cluster.name.startsWith('b200') ? 'hybridep' : 'deepep';
      expect(dispatcher).toBe(halvesName(plan.strategy) === 'deduplicated' ? library : 'alltoall');
      expect(settingOfTorchtitan(run, model, cluster)).toMatchObject({
        virtualStages,
        schedule: virtualStages > 1 ? 'interleaved' : '1f1b',
        ...(plan.layersOfStages === undefined ? {} : { layersOfStages: plan.layersOfStages }),
        recompute: recompute === 'none' || recompute === 'full' ? recompute : ['layernorm', 'moe_act'],
      });
    }
  });
});

/**
 * Rows of recipes that NVIDIA publishes (dgxc-benchmarking 841f546), with the flags that one writes for them by hand.
 */
const recipes: readonly (readonly [
  id: number,
  model: string,
  cluster: string,
  layout: string,
  batch: readonly [micro: number, global: number, stages: number],
  flags: string,
])[] = [
  [
    1070,
    'deepseek-v3',
    'b200-32x8',
    'pp=8,ep=32',
    [1, 4096, 2],
    '--pipeline-model-parallel-size 8 --expert-model-parallel-size 32 --expert-tensor-parallel-size 1 ' +
      '--micro-batch-size 1 --global-batch-size 4096 --mtp-num-layers 1',
  ],
  [
    1071,
    'deepseek-v3',
    'b200-32x8',
    'pp=8,ep=8',
    [1, 4096, 1],
    '--pipeline-model-parallel-size 8 --expert-model-parallel-size 8 --expert-tensor-parallel-size 1 ' +
      '--micro-batch-size 1 --global-batch-size 4096',
  ],
  [
    1074,
    'deepseek-v3',
    'h100-128x8',
    'tp=2,pp=8,ep=64,etp=1,sp',
    [1, 16384, 1],
    '--tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 8 ' +
      '--expert-model-parallel-size 64 --expert-tensor-parallel-size 1 --micro-batch-size 1 --global-batch-size 16384',
  ],
  [
    1075,
    'deepseek-v3',
    'h100-128x8',
    'tp=2,pp=8,ep=64,etp=1,sp',
    [1, 16384, 4],
    '--tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 8 ' +
      '--expert-model-parallel-size 64 --expert-tensor-parallel-size 1 --micro-batch-size 1 --global-batch-size 16384',
  ],
  [
    1100,
    'qwen3-30b-a3b',
    'b200-1x8',
    'ep=8',
    [4, 512, 1],
    '--expert-model-parallel-size 8 --expert-tensor-parallel-size 1 --micro-batch-size 4 --global-batch-size 512',
  ],
  [
    1103,
    'qwen3-30b-a3b',
    'b200-8x8',
    'ep=8',
    [4, 4096, 1],
    '--expert-model-parallel-size 8 --expert-tensor-parallel-size 1 --micro-batch-size 4 --global-batch-size 4096',
  ],
  [
    1104,
    'qwen3-235b-a22b',
    'b200-32x8',
    'pp=8,ep=8',
    [1, 8192, 4],
    '--pipeline-model-parallel-size 8 --expert-model-parallel-size 8 --expert-tensor-parallel-size 1 ' +
      '--micro-batch-size 1 --global-batch-size 8192',
  ],
  [
    1106,
    'qwen3-30b-a3b',
    'h100-2x8',
    'ep=16',
    [1, 1024, 1],
    '--expert-model-parallel-size 16 --expert-tensor-parallel-size 1 --micro-batch-size 1 --global-batch-size 1024',
  ],
  [
    1109,
    'qwen3-235b-a22b',
    'h100-32x8',
    'tp=2,pp=8,ep=32,etp=1,sp',
    [1, 8192, 4],
    '--tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 8 ' +
      '--expert-model-parallel-size 32 --expert-tensor-parallel-size 1 --micro-batch-size 1 --global-batch-size 8192',
  ],
  [
    1115,
    'gpt-oss-120b',
    'h100-8x8',
    'pp=4,ep=8',
    [1, 1280, 1],
    '--pipeline-model-parallel-size 4 --expert-model-parallel-size 8 --expert-tensor-parallel-size 1 ' +
      '--micro-batch-size 1 --global-batch-size 1280',
  ],
];

const words = (flags: string): string[] => flags.split(/ (?=--)/u);

describe.each(recipes)(
  'recipe %i: %s on %s',
  (_, modelName, clusterName, layoutText, [sequences, global, virtualStages], flags) => {
    const [model, cluster] = [getModel(modelName), getCluster(clusterName)];
    const world = cluster.tiers.reduce((product, { size }) => product * size, 1);
    const layout = resolveLayout(
      Object.fromEntries(
        layoutText
          .split(',')
          .map((part) =>
            part === 'sp' ? ['sequenceParallel', true] : [part.split('=')[0], Number(part.split('=')[1])],
          ),
      ),
      world,
    );
    const plan: ExportPlan = {
      model,
      cluster,
      layout,
      strategy: scattered,
      sequence: 4096,
      sequences,
      microBatches: global / (sequences * layout.dp),
      dtype: 'bf16',
      virtualStages,
    };

    it('is exported with the flags that one writes by hand, and passes the checker', () => {
      const { text } = exportPlan(plan, 'torchrun');
      const { findings, planned } = readBack(plan, text);
      expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
      expect(planned?.layout).toEqual(layout);
      const lines = text.split('\n').map((line) => line.trim().split('  #')[0]);
      for (const word of words(flags)) expect(lines).toContain(word);
      const own = checkMegatron(
        new MegatronRun(
          readMegatronArguments(
            flags
              .split(' ')
              .map((one) => ({ text: one, place: { source: { file: 'x', text: '' }, start: 0, end: 0 } })),
          ),
        ),
      );
      expect(own.filter(({ rule }) => rule === 'unknown-flag' || rule === 'flag-value')).toEqual([]);
    });
  },
);

describe('stageLayout', () => {
  it('spreads 61 layers and a multi-token layer over 32 stages', () => {
    const text = stageLayout({ layers: 61, multiTokenLayers: 1, stages: 32 });
    expect(text.split('|')).toHaveLength(32);
    expect(text.match(/t/gu)).toHaveLength(61);
    expect(text.startsWith('Et')).toBe(true);
    expect(text.endsWith('mL')).toBe(true);
  });

  it('keeps the ends lighter, and no stage more than one layer above another but for them', () => {
    const text = stageLayout({ layers: 94, multiTokenLayers: 0, stages: 32 });
    const counts = text.split('|').map((stage) => stage.match(/t/gu)?.length ?? 0);
    expect(counts.reduce((a, b) => a + b)).toBe(94);
    const middle = counts.slice(1, -1);
    expect(maxOf(middle) - minOf(middle)).toBeLessThanOrEqual(1);
    expect(counts.at(-1)).toBeLessThan(maxOf(middle));
  });
});

describe('a searched plan', () => {
  it.each([
    ['deepseek-v3', 'h800-64x8', { tp: 2, cp: 2, pp: 8, ep: 32, etp: 1, sequenceParallel: true }, 3],
    ['deepseek-v3', 'h800-64x8', { pp: 16, ep: 32 }, 1],
    ['qwen3-235b-a22b', 'h100-16x8', { tp: 2, pp: 8, ep: 8, etp: 1, sequenceParallel: true }, 5],
    ['qwen3-30b-a3b', 'h100-4x8', { tp: 2, pp: 4, ep: 8, etp: 1, sequenceParallel: true }, 1],
  ] as const)('costs what it was priced with, read back: %s on %s, %j', (name, place, degrees, virtualStages) => {
    const [model, cluster] = [getModel(name), getCluster(place)];
    const setting = runSetting({
      model,
      cluster,
      layout: resolveLayout(degrees, deviceCount(cluster)),
      virtualStages,
      sequence: 4096,
      microBatch: 1,
      globalBatch: 2048,
      stack: 'eager',
    });
    const plan = exportOfSetting(setting);
    const { run } = readBack(plan, exportPlan(plan, 'megatron').text);
    const read = settingOfRun(run, model, cluster);
    if (read === undefined) throw new Error('no step');
    expect(estimateMemory(read)).toBe(estimateMemory(setting));
    expect(priceStep(read, stepConstants)).toEqual(priceStep(setting, stepConstants));
  });
});

describe('refusals', () => {
  const base: ExportPlan = {
    model: getModel('mixtral-8x7b'),
    cluster: getCluster('h100-2x8'),
    layout: resolveLayout({ tp: 8, ep: 2, sequenceParallel: true }, 16),
    strategy: { ...namedStrategies.duplicated, chunks: { forward: 1, backward: 1 } },
    sequence: 4096,
    sequences: 1,
    microBatches: 8,
    dtype: 'bf16',
  };

  it('name the dispatcher that is missing, and write the nearest when asked', () => {
    expect(refusalOf(base, 'megatron')?.message).toBe('Megatron has no dispatcher like duplicated');
    const { text, notes } = exportPlan(base, 'megatron', { nearest: true });
    expect(text).toContain('--moe-token-dispatcher-type alltoall  # the nearest to duplicated');
    expect(notes.join()).toContain("the plan's price is of another program");
  });

  it('name the layout that DeepSpeed and torchtitan have not', () => {
    const plan = { ...base, strategy: scattered };
    expect(refusalOf(plan, 'deepspeed')?.message).toContain('expert tensor parallel size 8: only 1 is taken');
    expect(refusalOf(plan, 'torchtitan')?.message).toContain('it was removed');
    expect(
      refusalOf({ ...plan, model: getModel('dbrx'), layout: resolveLayout({ tp: 8, ep: 16, etp: 1 }, 16) }, 'deepspeed')
        ?.message,
    ).toContain('no preset for dbrx');
  });
});
