/**
 * What a published row says a run was, with the defaults of its time for what it does not print; or why it cannot be
 * priced.
 */
import { getCluster } from '../cluster/index.js';
import type { Cluster } from '../cluster/cluster.js';
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
import { hasGrace } from './rates.js';
import type { PublishedRun } from './published-runs.js';
import {
  runSetting,
  type ComputePrecision,
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
  const value = row.number(column);
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return value;
  return unpriced(`${column} is ${shownValue(row.text(column))}: a whole number from 1 to ${most} is expected`);
}

/** A degree: what is printed; 1 where a row prints other degrees and leaves this one out. */
const degree = (row: PublishedRun, column: string): number => counted(row, column, limits.ranks) ?? 1;

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
function precisionOf(row: PublishedRun, family: string): ComputePrecision {
  const text = row.text('precision').toLowerCase();
  if (/fp4/u.test(text)) return 'nvfp4';
  if (/mx/u.test(text)) return family === 'hopper' ? 'fp8' : 'mxfp8';
  if (/fp8|float8|e4m3/u.test(text)) return 'fp8';
  if (text === '' && /FP8 quantisation/u.test(row.text('notes'))) return 'fp8';
  return 'bf16';
}

function largestDivisor(of: number, most: number): number {
  let divisor = most;
  while (of % divisor !== 0) divisor--;
  return divisor;
}

/** Devices of one domain of links that a run on so many GPUs uses: whole racks or nodes, none wider than the domain. */
function clusterOf(row: PublishedRun, gpus: number): Cluster {
  const gpu = linksOf(row.text('gpu').replaceAll('_', ' '))?.name;
  if (gpu === undefined) return unpriced(`GPU "${row.text('gpu')}" is not known`);
  const family = gpu.toLowerCase();
  const domain = family.startsWith('gb') ? 72 : 8;
  if (gpus <= domain) return getCluster(`${family}-1x${gpus}`);
  const devices = domain === 8 ? 8 : largestDivisor(gpus, domain);
  return getCluster(`${family}-${Math.ceil(gpus / devices)}x${devices}`);
}

/**
 * Experts split over their own tp: printed, or the way of the framework. Megatron-Core before its folding, and where
 * the setting is left out, splits experts over tp (NeMo and dgxc recipes to 25.04, Megatron-LM's tests); recipes since
 * set 1.
 */
function expertTensorParallel(row: PublishedRun, tp: number): number {
  const printed = counted(row, 'etp', limits.ranks);
  if (printed !== undefined) return printed;
  const before =
    /dgxc-benchmarking@v2(?:4|5\.0[0-4])|NeMo performance summary 25\.0[0-4]|ETP not set|TP\+EP\+DP|MCore 5D/u;
  return before.test(`${row.text('source')} ${row.text('notes')}`) ? tp : 1;
}

/** Printed; DeepEP without a number goes over as many ranks as share a stage, up to 64. */
function expertParallel(row: PublishedRun, { experts }: MoeModel, ofStage: number): number {
  const printed = counted(row, 'ep', limits.ranks);
  if (printed !== undefined || !/ep$/iu.test(row.text('dispatcher'))) return printed ?? 1;
  let ep = Math.min(64, ofStage, experts);
  while (experts % ep !== 0 || ofStage % ep !== 0) ep--;
  return ep;
}

function layoutOf(row: PublishedRun, model: MoeModel): { layout: Layout; gpus: number } {
  const sharded = /^(?:on|[1-9]\d*)$/iu.test(row.text('fsdp'));
  if (row.number('tp') === undefined && row.number('pp') === undefined && !sharded)
    return unpriced('no parallel layout is printed');
  const [tp, pp, cp] = [degree(row, 'tp'), degree(row, 'pp'), degree(row, 'cp')];
  const stage = tp * cp;
  const printed = counted(row, 'dp', limits.ranks);
  const gpus =
    counted(row, 'gpus', limits.ranks) ??
    (printed === undefined ? unpriced('no number of GPUs is printed') : printed * stage * pp);
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

/** A step shorter or longer than these seconds is a slip, and an error over it would say nothing. */
const [leastSeconds, mostSeconds] = [1e-6, 1e9];

function measuredSeconds(row: PublishedRun, tokens: number, gpus: number): number {
  const printed = row.number('step_time_s') ?? row.number('derived_step_time_s');
  const rate = row.number('tokens_per_s_per_gpu');
  const seconds =
    printed !== undefined && printed > 0 ? printed : rate !== undefined && rate > 0 ? tokens / gpus / rate : undefined;
  if (seconds === undefined) return unpriced('no time of a step is printed');
  return seconds >= leastSeconds && seconds <= mostSeconds ? seconds : unpriced(`its step takes ${seconds} s`);
}

function sequenceOf(row: PublishedRun, globalBatch: number, gpus: number): number {
  const printed = counted(row, 'seq_len', limits.sequence);
  if (printed !== undefined) return printed;
  const [rate, seconds] = [row.number('tokens_per_s_per_gpu'), row.number('step_time_s')];
  if (rate === undefined || seconds === undefined) return unpriced('no length of sequences is printed');
  const follows = Math.round((rate * seconds * gpus) / globalBatch);
  return follows >= 1 && follows <= limits.sequence
    ? follows
    : unpriced(`sequences of ${follows} tokens follow from its rate and time`);
}

/** Interleaved stages; a table that leaves them out may be corrected by a later one, which the notes say. */
const interleaved = (row: PublishedRun): number => {
  const noted = /prints VP=?(\d+)/u.exec(row.text('notes'))?.[1];
  return counted(row, 'vp', limits.layers) ?? (noted === undefined ? 1 : Number(noted));
};

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

function readRow(row: PublishedRun): RunOfRow {
  const model = modelOf(row);
  const { layout, gpus } = layoutOf(row, model);
  const cluster = clusterOf(row, gpus);
  const family = linksOf(cluster.device.name)?.family ?? '';
  const accumulated = counted(row, 'ga', limits.sequences);
  const printedMicro = counted(row, 'mbs', limits.sequences);
  const globalBatch =
    counted(row, 'gbs', limits.sequences) ??
    (accumulated !== undefined && printedMicro !== undefined
      ? accumulated * printedMicro * layout.dp
      : unpriced('no global batch is printed'));
  const microBatch =
    printedMicro ??
    (accumulated === undefined ? unpriced('no micro-batch is printed') : globalBatch / (layout.dp * accumulated));
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
    precision: precisionOf(row, family),
    recompute: recomputeOf(row),
    sharing: /^(?:on|[1-9]\d*)$/iu.test(row.text('fsdp')) ? 'fsdp' : 'distributed-optimizer',
    dispatcher: /^(?:alltoall|a2a)$/iu.test(row.text('dispatcher')) ? 'all_to_all' : 'deduplicated',
    overlap: { tp: !plainTp.test(row.text('source')), ep: /ep_overlap/u.test(row.text('overlap')), dp: true, pp: true },
    stack: stackOf(row),
    imbalance: isNatural(row) ? 'natural' : 1,
    capacity: /drop(?!less)|capacity/u.test(row.text('routing')),
    frozen: /lora|peft/iu.test(row.text('task')),
  });
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
