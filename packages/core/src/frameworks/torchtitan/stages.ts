/** The stages of a pipeline of torchtitan (torchtitan/distributed/pipeline_parallel.py). */
import type { PipelineSchedule } from '../../estimate/index.js';
import type { TorchtitanRun } from './run.js';

export interface TorchtitanStages {
  readonly schedule: PipelineSchedule;
  readonly virtualStages: number;
  readonly layersOfStages?: readonly number[];
}

/** Schedules of torch.distributed.pipelining that have a price. */
const schedules: Readonly<Record<string, PipelineSchedule>> = { '1f1b': '1f1b', interleaved1f1b: 'interleaved' };

/** Layers of each virtual stage: embedding and head count as so many, and earlier stages take what is left over. */
export function spreadLayers(
  layers: number,
  stages: number,
  ends: { readonly first: number; readonly last: number },
): number[] | undefined {
  const all = layers + ends.first + ends.last;
  const [each, left] = [Math.floor(all / stages), all % stages];
  if (each < Math.max(1, ends.first, ends.last)) return undefined;
  return Array.from(
    { length: stages },
    (_, stage) =>
      each + (stage < left ? 1 : 0) - (stage === 0 ? ends.first : 0) - (stage === stages - 1 ? ends.last : 0),
  );
}

/** Layers of the lists of modules that a person wrote. */
function writtenStages(parts: readonly unknown[], layers: number): number[] | undefined {
  const counts = parts.map((part) =>
    Array.isArray(part) ? part.filter((name) => /^layers\.\d+$/u.test(String(name))).length : 0,
  );
  return counts.reduce((sum, count) => sum + count, 0) === layers ? counts : undefined;
}

/** Undefined where the schedule has no price, or where its stages do not fill the ranks: the checker says why. */
export function stagesOf(run: TorchtitanRun, layers: number): TorchtitanStages | undefined {
  const pp = run.degree('pipeline_parallel_degree');
  if (pp === undefined) return undefined;
  if (pp === 1) return { schedule: '1f1b', virtualStages: 1 };
  const schedule = schedules[run.schedule.toLowerCase()];
  if (schedule === undefined) return undefined;
  const layersOfStages = layersOf(run, layers, schedule === '1f1b' ? pp : 2 * pp);
  if (layersOfStages === undefined) return undefined;
  const virtualStages = layersOfStages.length / pp;
  return Number.isInteger(virtualStages) && virtualStages > 1 === (schedule === 'interleaved')
    ? { schedule, virtualStages, layersOfStages }
    : undefined;
}

function layersOf(run: TorchtitanRun, layers: number, usual: number): number[] | undefined {
  const parts = run.value('parallelism.module_fqns_per_model_part');
  if (Array.isArray(parts)) return writtenStages(parts, layers);
  const less = (end: 'first' | 'last'): number =>
    run.number(`parallelism.pipeline_parallel_${end}_stage_less_layers`) ?? 1;
  const ends = { first: less('first'), last: less('last') };
  const each = run.number('parallelism.pipeline_parallel_layers_per_stage');
  return spreadLayers(layers, each === undefined ? usual : Math.ceil((layers + ends.first + ends.last) / each), ends);
}
