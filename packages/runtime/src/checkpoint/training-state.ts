/**
 * What a training state is on the disk (docs/checkpoints.md): a folder `step-000123` with the float32 weights and
 * AdamW's moments of every rank in a safetensors file of its own, `state.json`, and `manifest.json` with the size and
 * digest of every file.
 */
import { InputError, isRecord, limits, shownValue } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import { holdsParameter } from '@monta/core/schedule';
import type { Layout, MoeModel, Parameter } from '@monta/core';
import { parseJobRecord, type JobRecord } from './job-record.js';
import { parseModelRecord } from './model-record.js';
import { modelParameters, shardBlock, stateKinds, type Block, type StateKind } from './tensor-source.js';

export const stateFormat = 'monta-training-state';
export const stateVersion = 1;
export const stateName = 'state.json';

/**
 * Where the data and everything random continues: all of it is drawn from streams that a seed and a step number select.
 */
export interface DataPosition {
  readonly text: string;
  readonly seed: number;
  /** The step whose batch comes next, from 1. */
  readonly nextStep: number;
  readonly sequence: number;
  /** Sequences of a whole step, over all replicas. */
  readonly sequencesPerStep: number;
}

/** The content of `state.json`. */
export interface TrainingState {
  readonly format: typeof stateFormat;
  readonly version: typeof stateVersion;
  /** Steps done; 0 for a state made from a model folder. */
  readonly step: number;
  readonly model: MoeModel;
  readonly layout: Layout;
  readonly states: readonly StateKind[];
  /** Absent in a state made from a model folder. */
  readonly data?: DataPosition;
  /** What the run was asked to do, for people and to tell what changed at a resume. */
  readonly job?: JobRecord;
}

const digits = (value: number, length: number): string => String(value).padStart(length, '0');

export const stepFolderName = (step: number): string => `step-${digits(step, 6)}`;

/** The step of a folder's name; undefined for other names. */
export function stepOfFolder(name: string): number | undefined {
  const step = /^step-(\d{6,})$/.exec(name)?.[1];
  return step === undefined ? undefined : Number(step);
}

export const rankFileName = (rank: number, ranks: number): string =>
  `rank-${digits(rank, 5)}-of-${digits(ranks, 5)}.safetensors`;

export const stateTensorName = (kind: StateKind, parameter: string): string => `${kind}/${parameter}`;

/** A shard that a rank writes. */
export interface OwnedShard {
  readonly parameter: Parameter;
  readonly block: Block;
}

/** Shape of a shard as it is stored: of as many axes as the parameter. */
export function blockShape({ shape }: Parameter, { firstRow, endRow, firstColumn, endColumn }: Block): number[] {
  return shape.length === 1 ? [endRow - firstRow] : [endRow - firstRow, endColumn - firstColumn];
}

/**
 * The shards that a rank writes: of the ranks that hold the same one, a different one for each parameter in turn, so
 * that copies share the work. Over all ranks every element is written once.
 */
export function ownedShards(model: MoeModel, layout: Layout, rank: number): OwnedShard[] {
  const ranks = Array.from({ length: worldSize(layout) }, (_, i) => i);
  return modelParameters(model, layout).flatMap((parameter, index) => {
    if (!holdsParameter(parameter, model, layout, rank)) return [];
    const block = shardBlock(parameter, layout, rank);
    const holders = ranks.filter((other) => {
      if (!holdsParameter(parameter, model, layout, other)) return false;
      const { firstRow, firstColumn } = shardBlock(parameter, layout, other);
      return firstRow === block.firstRow && firstColumn === block.firstColumn;
    });
    return holders[index % holders.length] === rank ? [{ parameter, block }] : [];
  });
}

/** The header's metadata of a rank's file: where each shard lies in its full tensor. */
export function sliceMetadata(shards: readonly OwnedShard[]): Record<string, string> {
  const slices = Object.fromEntries(
    shards.map(({ parameter, block }) => [
      parameter.name,
      { shape: parameter.shape, rows: [block.firstRow, block.endRow], columns: [block.firstColumn, block.endColumn] },
    ]),
  );
  return { format: stateFormat, version: String(stateVersion), slices: JSON.stringify(slices) };
}

/** Infinity is no JSON number. */
export const stateText = (state: TrainingState): string =>
  `${JSON.stringify(state, (_key, value: unknown) => (value === Infinity ? 'Infinity' : value), 2)}\n`;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** Reads `state.json`. Throws InputError. */
export function parseState(text: string, file: string): TrainingState {
  const bad = (message: string, expected: string, path?: string): InputError =>
    new InputError(message, { file, expected, ...(path === undefined ? {} : { path }) });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw bad(`is not JSON: ${error instanceof Error ? error.message : String(error)}`, 'a training state');
  }
  if (!isRecord(parsed) || parsed['format'] !== stateFormat)
    throw bad('is not a training state', `format "${stateFormat}"`, 'format');
  if (parsed['version'] !== stateVersion)
    throw bad(`version ${shownValue(parsed['version'])} is not known here`, `version ${stateVersion}`, 'version');
  const { step, model, layout, states, data } = parsed;
  const job = parseJobRecord(parsed['job']);
  if (!isCount(step)) throw bad('is not a step', 'a whole number from 0', 'step');
  if (
    !Array.isArray(states) ||
    !states.includes('weight') ||
    !states.every((kind) => stateKinds.some((known) => known === kind))
  )
    throw bad('are not the states of a parameter', `weight, and possibly ${stateKinds.slice(1).join(', ')}`, 'states');
  return {
    format: stateFormat,
    version: stateVersion,
    step,
    model: parseModel(model, bad, file),
    layout: parseLayoutOf(layout, bad),
    states: stateKinds.filter((kind) => states.includes(kind)),
    ...(isRecord(data) ? { data: parseData(data, bad) } : {}),
    ...(job === undefined ? {} : { job }),
  };
}

type Complaint = (message: string, expected: string, path: string) => InputError;

function parseModel(model: unknown, bad: Complaint, file: string): MoeModel {
  try {
    const parsed = parseModelRecord(model);
    if ('wrong' in parsed) throw bad('is not that of a model', "a model's shape", parsed.wrong);
    return parsed;
  } catch (error) {
    if (error instanceof InputError) throw error.at({ file });
    throw error;
  }
}

function parseLayoutOf(layout: unknown, bad: Complaint): Layout {
  if (!isRecord(layout)) throw bad('is not a layout', 'the degrees tp, cp, dp, pp, ep, etp, edp', 'layout');
  const degree = (key: Exclude<keyof Layout, 'sequenceParallel'>): number => {
    const value = layout[key];
    if (isCount(value) && value > 0) return value;
    throw bad('is not a degree', 'at least 1', `layout.${key}`);
  };
  const typed: Layout = {
    tp: degree('tp'),
    cp: degree('cp'),
    dp: degree('dp'),
    pp: degree('pp'),
    ep: degree('ep'),
    etp: degree('etp'),
    edp: degree('edp'),
    sequenceParallel: layout['sequenceParallel'] === true,
  };
  if (worldSize(typed) > limits.ranks) throw bad(`has ${worldSize(typed)} ranks`, `at most ${limits.ranks}`, 'layout');
  if (worldSize(typed) !== typed.etp * typed.ep * typed.edp * typed.pp)
    throw bad('its products differ', 'tp·cp·dp = etp·ep·edp', 'layout');
  return typed;
}

function parseData(data: Record<string, unknown>, bad: Complaint): DataPosition {
  const { text, seed, nextStep, sequence, sequencesPerStep } = data;
  if (typeof text !== 'string') throw bad('is not the name of a text', 'a name or a path', 'data.text');
  for (const [key, value] of Object.entries({ seed, nextStep, sequence, sequencesPerStep }))
    if (typeof value !== 'number') throw bad('is not a number', 'a number', `data.${key}`);
  return { text, seed, nextStep, sequence, sequencesPerStep } as DataPosition;
}
