/** How many ranks a Megatron layout needs, and which numbers of ranks and expert degrees are legal. */
import { greatestCommonDivisor, limits } from '../../units/index.js';
import type { MegatronRun } from './run.js';

const leastCommonMultiple = (a: number, b: number): number => (a / greatestCommonDivisor(a, b)) * b;

/**
 * The smallest world of a layout: P lcm(T C G, X E XG), since attention and experts are two mappings onto the same
 * ranks of a stage (megatron/core/parallel_state.py). Undefined where a degree is not known.
 */
export function smallestWorld(run: MegatronRun): number | undefined {
  const { pipeline, modelRanks, expertModelRanks } = run;
  if (pipeline === undefined || modelRanks === undefined || expertModelRanks === undefined) return undefined;
  if (![modelRanks / pipeline, expertModelRanks / pipeline].every(Number.isInteger)) return undefined;
  return pipeline * leastCommonMultiple(modelRanks / pipeline, expertModelRanks / pipeline);
}

/** The legal worlds next to `gpus`: the largest that is not more, and the smallest that is. */
export function neighbouringWorlds(
  run: MegatronRun,
  gpus: number,
): { below: number | undefined; above: number } | undefined {
  const least = smallestWorld(run);
  if (least === undefined) return undefined;
  const times = Math.floor(gpus / least);
  return { below: times === 0 ? undefined : times * least, above: Math.ceil(gpus / least) * least };
}

/** Expert parallel sizes that are legal with the other degrees on `gpus` ranks. */
export function legalExpertSizes(run: MegatronRun, gpus: number): number[] {
  const { pipeline, expertTensor, expertWeightShards } = run;
  const experts = run.number('num_experts');
  if (pipeline === undefined || expertTensor === undefined || expertWeightShards === undefined) return [];
  const ranks = gpus / (pipeline * expertTensor * expertWeightShards);
  const most = Math.min(ranks, experts ?? limits.ranks, limits.ranks);
  const list = Array.from({ length: Math.max(0, Math.floor(most)) }, (_, index) => index + 1);
  return list.filter((size) => ranks % size === 0 && (experts === undefined || experts % size === 0));
}
