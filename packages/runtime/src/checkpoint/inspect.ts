/** What a checkpoint holds and whether it can be used, without loading it. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '@monta/core/units';
import { countParameters, readHfConfig } from '@monta/core/model';
import type { Layout, MoeModel } from '@monta/core';
import { listSteps } from './checkpoints.js';
import { noFolder } from './no-folder.js';
import { blockSizeOf } from './block-scales.js';
import { checkComputed, HuggingFaceFolder, readConfig } from './hugging-face-folder.js';
import { SafetensorsFolder } from './safetensors-folder.js';
import { checkSeal } from './seal.js';
import { TrainingStateFolder } from './training-state-reader.js';
import { tensorPlaces } from './hugging-face-names.js';
import { looksLikeState } from './training-state-writer.js';
import { modelParameters, type StateKind } from './tensor-source.js';
import { stepFolderName, type DataPosition } from './training-state.js';

export interface InspectedFile {
  readonly name: string;
  /** Size of the file. */
  readonly bytes: number;
}

/** A model folder or a training state. */
export interface InspectedCheckpoint {
  readonly kind: 'hf' | 'state';
  /** Path of the folder. */
  readonly path: string;
  /** Files that belong to it. */
  readonly files: readonly InspectedFile[];
  /** Of all files. */
  readonly bytes: number;
  /** Whether every file is there, whole and, as far as digests tell, undamaged. */
  readonly complete: boolean;
  /** Why it is not. */
  readonly problem?: string;
  /** Why nothing here can compute with it, whole as it is. */
  readonly notComputed?: string;
  /** What is odd about it, and does no harm. */
  readonly notes?: readonly string[];
  /** Whether digests cover the numbers; false for model folders of other programs. */
  readonly digests?: boolean;
  readonly model?: MoeModel;
  /** Counted from the model's shape; the tensors were compared with it where it is computed here. */
  readonly parameters?: ReturnType<typeof countParameters>;
  /** Element types, most frequent first. */
  readonly types?: readonly string[];
  /** Every tensor, with `--tensors`. */
  readonly tensors?: readonly { readonly name: string; readonly shape: readonly number[]; readonly type?: string }[];
  /** What tensors of the optimizer there are. */
  readonly states?: readonly StateKind[];
  /** Steps trained when it was written. */
  readonly step?: number;
  readonly layout?: Layout;
  /** Where the data stood. */
  readonly data?: DataPosition;
}

/** A folder of training states. */
export interface InspectedRun {
  readonly kind: 'run';
  /** Path of the folder. */
  readonly path: string;
  /** Those of the run, the oldest first. */
  readonly checkpoints: readonly InspectedCheckpoint[];
}

function filesOf(folder: string): InspectedFile[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => ({ name, bytes: statSync(join(folder, name)).size }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Looks at one model folder or training state; a damaged one is described with its problem, not thrown. */
function inspectOne(path: string, kind: 'hf' | 'state'): InspectedCheckpoint {
  const files = filesOf(path);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const basis = { kind, path, files, bytes };
  try {
    return { ...basis, complete: true, ...(kind === 'state' ? stateIn(path) : modelIn(path)) };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ...basis, complete: false, problem: error.format() };
  }
}

type Contents = Omit<InspectedCheckpoint, 'kind' | 'path' | 'files' | 'bytes' | 'complete' | 'problem'>;

function stateIn(path: string): Contents {
  const source = TrainingStateFolder.open(path);
  try {
    const { model } = source;
    const { step, states, layout, data } = source.state;
    return {
      model,
      parameters: countParameters(model),
      tensors: modelParameters(model).map(({ name, shape }) => ({ name, shape })),
      types: ['F32'],
      digests: true,
      step,
      states,
      layout,
      ...(data === undefined ? {} : { data }),
    };
  } finally {
    source.close();
  }
}

/**
 * A model folder: its files whole, and, where its model is computed here, all parameters in them. Throws InputError for
 * one that is not.
 */
function modelIn(path: string): Contents {
  const described = describedModel(path);
  const weights = SafetensorsFolder.open(path);
  try {
    const infos = [...weights.names().map((name) => weights.info(name)), ...weights.unlisted()];
    const loose = looseFiles(path, weights.files());
    const contents: Contents = {
      ...described,
      tensors: infos.map(({ name, shape, type }) => ({ name, shape, type })),
      types: byFrequency(infos.map(({ type }) => type)),
      states: ['weight'],
      digests: weights.files().filter(checkSeal).length === weights.files().length,
      notes: loose.map((name) => `${name} belongs to no tensor of the index`),
    };
    if (described.notComputed !== undefined) return contents;
    const absent = absentParts(described.model, weights);
    if (absent.length > 0) return { ...contents, notComputed: absentText(absent) };
    const odd = oddFloat(described.model, weights);
    if (odd !== undefined) return { ...contents, notComputed: odd };
    return { ...contents, ...parametersIn(path, contents.notes ?? []) };
  } finally {
    weights.close();
  }
}

/** A parameter whose floats are of a type that nothing here computes with, in words. */
function oddFloat(model: MoeModel | undefined, weights: SafetensorsFolder): string | undefined {
  if (model === undefined) return undefined;
  const odd = modelParameters(model)
    .flatMap((parameter) => tensorPlaces(parameter, model))
    .filter(({ tensor }) => weights.has(tensor))
    .map(({ tensor }) => weights.info(tensor))
    .find(({ type }) => type === 'F64' || type === 'F8_E5M2');
  return odd && `tensor ${JSON.stringify(odd.name)} is of type ${odd.type}`;
}

/** Parts that models of a family come with and without, by the names of their tensors. */
const optionalPart = /\.bias$|\.shared_expert|\.self_attn\.[qk]_norm\./u;

/**
 * Parts that the config asks for and no layer in the files has: the files are of another model of the family. One name
 * of each kind, a star for the layer. Throws InputError where anything else is missing, or of another shape.
 */
function absentParts(model: MoeModel | undefined, weights: SafetensorsFolder): string[] {
  if (model === undefined) return [];
  const kindOf = (name: string): string => name.replace(/\.\d+\./gu, '.*.');
  const there = new Set(weights.names().map(kindOf));
  const parameters = modelParameters(model).map((parameter) => ({ parameter, places: tensorPlaces(parameter, model) }));
  const isAbsent = ({ parameter, places }: (typeof parameters)[number]): boolean =>
    optionalPart.test(parameter.name) && !places.some(({ tensor }) => there.has(kindOf(tensor)));
  const absent = [...new Set(parameters.filter(isAbsent).map(({ parameter }) => kindOf(parameter.name)))];
  if (absent.length === 0) return [];
  for (const one of parameters.filter((each) => !isAbsent(each))) {
    const place = one.places.find(({ tensor }) => weights.has(tensor)) ?? one.places[0];
    weights.info(place.tensor, place.shape);
  }
  return absent;
}

function absentText(absent: readonly string[]): string {
  const list = absent.slice(0, surplusShown).join(', ') + (absent.length > surplusShown ? ', …' : '');
  return `config.json asks for ${list}, which no layer in the files has: they hold another model than it describes`;
}

/** What the strict reader says beyond the files. */
function parametersIn(path: string, notes: readonly string[]): Contents {
  const source = HuggingFaceFolder.open(path, { verify: false, surplus: 'name' });
  try {
    const { surplus } = source;
    const typeNote = source.typeNote();
    const more = [
      ...(typeNote === undefined ? [] : [typeNote]),
      ...(surplus.length === 0 ? [] : [surplusNote(surplus)]),
    ];
    return { types: source.storedTypes(), notes: [...notes, ...more] };
  } finally {
    source.close();
  }
}

const surplusShown = 8;

function surplusNote(surplus: readonly string[]): string {
  const more = surplus.length - surplusShown;
  const list = surplus.slice(0, surplusShown).join(', ') + (more > 0 ? ` and ${more} more` : '');
  return surplus.length === 1
    ? `a tensor does not belong to the model: ${list}`
    : `${surplus.length} tensors do not belong to the model: ${list}`;
}

/**
 * The model of a config, and why it is not computed here. A config that describes no model that is known leaves the
 * weights to describe.
 */
function describedModel(path: string): Contents {
  const file = join(path, 'config.json');
  const config = readConfig(path);
  let model: MoeModel;
  try {
    model = readHfConfig(config, file);
  } catch (error) {
    if (!(error instanceof InputError) || !isJson(config)) throw error;
    return { notComputed: error.format() };
  }
  const known = { model, parameters: countParameters(model) };
  try {
    checkComputed(model, file);
    blockSizeOf(config, file);
    return known;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ...known, notComputed: error.format() };
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Weights that lie in the folder and that nothing refers to. */
const looseFiles = (path: string, used: readonly string[]): string[] =>
  readdirSync(path).filter((name) => name.endsWith('.safetensors') && !used.includes(join(path, name)));

function byFrequency(types: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const type of types) counts.set(type, (counts.get(type) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([type]) => type);
}

/**
 * Inspects a model folder, a training state, or a folder of training states. Throws InputError when `path` is none of
 * them.
 */
export function inspectCheckpoint(path: string): InspectedCheckpoint | InspectedRun {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw noFolder(path, 'a checkpoint');
  if (looksLikeState(path)) return inspectOne(path, 'state');
  const steps = listSteps(path);
  if (steps.length > 0)
    return {
      kind: 'run',
      path,
      checkpoints: steps.map((step) => inspectOne(join(path, stepFolderName(step)), 'state')),
    };
  const names = filesOf(path).map(({ name }) => name);
  if (names.includes('config.json') || names.some((name) => name.endsWith('.safetensors')))
    return inspectOne(path, 'hf');
  throw new InputError('is no checkpoint', {
    file: path,
    expected: 'a Hugging Face model folder, a training state, or a folder of training states',
  });
}
