/** `monta export`: a plan in the words of another framework. */
import type { ExportPlan, Field, FieldMap, Strategy } from '@monta/core';
import { InputError, limits } from '@monta/core/units';
import { readDocument } from '@monta/core/units/documents';
import { deviceCount } from '@monta/core/cluster';
import { checkModelLayout, checkSequence, occupiedBy, parseLayout } from '@monta/core/layout';
import { namedStrategies, parseDispatch } from '@monta/core/schedule';
import { megatronModules } from '@monta/core/memory';
import { isPlanDocument, readPlan, settingOfPlan } from '@monta/core/plan/document';
import { exportOfSetting, exportPlan } from '@monta/core/frameworks';
import type { MontaContext } from '../context.js';
import { readTextFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';
import type { ExportFlags } from './export.flags.js';

const simple: Strategy = { ...namedStrategies.scattered, chunks: { forward: 1, backward: 1 } };

/**
 * The plan's chosen way: `best` of `monta plan`, `strategy` of a run's plan, or `dispatch` of a plan by hand. Its
 * layout has the last word on etp.
 */
function chosen(plan: FieldMap): { strategy: Strategy; layout?: string } {
  const written = plan.get('dispatch');
  if (written !== undefined) {
    const strategy = written.parsed(() => parseDispatch(written.string()));
    if (strategy !== 'auto') return { strategy };
  }
  const best = plan.get('best');
  const holder = best?.isMap === true ? best.map() : plan;
  const given = holder.get('strategy');
  if (given?.isMap !== true) return { strategy: simple };
  const way = given.map();
  const [dispatch, combine, chunks] = [way.get('dispatch'), way.get('combine'), way.get('chunks')?.map()];
  if (dispatch === undefined || combine === undefined) return { strategy: simple };
  const count = (name: 'forward' | 'backward'): number =>
    chunks?.get(name)?.integer({ min: 1, max: limits.chunks }) ?? 1;
  const strategy = {
    dispatch: dispatch.string(),
    combine: combine.string(),
    chunks: { forward: count('forward'), backward: count('backward') },
  };
  const layout = holder === plan ? undefined : holder.get('layout')?.string();
  return { strategy, ...(layout === undefined ? {} : { layout }) };
}

function recomputeOf(field: Field | undefined): Pick<ExportPlan, 'recompute'> {
  if (field === undefined) return {};
  if (!Array.isArray(field.value)) return { recompute: field.oneOf(['none', 'selective', 'full'] as const) };
  return { recompute: field.list().map((one) => one.oneOf(megatronModules)) };
}

/** A plan that `monta plan` wrote. Throws `InputError` for what no export can write. */
function searched(text: string, path: string, flags: Subject): ExportPlan {
  const plan = readPlan(text, path);
  const [model, cluster] = [loadModel(flags.model ?? plan.model), loadCluster(flags.cluster ?? plan.cluster)];
  try {
    return exportOfSetting(settingOfPlan(plan, model, cluster));
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: path }) : error;
  }
}

type Subject = Pick<ExportFlags, 'model' | 'cluster'>;

/** Reads a plan. Throws `InputError`. */
export function readExportPlan(path: string, flags: Subject): ExportPlan {
  const text = readTextFile(path);
  const document = readDocument(text, path);
  if (isPlanDocument(document.value)) return searched(text, path, flags);
  const plan = document.map();
  const whole = loadCluster(flags.cluster ?? plan.need('cluster', 'the name of a cluster, or --cluster').string());
  const model = loadModel(flags.model ?? plan.need('model', 'the name of a model, or --model').string());
  const way = chosen(plan);
  const layoutField = plan.need('layout', 'degrees like tp=8,dp=2,ep=2');
  const cluster = layoutField.parsed(() => occupiedBy(layoutField.string(), whole));
  const layout = layoutField.parsed(() => parseLayout(way.layout ?? layoutField.string(), deviceCount(cluster)));
  layoutField.parsed(() => checkModelLayout(model, layout));
  const sequenceField = plan.need('sequence', 'tokens of a sequence');
  const sequence = sequenceField.integer({ min: 1, max: limits.tokens });
  sequenceField.parsed(() => checkSequence(sequence, layout));
  const count = (name: string, most: number): number => plan.get(name)?.integer({ min: 1, max: most }) ?? 1;
  const stages = plan.get('layersOfStages');
  const capacity = plan.get('capacityFactor');
  return {
    cluster,
    model,
    layout,
    strategy: way.strategy,
    sequence,
    sequences: count('sequences', limits.sequences),
    microBatches: count('microBatches', limits.sequences),
    dtype: plan.get('dtype')?.oneOf(['bf16', 'f32'] as const) ?? 'bf16',
    virtualStages: count('virtualStages', model.layers),
    ...recomputeOf(plan.get('recompute')),
    ...(stages === undefined
      ? {}
      : { layersOfStages: stages.list().map((one) => one.integer({ min: 0, max: model.layers })) }),
    ...(capacity === undefined || capacity.value === null
      ? {}
      : { capacityFactor: capacity.number({ min: limits.leastFactor, max: limits.experts }) }),
  };
}

/** Runs the command. Throws `InputError` for a plan that can't be read, or that the framework can't run. */
export function runExport({ console }: MontaContext, flags: ExportFlags, path: string): void {
  const plan = readExportPlan(path, flags);
  const { text, ...exported } = exportOrExplain(plan, flags, path);
  if (flags.json) {
    console.json({ to: flags.to, ...exported, text });
    return;
  }
  console.write(text);
  // JSON has no comments
  if (flags.to === 'deepspeed') for (const { field, reason } of exported.settings) console.note(`${field}: ${reason}`);
  for (const note of exported.notes) console.note(note);
}

function exportOrExplain(plan: ExportPlan, { to, nearest }: ExportFlags, path: string): ReturnType<typeof exportPlan> {
  try {
    return exportPlan(plan, to, { nearest });
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: path }) : error;
  }
}
