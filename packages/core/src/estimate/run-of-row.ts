/**
 * What a published row says a run was, with the defaults of its time for what it does not print; or why it cannot be
 * priced.
 */
import { getCluster } from '../cluster/index.js';
import type { Cluster, Device } from '../cluster/cluster.js';
import { linksOf } from '../cost/index.js';
import type { Layout } from '../layout/layout.js';
import { checkModelLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import type { MoeModel } from '../model/model.js';
import { InputError } from '../units/errors.js';
import { limits } from '../units/limits.js';
import { shownValue } from '../units/presentable.js';
import { estimateMemory } from './estimate-memory.js';
import { hybridModel, isHybrid } from './hybrid-models.js';
import { generationOf, generations, hasGrace, type Generation } from './rates.js';
import type { PublishedRun } from './published-runs.js';
import {
  runSetting,
  type ComputePrecision,
  type DispatchKind,
  type KernelKind,
  type RecomputeSetting,
  type RunSetting,
  type Stack,
} from './run-setting.js';

export type RunOfRow =
  | { readonly known: true; readonly setting: RunSetting; readonly measuredSeconds: number }
  | { readonly known: false; readonly why: string };

/** Why a row cannot be priced. */
class Unpriced extends Error {}

const unpriced = (why: string): never => {
  throw new Unpriced(why);
};

/** A whole number from 1 on that a row prints; undefined where it prints none. */
function counted(row: PublishedRun, column: string, most: number): number | undefined {
  if (row.unreadable(column)) return unpriced(`${column} is ${shownValue(row.text(column))}: a number is expected`);
  const value = row.number(column);
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return value;
  return unpriced(`${column} is ${shownValue(row.text(column))}: a whole number from 1 to ${most} is expected`);
}

/** Where tables print all degrees in one column, as `DP8 TP4` or `TP=4, PP=2`. */
const together = (row: PublishedRun): string => `${row.text('layout')} ${row.text('parallelism')}`;

/** A degree as printed, in a column of its own or with the others. */
function printedDegree(row: PublishedRun, column: string): number | undefined {
  const alone = counted(row, column, limits.ranks);
  if (alone !== undefined) return alone;
  const found = new RegExp(`(?<![a-z])${column}\\s*[=:-]?\\s*(\\d+)`, 'iu').exec(together(row))?.[1];
  return found === undefined ? undefined : Number(found);
}

/** A degree: what is printed; 1 where a row prints other degrees and leaves this one out. */
const degree = (row: PublishedRun, column: string): number => printedDegree(row, column) ?? 1;

/** Weights sharded over the replicas: a number of shards, or the word. */
const isSharded = (row: PublishedRun): boolean =>
  /^(?:on|yes|true|h?fsdp[ -]?\d?|(?:full|hybrid)[ _-]shard|zero-?3|[1-9]\d*)$/iu.test(row.text('fsdp'));

function modelOf(row: PublishedRun): MoeModel {
  const text = row.text('model');
  if (text === '') return unpriced('no model is printed');
  const hybrid = hybridModel(text);
  if (hybrid !== undefined) return hybrid;
  try {
    return getModel(text);
  } catch (error) {
    if (error instanceof InputError) return unpriced(error.message);
    throw error;
  }
}

/** Precisions by what sources call them: FP8-CS and FP8-DS scale by tensor, MX by blocks (Hopper has no MX). */
function namedPrecision(row: PublishedRun, generation: Generation): ComputePrecision {
  const text = row.text('precision').toLowerCase();
  if (/fp4/u.test(text)) return 'nvfp4';
  if (/mx/u.test(text)) return generation === 'hopper' ? 'fp8' : 'mxfp8';
  if (/fp8|float8|e4m3/u.test(text)) return 'fp8';
  if (text === '') return /FP8 quantisation/u.test(row.text('notes')) ? 'fp8' : 'bf16';
  if (/bf16|fp16|16|half|mixed|amp/u.test(text)) return 'bf16';
  return unpriced(`precision "${row.text('precision')}" is not priced: bf16, fp16, fp8, mxfp8 and nvfp4 are`);
}

function precisionOf(row: PublishedRun, device: Device): ComputePrecision {
  const generation = generationOf(device);
  const precision = namedPrecision(row, generation);
  const first = { bf16: 0, fp8: 1, mxfp8: 2, nvfp4: 2 }[precision];
  if (generations.indexOf(generation) < first) return unpriced(`${device.name} has no products in ${precision}`);
  return precision;
}

function largestDivisor(of: number, most: number): number {
  let divisor = most;
  while (of % divisor !== 0) divisor--;
  return divisor;
}

/** Watts by NVIDIA's datasheets. */
const designWatts: Readonly<Record<string, number>> = {
  A100: 400,
  H100: 700,
  H200: 700,
  B200: 1000,
  B300: 1100,
  GB200: 1200,
  GB300: 1400,
};

/** A power limit that a row's GPU or notes tell, as `500W power limit`. */
function wattsOf(row: PublishedRun): number | undefined {
  const found = /(\d{3,4}) ?W\b/u.exec(`${row.text('gpu')} ${row.text('notes')}`)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Devices under a power limit: power grows about as the square of the clock that products keep. */
function limited(cluster: Cluster, watts: number | undefined): Cluster {
  const { device } = cluster;
  const design = designWatts[linksOf(device.name)?.name ?? ''];
  if (watts === undefined || design === undefined || watts >= design || watts < design / 4) return cluster;
  const share = Math.sqrt(watts / design);
  const { bf16, fp8 } = device.flopsPerSecond;
  const flopsPerSecond = { bf16: bf16 * share, ...(fp8 === undefined ? {} : { fp8: fp8 * share }) };
  return { ...cluster, device: { ...device, flopsPerSecond } };
}

/** GPUs of the generations that published runs cover, with presets of clusters. */
const pricedGpus: readonly string[] = ['A100', 'A800', 'H100', 'H200', 'H800', 'H20', 'B200', 'B300', 'GB200', 'GB300'];

/** Devices of one domain of links that a run on so many GPUs uses: whole racks or nodes, none wider than the domain. */
function clusterOf(row: PublishedRun, gpus: number): Cluster {
  const printed = row
    .text('gpu')
    .replaceAll('_', ' ')
    .replace(/^\d+ ?[x\u00d7] ?/iu, '');
  const links = linksOf(printed);
  if (links === undefined) return unpriced(`GPU "${row.text('gpu')}" is not known`);
  if (!pricedGpus.includes(links.name))
    return unpriced(`GPU "${row.text('gpu')}" is not priced: ${pricedGpus.join(', ')} are`);
  if (/\b40 ?GB/iu.test(printed)) return unpriced(`GPU "${row.text('gpu')}" is not priced: A100 of 80 GB are`);
  const family = links.name.toLowerCase();
  const domain = family.startsWith('gb') ? 72 : 8;
  const devices = domain === 8 ? Math.min(8, gpus) : gpus <= domain ? gpus : largestDivisor(gpus, domain);
  return limited(getCluster(`${family}-${Math.ceil(gpus / devices)}x${devices}`), wattsOf(row));
}

/**
 * Experts split over their own tp: printed, or the way of the framework. Megatron-Core before its folding, and where
 * the setting is left out, splits experts over tp (NeMo and dgxc recipes to 25.04, Megatron-LM's tests); recipes since
 * set 1.
 */
function expertTensorParallel(row: PublishedRun, tp: number): number {
  const printed = printedDegree(row, 'etp');
  if (printed !== undefined) return printed;
  const before =
    /dgxc-benchmarking@v2(?:4|5\.0[0-4])|NeMo performance summary 25\.0[0-4]|ETP not set|TP\+EP\+DP|MCore 5D/u;
  return before.test(`${row.text('source')} ${row.text('notes')}`) ? tp : 1;
}

/** Printed; DeepEP without a number goes over as many ranks as share a stage, up to 64. */
function expertParallel(row: PublishedRun, { experts }: MoeModel, ofStage: number): number {
  const printed = printedDegree(row, 'ep');
  if (printed !== undefined || !/ep$/iu.test(row.text('dispatcher'))) return printed ?? 1;
  let ep = Math.min(64, ofStage, experts);
  while (experts % ep !== 0 || ofStage % ep !== 0) ep--;
  return ep;
}

function layoutOf(row: PublishedRun, model: MoeModel): { layout: Layout; gpus: number } {
  const printed = printedDegree(row, 'dp');
  const degrees = ['tp', 'pp', model.experts > 0 ? 'ep' : 'cp'];
  const says = degrees.some((column) => printedDegree(row, column) !== undefined);
  if (!says && printed === undefined && !isSharded(row))
    return unpriced(`no parallel layout is printed: none of the columns ${degrees.join(', ')}, dp, fsdp and layout`);
  const [tp, pp, cp] = [degree(row, 'tp'), degree(row, 'pp'), degree(row, 'cp')];
  const stage = tp * cp;
  const gpus =
    counted(row, 'gpus', limits.ranks) ??
    (printed === undefined ? unpriced('no number of GPUs is printed: columns gpus or dp') : printed * stage * pp);
  const dp = gpus / (stage * pp);
  if (!Number.isInteger(dp) || dp < 1) return unpriced(`tp ${tp}, cp ${cp} and pp ${pp} do not divide ${gpus} GPUs`);
  const ofStage = gpus / pp;
  const ep = model.experts > 0 ? expertParallel(row, model, ofStage) : 1;
  const fits = (etp: number): boolean => Number.isInteger(ofStage / (etp * ep)) && etp <= tp;
  const etp = model.experts === 0 ? tp : [expertTensorParallel(row, tp), 1].find(fits);
  if (etp === undefined) return unpriced(`ep ${ep} does not divide the ${ofStage} GPUs of a stage`);
  const layout = { tp, cp, dp, pp, ep, etp, edp: ofStage / (etp * ep), sequenceParallel: tp > 1 };
  return { layout, gpus };
}

/** Modules by Megatron-Core's names and what tables call them. */
const moduleNames = [
  [/full/iu, 'full'],
  [/core_attn|core attention|selective(?!:)/iu, 'core_attn'],
  [/norm/iu, 'layernorm'],
  [/\bact\b|moe_act/iu, 'moe_act'],
  [/\bmoe\b(?!_)/iu, 'moe'],
  [/\bmlp\b/iu, 'mlp'],
] as const;

function recomputeOf(row: PublishedRun): RecomputeSetting {
  const text = `${row.text('recompute')} ${/recompute ([a-z_, ]+)/u.exec(row.text('notes'))?.[1] ?? ''}`.trim();
  const found = moduleNames.filter(([pattern]) => pattern.test(text)).map(([, name]) => name);
  if (found.includes('full')) return 'full';
  const modules = found.filter((name) => name !== 'full');
  return modules.length === 0 ? 'none' : modules;
}

/** Software by its time: recipes of Megatron-Bridge capture CUDA graphs since NeMo 25.11. */
function stackOf(row: PublishedRun): Stack {
  const text = `${row.text('model')} ${row.text('source')} ${row.text('notes')}`;
  if (/JAX|MaxText/u.test(text)) return 'compiled';
  const release = /release (\d\d\.\d\d)/u.exec(text)?.[1];
  if (release !== undefined) return Number(release) >= 26.06 ? 'fused' : Number(release) >= 25.11 ? 'graphs' : 'eager';
  if (/verification_cards|perf-expert-parallel-overlap/u.test(text)) return 'fused';
  return /CUDA graphs|v25\.1[12]/iu.test(text) ? 'graphs' : 'eager';
}

/** Frameworks of PyTorch's own kernels; SDPA beside Transformer Engine is its attention alone. */
function kernelsOf(row: PublishedRun): KernelKind {
  const text = `${row.text('model')} ${row.text('source')} ${row.text('notes')}`;
  if (/SDPA/u.test(text)) return 'compiled';
  if (!/TorchTitan|fms-fsdp|DeepSpeed|llm-foundry|Composer/iu.test(text)) return 'engine';
  return /compile/iu.test(text) ? 'compiled' : 'native';
}

/** A step shorter or longer than these seconds is a slip, and an error over it would say nothing. */
const [leastSeconds, mostSeconds] = [1e-6, 1e9];

function measuredSeconds(row: PublishedRun, tokens: number, gpus: number): number {
  const printed = row.number('step_time_s') ?? row.number('derived_step_time_s');
  const rate = row.number('tokens_per_s_per_gpu');
  const seconds =
    printed !== undefined && printed > 0 ? printed : rate !== undefined && rate > 0 ? tokens / gpus / rate : undefined;
  if (seconds === undefined)
    return unpriced('no time of a step is printed: columns step_time_s or tokens_per_s_per_gpu');
  return seconds >= leastSeconds && seconds <= mostSeconds ? seconds : unpriced(`its step takes ${seconds} s`);
}

function sequenceOf(row: PublishedRun, globalBatch: number, gpus: number): number {
  const printed = counted(row, 'seq_len', limits.sequence);
  if (printed !== undefined) return printed;
  const [rate, seconds] = [row.number('tokens_per_s_per_gpu'), row.number('step_time_s')];
  if (rate === undefined || seconds === undefined) return unpriced('no length of sequences is printed: column seq_len');
  const follows = Math.round((rate * seconds * gpus) / globalBatch);
  return follows >= 1 && follows <= limits.sequence
    ? follows
    : unpriced(`sequences of ${follows} tokens follow from its rate and time`);
}

/** Printed; else each token once to a node, as DeepEP and HybridEP do. */
function dispatcherOf(row: PublishedRun): DispatchKind {
  const text = row.text('dispatcher').replaceAll(/[^a-z0-9]/giu, '');
  if (/^(?:alltoall|a2a)/iu.test(text)) return 'all_to_all';
  return /^allgather/iu.test(text) ? 'gathered' : 'deduplicated';
}

/** Interleaved stages; a table that leaves them out may be corrected by a later one, which the notes say. */
const interleaved = (row: PublishedRun): number => {
  const noted = /prints VP=?(\d+)/u.exec(row.text('notes'))?.[1];
  return counted(row, 'vp', limits.layers) ?? (noted === undefined ? 1 : Number(noted));
};

/** A schedule that a row names; else by its interleaved stages. */
function scheduleOf(row: PublishedRun): Partial<Pick<RunSetting, 'schedule'>> {
  const text = `${row.text('schedule')} ${row.text('overlap')} ${row.text('notes')}`;
  if (/dualpipe-?v/iu.test(text)) return { schedule: 'dualpipe-v' };
  if (/dualpipe/iu.test(text)) return { schedule: 'dualpipe' };
  return /zero[ -]?bubble|\bzb-?[h1v]/iu.test(text) ? { schedule: 'zero-bubble' } : {};
}

/** Natural where the row says so; verification cards train on real data, but for their performance items. */
const isNatural = (row: PublishedRun): boolean =>
  row.text('routing').startsWith('natural') ||
  (row.text('routing') === '' &&
    /verification_cards/u.test(row.text('source')) &&
    !/performance|scaling/u.test(row.text('task')));

/** Frameworks without communication of TP beside products (NeMo and Megatron-Bridge use userbuffers). */
const plainTp = /Megatron-LM|SimuMax|ModelZoo|calculon|Automodel|TorchTitan/u;

/** Beyond this share of the device's memory by the estimate, a run without recomputation cannot be what is meant. */
const surelyTooMuch = 1.5;

/** What is printed; full where nothing is and the run fits by far not without. GPUs beside Grace offload instead. */
function neededRecompute(row: PublishedRun, setting: RunSetting): RecomputeSetting {
  const { recompute, cluster, layout, microBatch, globalBatch } = setting;
  if (recompute !== 'none' || row.text('recompute') !== '' || hasGrace(cluster.device) || isHybrid(setting.model))
    return recompute;
  if (!Number.isInteger(globalBatch / (layout.dp * microBatch))) return recompute;
  return estimateMemory(setting) > surelyTooMuch * cluster.device.memoryBytes ? 'full' : recompute;
}

/** Degrees that are left blank are 1, unless so the run fits by far not whatever it computes again. */
function checkBlanks(setting: RunSetting): void {
  const { cluster, layout, microBatch, globalBatch } = setting;
  if (isHybrid(setting.model) || !Number.isInteger(globalBatch / (layout.dp * microBatch))) return;
  const needed = estimateMemory({ ...setting, recompute: 'full' }) / cluster.device.memoryBytes;
  if (needed > surelyTooMuch)
    unpriced(`tp, pp and dp are left blank, and with 1 its ranks need ${needed.toFixed(1)} times their memory`);
}

function readRow(row: PublishedRun): RunOfRow {
  const model = modelOf(row);
  const { layout, gpus } = layoutOf(row, model);
  const cluster = clusterOf(row, gpus);
  const accumulated = counted(row, 'ga', limits.sequences);
  const printedMicro = counted(row, 'mbs', limits.sequences);
  const globalBatch =
    counted(row, 'gbs', limits.sequences) ??
    (accumulated !== undefined && printedMicro !== undefined
      ? accumulated * printedMicro * layout.dp
      : unpriced('no global batch is printed: columns gbs, or mbs and ga'));
  const microBatch =
    printedMicro ??
    (accumulated === undefined
      ? unpriced('no micro-batch is printed: columns mbs or ga')
      : globalBatch / (layout.dp * accumulated));
  if (globalBatch < layout.dp * microBatch)
    return unpriced(
      `a global batch of ${globalBatch} is less than a micro-batch of ${microBatch} on each of ${layout.dp} replicas`,
    );
  const sequence = sequenceOf(row, globalBatch, gpus);
  const virtualStages = layout.pp > 1 ? Math.min(interleaved(row), Math.floor(model.layers / layout.pp)) : 1;
  checkModelLayout(model, layout);
  const setting = runSetting({
    model,
    cluster,
    layout,
    virtualStages: Math.max(1, virtualStages),
    sequence,
    microBatch,
    globalBatch,
    precision: precisionOf(row, cluster.device),
    recompute: recomputeOf(row),
    sharing: isSharded(row) ? 'fsdp' : 'distributed-optimizer',
    dispatcher: dispatcherOf(row),
    overlap: { tp: !plainTp.test(row.text('source')), ep: /ep_overlap/u.test(row.text('overlap')), dp: true, pp: true },
    stack: stackOf(row),
    kernels: kernelsOf(row),
    imbalance: isNatural(row) ? 'natural' : 1,
    capacity: /drop(?!less)|capacity/u.test(row.text('routing')),
    frozen: /lora|peft/iu.test(row.text('task')),
    ...(layout.pp > 1 ? scheduleOf(row) : {}),
  });
  if (['tp', 'pp', 'dp'].every((column) => printedDegree(row, column) === undefined) && !isSharded(row))
    checkBlanks(setting);
  const run = { ...setting, recompute: neededRecompute(row, setting) };
  return { known: true, setting: run, measuredSeconds: measuredSeconds(row, globalBatch * sequence, gpus) };
}

/** The run of a row; names the reason where it cannot be priced. */
export function runOfRow(row: PublishedRun): RunOfRow {
  try {
    return readRow(row);
  } catch (error) {
    if (error instanceof Unpriced || error instanceof InputError) return { known: false, why: error.message };
    throw error;
  }
}
