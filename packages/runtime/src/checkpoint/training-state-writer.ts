/** Writes training states: by the ranks of a running job, each its share, or from any other source of tensors. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { worldSize } from '@monta/core/layout';
import type { Layout } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { Device, DeviceEvent } from '../device/device.js';
import { readInts } from '../device/host-array.js';
import type { ParameterStore } from '../execute/index.js';
import { completeSteps, pruneSteps } from './checkpoints.js';
import { realDisk, writeFileDurably, type Disk } from '../files/disk.js';
import { SaveError } from './save-error.js';
import { manifestName, recordFile, writeManifest, type FileRecord } from './manifest.js';
import { abandonFolder, asideOf, beginFolder, commitFolder } from './saved-folder.js';
import { SafetensorsFile } from './safetensors-reader.js';
import { SafetensorsWriter, type TensorDeclaration } from './safetensors-writer.js';
import {
  blockElements,
  rowPieces,
  stateKinds,
  type Block,
  type StateKind,
  type TensorSource,
} from './tensor-source.js';
import {
  blockShape,
  ownedShards,
  rankFileName,
  sliceMetadata,
  stateFormat,
  stateName,
  stateTensorName,
  stateText,
  stateVersion,
  stepFolderName,
  type OwnedShard,
  type TrainingState,
} from './training-state.js';

/** Everything of `state.json` but what follows from the rest. */
export type StateContent = Omit<TrainingState, 'format' | 'version' | 'states'>;

/** Values of a shard, in one or in several pieces of whole rows. */
type Provide = (
  shard: OwnedShard,
  kind: StateKind,
) => Iterable<{ readonly block: Block; readonly values: Float32Array }>;

/** Shards in the memory of a rank, a few rows at a time: a copy of a whole one may not fit beside it. */
const storedPieces = (store: ParameterStore): Provide =>
  function* provide({ parameter, block }, kind) {
    const columns = block.endColumn - block.firstColumn;
    for (const piece of rowPieces(block)) {
      const values = new Float32Array(blockElements(piece));
      store.read(parameter.name, kind, values, (piece.firstRow - block.firstRow) * columns);
      yield { block: piece, values };
    }
  };

/** Writes a rank's file, reads its header again, and returns what the manifest says of it. */
function writeRankFile({
  path,
  shards,
  kinds,
  provide,
  disk,
}: {
  readonly path: string;
  readonly shards: readonly OwnedShard[];
  readonly kinds: readonly StateKind[];
  readonly provide: Provide;
  readonly disk: Disk;
}): FileRecord {
  const declared = kinds.flatMap((kind) =>
    shards.map(({ parameter, block }): TensorDeclaration => {
      const name = stateTensorName(kind, parameter.name);
      return { name, type: 'F32', shape: blockShape(parameter, block) };
    }),
  );
  const writer = new SafetensorsWriter(path, declared, sliceMetadata(shards), disk);
  try {
    for (const kind of kinds)
      for (const shard of shards) {
        const columns = shard.block.endColumn - shard.block.firstColumn;
        for (const { block, values } of provide(shard, kind))
          writer.write(
            stateTensorName(kind, shard.parameter.name),
            values,
            (block.firstRow - shard.block.firstRow) * columns,
          );
      }
    writer.finish();
  } finally {
    writer.abandon();
  }
  const written = SafetensorsFile.open(path);
  try {
    for (const { name, shape } of declared) written.info(name, shape);
  } finally {
    written.close();
  }
  return recordFile(path);
}

/** Writes what follows the ranks' files, and gives the folder its name. Returns the bytes of all its files. */
function completeFolder(
  folder: string,
  state: TrainingState,
  files: ReadonlyMap<string, FileRecord>,
  disk: Disk,
): number {
  const aside = asideOf(folder);
  writeFileDurably(join(aside, stateName), stateText(state), disk);
  const all = new Map([...files, [stateName, recordFile(join(aside, stateName))]]);
  writeManifest(aside, all, disk);
  const { size } = statSync(join(aside, manifestName));
  commitFolder(folder, disk);
  return [...all.values()].reduce((sum, { bytes }) => sum + bytes, size);
}

export interface SaveRequest {
  /** Of all checkpoints of the run; the state goes into `step-…` in it. */
  readonly folder: string;
  /** How many of the last are kept, at least 1. */
  readonly keep: number;
  readonly content: StateContent;
  readonly store: ParameterStore;
  readonly endpoint: Endpoint;
  readonly device: Device;
  readonly disk?: Disk;
}

export interface SavedState {
  readonly path: string;
  /** Of all its files, as they lie on the disk. */
  readonly bytes: number;
}

/** What ranks tell each other of their files: whether it is there, its size in two words, its digest in eight. */
const reportWords = 11;
const word = 2 ** 31;

/**
 * Saves a job's state; every rank calls it after the same step, with a folder that all of them see. The new state has
 * its name only when it is complete and on the disk; then older ones are removed. When a rank can't write, all of it is
 * removed, the rank throws `SaveError`, and the states before stay as they are. Tells rank 0 what was saved, the others
 * undefined.
 */
export function saveTrainingState(request: SaveRequest): SavedState | undefined {
  const { folder, keep, content, store, endpoint, device, disk = realDisk } = request;
  const { rank } = store;
  const path = join(folder, stepFolderName(content.step));
  const ranks = worldSize(content.layout);
  let failure: unknown;
  const attempt = <T>(action: () => T): T | undefined => {
    try {
      return failure === undefined ? action() : undefined;
    } catch (error) {
      failure = error;
      return undefined;
    }
  };
  const lone = ranks === 1;
  const communicator = lone ? undefined : endpoint.communicator('checkpoint', range(ranks), device.queue('copy'));
  const together = (event: DeviceEvent | undefined): void => {
    if (event !== undefined) device.wait(event);
  };
  if (rank === 0) attempt(() => beginFolder(path));
  together(communicator?.barrier({ label: 'checkpoint begins' }));
  const shards = ownedShards(content.model, content.layout, rank);
  const record = attempt(() =>
    writeRankFile({
      path: join(asideOf(path), rankFileName(rank, ranks)),
      shards,
      kinds: stateKinds,
      provide: storedPieces(store),
      disk,
    }),
  );
  const records = exchange(request, record, communicator);
  const allWritten = records.every((one) => one !== undefined);
  const files = new Map(
    records.flatMap((one, i) => (one === undefined ? [] : [[rankFileName(i, ranks), one] as const])),
  );
  const complete = { ...content, format: stateFormat, version: stateVersion, states: stateKinds } as const;
  const bytes = rank === 0 && allWritten ? attempt(() => completeFolder(path, complete, files, disk)) : undefined;
  if (rank === 0 && (failure !== undefined || !allWritten)) abandonFolder(path);
  if (!allWritten) together(communicator?.barrier({ label: 'checkpoint abandoned' }));
  if (failure !== undefined) throw saveError(path, failure);
  // Another rank throws; the job ends with its message.
  if (!allWritten) together(communicator?.barrier({ label: 'end of the job' }));
  if (bytes === undefined) return undefined;
  pruneSteps(folder, content.step, keep, disk);
  return { path, bytes };
}

function saveError(path: string, failure: unknown): SaveError {
  const last = completeSteps(dirname(path)).at(-1);
  if (existsSync(join(path, manifestName)))
    return new SaveError(
      `checkpoint ${basename(path)} in ${dirname(path)} may not survive a power failure`,
      failure,
      'Its content is whole',
    );
  return new SaveError(
    `checkpoint ${basename(path)} in ${dirname(path)} was not written`,
    failure,
    last === undefined
      ? 'Nothing of it is left; there is no earlier one'
      : `Nothing of it is left; ${stepFolderName(last)} stays usable: make room and resume from it`,
  );
}

const range = (size: number): number[] => Array.from({ length: size }, (_, i) => i);

/** A record in words that ranks can tell each other. */
function reportOf(record: FileRecord | undefined): number[] {
  if (record === undefined) return range(reportWords).map(() => 0);
  const digest = range(8).map((i) => Number.parseInt(record.sha256.slice(8 * i, 8 * i + 8), 16) | 0);
  return [1, Math.floor(record.bytes / word), record.bytes % word, ...digest];
}

/** Every rank's record, or undefined of those that failed, on every rank. */
function exchange(
  { device }: SaveRequest,
  record: FileRecord | undefined,
  communicator: ReturnType<Endpoint['communicator']> | undefined,
): (FileRecord | undefined)[] {
  if (communicator === undefined) return [record];
  const sent = device.allocate('i32', reportWords);
  const received = device.allocate('i32', reportWords * communicator.size);
  device.write(sent, Int32Array.from(reportOf(record)));
  device.wait(communicator.allGather(sent, received, { label: 'checkpoint files' }));
  const all = [...readInts(device, received)];
  for (const view of [sent, received]) device.free(view);
  return range(communicator.size).map((rank) => {
    const [there, high, low, ...digest] = all.slice(rank * reportWords, (rank + 1) * reportWords);
    if (there === 0) return undefined;
    const sha256 = digest.map((part) => (part >>> 0).toString(16).padStart(8, '0')).join('');
    return { bytes: high * word + low, sha256 };
  });
}

/**
 * Writes a state from any source, sharded as a layout says, rank after rank and a few rows at a time. `folder` is the
 * step's own folder and must not exist. Throws `SaveError` when the disk refuses.
 */
export function writeTrainingState(
  source: TensorSource,
  folder: string,
  content: Omit<StateContent, 'model'>,
  disk: Disk = realDisk,
): void {
  const { model, kinds } = source;
  const layout: Layout = content.layout;
  const ranks = worldSize(layout);
  const provide: Provide = function* provide({ parameter, block }, kind) {
    for (const piece of rowPieces(block)) {
      const values = new Float32Array(blockElements(piece));
      source.readBlock(parameter, kind, piece, values);
      yield { block: piece, values };
    }
  };
  try {
    const aside = beginFolder(folder);
    const files = new Map<string, FileRecord>();
    for (const rank of range(ranks)) {
      const name = rankFileName(rank, ranks);
      files.set(
        name,
        writeRankFile({ path: join(aside, name), shards: ownedShards(model, layout, rank), kinds, provide, disk }),
      );
    }
    completeFolder(
      folder,
      { ...content, model, format: stateFormat, version: stateVersion, states: kinds },
      files,
      disk,
    );
  } catch (error) {
    abandonFolder(folder);
    const system = error instanceof Error && 'syscall' in error;
    throw system ? new SaveError(`training state ${folder} was not written`, error, 'Nothing of it is left') : error;
  }
}

/** Whether a folder is a training state by its look, complete or not. */
export const looksLikeState = (folder: string): boolean =>
  [manifestName, stateName].some((name) => existsSync(join(folder, name)));
