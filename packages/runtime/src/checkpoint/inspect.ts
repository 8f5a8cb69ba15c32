/** What a checkpoint holds and whether it can be used, without loading it. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { countParameters, InputError, type Layout, type MoeModel } from '@monta/core';
import { listSteps } from './checkpoints.js';
import { noFolder } from './no-folder.js';
import { openCheckpoint } from './convert.js';
import { TrainingStateFolder } from './training-state-reader.js';
import { looksLikeState } from './training-state-writer.js';
import { modelParameters, type StateKind } from './tensor-source.js';
import { stepFolderName, type DataPosition } from './training-state.js';

export interface InspectedFile {
  readonly name: string;
  readonly bytes: number;
}

/** A model folder or a training state. */
export interface InspectedCheckpoint {
  readonly kind: 'hf' | 'state';
  readonly path: string;
  readonly files: readonly InspectedFile[];
  readonly bytes: number;
  /** Whether every file is there, whole and, as far as digests tell, undamaged. */
  readonly complete: boolean;
  /** Why it is not. */
  readonly problem?: string;
  /** Whether digests cover the numbers; false for model folders of other programs. */
  readonly digests?: boolean;
  readonly model?: MoeModel;
  /** Counted from the model's shape, which the tensors were compared with. */
  readonly parameters?: ReturnType<typeof countParameters>;
  /** Element types, most frequent first. */
  readonly types?: readonly string[];
  readonly tensors?: readonly { readonly name: string; readonly shape: readonly number[] }[];
  readonly states?: readonly StateKind[];
  readonly step?: number;
  readonly layout?: Layout;
  readonly data?: DataPosition;
}

/** A folder of training states. */
export interface InspectedRun {
  readonly kind: 'run';
  readonly path: string;
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
    const source = kind === 'state' ? TrainingStateFolder.open(path) : openCheckpoint(path);
    try {
      const { model } = source;
      const known = {
        ...basis,
        complete: true,
        model,
        parameters: countParameters(model),
        tensors: modelParameters(model).map(({ name, shape }) => ({ name, shape })),
      };
      if (!(source instanceof TrainingStateFolder))
        return { ...known, types: source.weightTypes(), states: source.kinds, digests: source.sealed === true };
      const { step, states, layout, data } = source.state;
      return { ...known, types: ['F32'], digests: true, step, states, layout, ...(data === undefined ? {} : { data }) };
    } finally {
      source.close();
    }
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ...basis, complete: false, problem: error.format() };
  }
}

/** Inspects a model folder, a training state, or a folder of training states. Throws InputError when `path` is none of them. */
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
