import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { stepConstants } from './constants.js';
import { estimateStep } from './estimate-step.js';
import { looksLikeRuns, readPublishedRuns } from './published-runs.js';
import { ratesOf } from './rates.js';
import { runOfRow } from './run-of-row.js';
import { spearman, validateRuns } from './validate-runs.js';

const name = 'published-runs.csv';
const text = readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');

/** One row, with columns as given. */
function row(columns: Record<string, string | number>): ReturnType<typeof runOfRow> {
  const csv = `${Object.keys(columns).join(',')}\n${Object.values(columns).join(',')}\n`;
  const [run] = readPublishedRuns(csv, 'runs.csv');
  if (run === undefined) throw new Error('no row');
  return runOfRow(run);
}

const plain = { model: 'LLAMA3_8B', gpu: 'H100', gpus: 16, seq_len: 8192, gbs: 128, mbs: 1, step_time_s: 2 };

describe('published training runs', () => {
  const result = validateRuns(readPublishedRuns(text, name));

  it('are priced, or named with a reason', () => {
    expect(result.read).toBe(774);
    expect(result.rows + result.unpriced.length).toBe(774);
    expect(result.rows).toBeGreaterThanOrEqual(580);
    for (const { why } of result.unpriced) expect(why.length).toBeGreaterThan(10);
  });

  it('take about the seconds that were measured', () => {
    expect(result.medianAbsoluteError).toBeLessThan(0.04);
    expect(result.p90AbsoluteError).toBeLessThan(0.15);
  });

  it('are ordered as measured', () => {
    const many = result.spearman.filter(({ rows }) => rows > 20);
    expect(many.map(({ gpu }) => gpu).sort()).toEqual(['B200', 'GB200', 'GB300', 'H100']);
    for (const { value } of many) expect(value).toBeGreaterThan(0.9);
    expect(result.pairs.compared).toBeGreaterThan(100);
    expect(result.pairs.right / result.pairs.compared).toBeGreaterThan(0.85);
  });
});

describe('runs of a source that no constant was fitted on', () => {
  it('take about the seconds that were measured', () => {
    const file = 'held-out-runs.csv';
    const rows = readPublishedRuns(readFileSync(new URL(`./fixtures/${file}`, import.meta.url), 'utf8'), file);
    const result = validateRuns(rows);
    expect(result.unpriced).toEqual([]);
    expect(result.rows).toBe(40);
    expect(result.medianAbsoluteError).toBeLessThan(0.1);
    expect(result.p90AbsoluteError).toBeLessThan(0.2);
  });
});

describe('reading a row', () => {
  it('fills in what tables leave out: dp in place of GPUs, 1 for degrees, the batch from accumulation', () => {
    const run = row({ ...plain, gpus: '', dp: 4, tp: 2, pp: 2, gbs: '', ga: 8 });
    if (!run.known) throw new Error(run.why);
    expect(run.setting.layout).toMatchObject({ tp: 2, pp: 2, cp: 1, dp: 4 });
    expect(run.setting.globalBatch).toBe(32);
  });

  it('takes the time from tokens a second where no seconds are printed', () => {
    const run = row({ ...plain, tp: 1, step_time_s: '', tokens_per_s_per_gpu: 8192 });
    if (!run.known) throw new Error(run.why);
    expect(run.measuredSeconds).toBe(8);
  });

  it('takes a thousand for the k of rates and batches, 1,024 for that of sequences', () => {
    const run = row({ ...plain, tp: 1, step_time_s: '', seq_len: '8k', gbs: '1.024k', tokens_per_s_per_gpu: '12.5k' });
    if (!run.known) throw new Error(run.why);
    expect(run.setting).toMatchObject({ sequence: 8192, globalBatch: 1024 });
    expect(run.measuredSeconds).toBeCloseTo((1024 * 8192) / 16 / 12_500, 9);
  });

  it.each([
    ['FP8-CS', 'H100', 'fp8'],
    ['fp8_mx', 'GB200', 'mxfp8'],
    ['FP8-MX', 'B200', 'mxfp8'],
    ['NVFP4', 'GB300', 'nvfp4'],
    ['fp16', 'A100-80GB', 'bf16'],
    ['BF16', 'H100', 'bf16'],
  ])('knows precision %s on %s', (precision, gpu, expected) => {
    const run = row({ ...plain, tp: 1, precision, gpu });
    if (!run.known) throw new Error(run.why);
    expect(run.setting.precision).toBe(expected);
  });

  it.each([
    [
      { tp: 'TP4', pp: 'pp=2' },
      { tp: 4, pp: 2, dp: 2 },
    ],
    [
      { tp: '4.0', gpus: '16 GPUs' },
      { tp: 4, dp: 4 },
    ],
    [
      { tp: 'N/A', pp: 4 },
      { tp: 1, pp: 4, dp: 4 },
    ],
    [{ layout: 'DP2 TP4 PP2' }, { tp: 4, pp: 2, dp: 2 }],
    [{ parallelism: 'TP=2 CP=2' }, { tp: 2, cp: 2, dp: 4 }],
    [{ dp: 16 }, { tp: 1, dp: 16 }],
  ])('reads the layout of %j', (columns, layout) => {
    const run = row({ ...plain, ...columns });
    if (!run.known) throw new Error(run.why);
    expect(run.setting.layout).toMatchObject(layout);
  });

  it.each([
    ['seq_len', '8k', 'sequence', 8192],
    ['fsdp', 'FSDP2', 'sharding', 'fsdp'],
    ['fsdp', 'FULL_SHARD', 'sharding', 'fsdp'],
    ['gpu', '8x H100', 'cluster.device.name', 'H100-SXM5-80GB'],
    ['dispatcher', 'all-to-all', 'dispatcher', 'all_to_all'],
    ['dispatcher', 'AllGather', 'dispatcher', 'gathered'],
    ['dispatcher', 'HybridEP', 'dispatcher', 'deduplicated'],
  ])('takes %s %j', (column, text, key, value) => {
    const run = row({ ...plain, tp: 1, [column]: text });
    if (!run.known) throw new Error(run.why);
    expect({ ...run.setting, sharding: run.setting.sharing }).toHaveProperty(key, value);
  });

  it.each(['BF16', 'FP8', 'NVFP4'])('slows the products of %s under a power limit', (precision) => {
    const products = (notes: string): number => {
      const run = row({ ...plain, tp: 1, gpu: 'GB200', gpus: 72, dp: 72, gbs: 144, precision, notes });
      if (!run.known) throw new Error(run.why);
      return ratesOf(run.setting.cluster.device, run.setting.precision, stepConstants).gemm;
    };
    // half of 1,200 W
    expect(products('') / products('600 W')).toBeCloseTo(Math.SQRT2, 9);
  });

  it('takes ep and cp alone for a layout where the rest can be 1, and else says what does not fit', () => {
    const mixtral = row({ ...plain, model: 'Mixtral-8x7B', gpus: 64, seq_len: 4096, ep: 8 });
    if (!mixtral.known) throw new Error(mixtral.why);
    expect(mixtral.setting.layout).toMatchObject({ tp: 1, pp: 1, dp: 64, ep: 8, edp: 8 });
    expect(row({ ...plain, cp: 2 }).known).toBe(true);
    const none = row({ ...plain, model: 'DeepSeek-V3', gpus: 64, ep: 8 });
    expect(none.known ? '' : none.why).toMatch(/left blank, and with 1 its ranks need \d+\.\d times their memory/u);
  });

  it.each([
    ['DualPipe', 'dualpipe'],
    ['zero-bubble', 'zero-bubble'],
    ['release 25.09', 'interleaved'],
  ])('reads the schedule of "%s"', (notes, schedule) => {
    const run = row({ ...plain, pp: 4, vp: 2, notes });
    if (!run.known) throw new Error(run.why);
    expect(run.setting.schedule).toBe(schedule);
  });

  it("takes longer with PyTorch's own kernels, and under a power limit", () => {
    const seconds = (columns: Record<string, string>): number => {
      const run = row({ ...plain, tp: 1, ...columns });
      if (!run.known) throw new Error(run.why);
      return estimateStep(run.setting).seconds;
    };
    const engine = seconds({});
    const compiled = seconds({ source: 'pytorch/torchtitan', notes: 'torch.compile' });
    const native = seconds({ source: 'pytorch/torchtitan' });
    expect(compiled).toBeGreaterThan(engine);
    expect(native).toBeGreaterThan(compiled);
    expect(seconds({ notes: '500W power limit' })).toBeGreaterThan(engine);
    expect(seconds({ notes: '700 W' })).toBe(engine);
  });

  it('reads a time in milliseconds, and columns in any case', () => {
    const csv = 'Model,GPU,GPUs,Seq_len,GBS,MBS,TP,Step_time_s\nllama 3 8B,H100,8,8192,128,1,1,1340 ms\n';
    expect(looksLikeRuns(csv)).toBe(true);
    const [run] = readPublishedRuns(csv, 'runs.csv').map(runOfRow);
    expect(run).toMatchObject({ known: true, measuredSeconds: 1.34 });
  });

  it.each([
    [{ tp: 3 }, /do not divide/u],
    [{}, /no parallel layout/u],
    [{ tp: 1, mbs: '' }, /no micro-batch/u],
    [{ tp: 1, gbs: '' }, /no global batch/u],
    [{ tp: 1, gbs: 8 }, /less than a micro-batch/u],
    [{ tp: 1, step_time_s: '' }, /no time/u],
    [{ tp: 1, gpu: 'TPUv5' }, /not known/u],
    [{ tp: 1, model: 'Nonesuch-7B' }, /not a known model/u],
    [{ tp: '8x' }, /tp is "8x": a number is expected/u],
    [{ tp: 1, gpu: 'MI300X' }, /"MI300X" is not priced: .*H100/u],
    [{ tp: 1, gpu: 'A100-SXM4-40GB' }, /A100 of 80 GB are/u],
    [{ tp: 1, precision: 'nvfp4' }, /H100.* no products in nvfp4/u],
    [{ tp: 1, gpu: 'A100', precision: 'fp8' }, /A100.* no products in fp8/u],
    [{ tp: 1, precision: 'int8' }, /"int8" is not priced: bf16/u],
    [{ tp: 0.5 }, /tp is .*0\.5.* a whole number from 1/u],
    [{ tp: -1 }, /tp is .*-1/u],
    [{ tp: 100.5, gpus: 100.5, gpu: 'GB200' }, /tp is .*100\.5/u],
    [{ tp: 1, gpus: 1e15 }, /gpus is .*1000000000000000/u],
    [{ tp: 1, pp: 2, vp: 1.5 }, /vp is .*1\.5/u],
    [{ tp: 1, seq_len: 1e300 }, /seq_len is .*1e\+300/u],
    [{ tp: 1, step_time_s: 1e-320 }, /its step takes 1e-320 s/u],
    [{ tp: 1, seq_len: '', tokens_per_s_per_gpu: 1e300 }, /follow from its rate/u],
  ])('says why %j cannot be priced', (changes, why) => {
    const run = row({ ...plain, ...changes });
    expect(run.known ? '' : run.why).toMatch(why);
  });

  it('reads at most 2,048 of a table', () => {
    const many = `${Object.keys(plain).join(',')}\n${`${Object.values(plain).join(',')}\n`.repeat(2049)}`;
    expect(() => readPublishedRuns(many, 'runs.csv')).toThrow(/2049 runs/u);
  });

  it('tells tables of runs from measured collectives', () => {
    expect(looksLikeRuns(text)).toBe(true);
    expect(looksLikeRuns('gpu,op,size_bytes,time_us\nH100,all_gather,1,2\n')).toBe(false);
  });
});

describe('rank correlation', () => {
  it('is 1 for any order kept, -1 for one reversed, and shares the ranks of ties', () => {
    expect(spearman([1, 5, 9, 20], [2, 3, 4, 100])).toBeCloseTo(1, 12);
    expect(spearman([1, 5, 9], [3, 2, 1])).toBeCloseTo(-1, 12);
    // scipy.stats.spearmanr([1, 2, 2, 4], [1, 3, 2, 4])
    expect(spearman([1, 2, 2, 4], [1, 3, 2, 4])).toBeCloseTo(0.9486832980505138, 12);
  });
});
