/** From one form of checkpoint to another: model folder or training state, another element type, another layout. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '@monta/core/units';
import { readHfConfig } from '@monta/core/model';
import { checkModelLayout } from '@monta/core/layout';
import type { Layout, MoeModel } from '@monta/core';
import { latestState, listSteps } from './checkpoints.js';
import { asHuggingFace, withoutKey, type WeightType } from './hugging-face-config.js';
import { HuggingFaceFolder, readConfig } from './hugging-face-folder.js';
import { exportModel } from './hugging-face-writer.js';
import { checkSameModel } from './same-model.js';
import { loneLayout } from './tensor-source.js';
import { TrainingStateFolder } from './training-state-reader.js';
import { looksLikeState, writeTrainingState } from './training-state-writer.js';

export type CheckpointForm = 'hf' | 'state';

export interface ConvertOptions {
  /** Default: the form that the input is not; `state` when a layout is given, `hf` when a type or a shard size is. */
  readonly to?: CheckpointForm;
  /** Element type of a model folder. Default: that of the input folder, F32 from a training state. */
  readonly type?: WeightType;
  /** Largest file of a model folder, bytes of data. */
  readonly maxShardBytes?: number;
  /**
   * A model folder of the same model, whose `config.json` (but for the type) and tokenizer a model folder gets.
   * Default: those of the input when it is a model folder.
   */
  readonly like?: string;
  /** Sharding of a training state. Default: that of the input state, one rank from a model folder. */
  readonly layout?: Layout;
}

export interface Conversion {
  /** Form of what was read. */
  readonly from: CheckpointForm;
  /** What was read: the step folder when a folder of several was given. */
  readonly input: string;
  /** Form of what was written. */
  readonly to: CheckpointForm;
  readonly output: string;
  /** Steps done, of a training state. */
  readonly step?: number;
  readonly type: WeightType;
  readonly layout?: Layout;
  /** What the output lacks of the input. */
  readonly left: readonly string[];
}

/** Opens either form; of a folder of checkpoints the last usable one. Throws InputError. */
export function openCheckpoint(path: string): HuggingFaceFolder | TrainingStateFolder {
  if (looksLikeState(path)) return TrainingStateFolder.open(path);
  if (listSteps(path).length === 0) return HuggingFaceFolder.open(path);
  const latest = latestState(path);
  if (latest === undefined) throw new InputError('holds no checkpoint', { file: path });
  return TrainingStateFolder.open(latest.path, { verify: false });
}

function targetForm(from: CheckpointForm, { to, type, maxShardBytes, like, layout }: ConvertOptions): CheckpointForm {
  const folderAsked = type !== undefined || maxShardBytes !== undefined || like !== undefined;
  if (layout !== undefined && (folderAsked || to === 'hf'))
    throw new InputError(
      'a layout belongs to a training state; an element type, a shard size and a model to be like, to a model folder',
      {
        expected: 'either of them',
        hint: 'a model folder is not sharded by layout; a training state is always float32',
      },
    );
  if (folderAsked && to === 'state')
    throw new InputError('a training state is always float32, a file a rank', {
      expected: 'no element type, no shard size and no model to be like',
    });
  return to ?? (layout !== undefined ? 'state' : folderAsked ? 'hf' : from === 'hf' ? 'state' : 'hf');
}

/** The config of a folder that must describe the same model; its weights are not looked at. */
function originOf(folder: string, model: MoeModel): { readonly folder: string; readonly config: string } {
  const config = readConfig(folder);
  const file = join(folder, 'config.json');
  checkSameModel(readHfConfig(config, file), asHuggingFace(model), file);
  return { folder, config };
}

/** Where a folder comes from, with a config for weights that are no longer quantized. */
const plainOrigin = ({ folder, config }: HuggingFaceFolder): { readonly folder: string; readonly config: string } => ({
  folder,
  config: withoutKey(config, 'quantization_config'),
});

/**
 * Converts `input` to the new folder `output`, a few rows at a time. Throws InputError and SaveError; then `output` is
 * not there.
 */
export function convertCheckpoint(input: string, output: string, options: ConvertOptions = {}): Conversion {
  if (existsSync(output))
    throw new InputError('exists already', { file: output, expected: 'a new folder', hint: 'choose another name' });
  const source = openCheckpoint(input);
  try {
    const state = source instanceof TrainingStateFolder ? source.state : undefined;
    const from: CheckpointForm = state === undefined ? 'hf' : 'state';
    const to = targetForm(from, options);
    const shared = { from, input: source.folder, to, output };
    if (to === 'state') {
      const layout = options.layout ?? state?.layout ?? loneLayout;
      checkModelLayout(source.model, layout);
      const { data, job } = state ?? {};
      writeTrainingState(source, output, {
        step: state?.step ?? 0,
        layout,
        ...(data === undefined ? {} : { data }),
        ...(job === undefined ? {} : { job }),
      });
      const left = source instanceof HuggingFaceFolder ? source.surplus : [];
      return { ...shared, step: state?.step ?? 0, type: 'F32', layout, left };
    }
    const type = options.type ?? (source instanceof HuggingFaceFolder ? source.weightTypes()[0] : 'F32');
    const given = source instanceof HuggingFaceFolder ? plainOrigin(source) : undefined;
    const origin = options.like === undefined ? given : originOf(options.like, source.model);
    exportModel(source, {
      folder: output,
      type,
      ...(options.maxShardBytes === undefined ? {} : { maxShardBytes: options.maxShardBytes }),
      ...(origin === undefined ? {} : { origin }),
    });
    const left = [
      ...(source instanceof HuggingFaceFolder ? source.surplus : []),
      ...(state?.states.filter((kind) => kind !== 'weight') ?? []),
      ...(state?.data === undefined ? [] : ['data position']),
    ];
    return { ...shared, type, left, ...(state === undefined ? {} : { step: state.step }) };
  } finally {
    source.close();
  }
}
