import { expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { estimateStep, memorySetting, runSetting } from '../estimate/index.js';
import {
  megatronLaunches,
  MegatronRun,
  readLaunchScript,
  readMegatronArguments,
  settingOfRun,
} from '../frameworks/index.js';
import { resolveLayout } from '../layout/index.js';
import { closedTotal } from '../memory/index.js';
import { getModel } from '../model/index.js';
import { priceRun } from './price-run.js';

const model = getModel('qwen3-30b-a3b');
const cluster = getCluster('h100-2x8');

function settingFrom(flags: string) {
  const [launch] = megatronLaunches(readLaunchScript({ file: 'flags.txt', text: flags }, {}));
  const run = new MegatronRun(readMegatronArguments(launch?.arguments ?? []), { gpus: 16 });
  return settingOfRun(run, model, cluster);
}

const flags =
  '--micro-batch-size 1 --global-batch-size 256 --seq-length 4096 --bf16 --expert-model-parallel-size 16 ' +
  '--expert-tensor-parallel-size 1 --moe-token-dispatcher-type alltoall --use-distributed-optimizer ' +
  '--recompute-granularity full --recompute-method uniform --recompute-num-layers 1';

it('a Megatron run is the setting that its flags say', () => {
  expect(settingFrom(flags)).toEqual(
    runSetting({
      model,
      cluster,
      layout: resolveLayout({ tp: 1, ep: 16, etp: 1 }, 16),
      sequence: 4096,
      microBatch: 1,
      globalBatch: 256,
      dispatcher: 'all_to_all',
      recompute: 'full',
      overlap: { tp: false, ep: false, dp: false, pp: true },
      stack: 'eager',
    }),
  );
  expect(settingFrom(`${flags} --fp8-format e4m3 --fp8-recipe mxfp8 --overlap-grad-reduce`)).toMatchObject({
    precision: 'mxfp8',
    overlap: { dp: true },
  });
  expect(settingFrom('--seq-length 4096')).toBeUndefined();
});

it('changes fit, save what they say, and none beats the best plan of the space', () => {
  const setting = settingFrom(flags);
  if (setting === undefined) throw new Error('no setting');
  const { estimate, changes, best, memoryBytes } = priceRun(setting);
  expect(estimate.seconds).toBe(estimateStep(setting).seconds);
  expect(memoryBytes).toBe(closedTotal(memorySetting(setting), 0));
  expect(changes.length).toBeGreaterThan(3);
  const named = changes.map((one) => one.flags).join('\n');
  expect(named).toContain('--moe-flex-dispatcher-backend deepep');
  expect(named).toContain('--micro-batch-size 2');
  for (const { flags: change, gain, seconds, memoryBytes: memory } of changes) {
    expect(gain).toBeCloseTo(1 - seconds / estimate.seconds, 12);
    expect(gain).toBeGreaterThan(0);
    expect(memory).toBeLessThanOrEqual(cluster.device.memoryBytes);
    // The space is searched with the software of the run.
    expect((best?.seconds ?? Infinity) <= seconds || change.includes('cuda-graph')).toBe(true);
  }
  expect([...changes].sort((a, b) => b.gain - a.gain)).toEqual(changes);
});

it('a run that does not fit is told what fits', () => {
  const setting = settingFrom(
    flags.replace(/ --recompute.*/u, '').replace('--micro-batch-size 1', '--micro-batch-size 4'),
  );
  if (setting === undefined) throw new Error('no setting');
  const { memoryBytes, changes } = priceRun(setting);
  expect(memoryBytes).toBeGreaterThan(cluster.device.memoryBytes);
  expect(changes.map((one) => one.flags).join('\n')).toContain('--recompute-granularity full');
});
