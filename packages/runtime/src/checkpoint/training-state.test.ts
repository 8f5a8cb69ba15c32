import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { holdsParameter, worldSize, type Layout, type PartialLayout, minOf } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CpuDevice } from '../device/cpu/index.js';
import { ParameterStore } from '../execute/index.js';
import { LoneEndpoint } from '../comm/lone-endpoint.js';
import { completeSteps, latestState, listSteps } from './checkpoints.js';
import { convertCheckpoint } from './convert.js';
import { realDisk, type Disk } from '../files/disk.js';
import { SaveError } from './save-error.js';
import { inspectCheckpoint } from './inspect.js';
import { cleanLeftovers } from './saved-folder.js';
import { loadShards, loneLayout, modelParameters, parameterElements, stateKinds } from './tensor-source.js';
import {
  layoutOf,
  memorySource,
  randomTensors,
  readAll,
  readPlainly,
  sameBits,
  smallModel,
  stepOf,
  type Tensors,
} from '../../testing/checkpoint/tensors.js';
import { ownedShards, stepFolderName } from './training-state.js';
import { TrainingStateFolder } from './training-state-reader.js';
import { saveTrainingState, writeTrainingState } from './training-state-writer.js';

let folder = '';
let made = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-state-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const fresh = (): string => join(folder, String(made++));

const layouts: readonly PartialLayout[] = [
  {},
  { tp: 2, dp: 2, ep: 2 },
  { dp: 4, ep: 4 },
  { tp: 4 },
  { tp: 2, dp: 2, ep: 4, etp: 1, sequenceParallel: true },
  { tp: 2, dp: 4, ep: 2 },
];

function readState(path: string): Map<string, Float32Array> {
  const state = TrainingStateFolder.open(path);
  try {
    return readAll(state);
  } finally {
    state.close();
  }
}

/** A rank's shards, cut from the full tensors by `ParameterStore.load`. */
function storeOf(layout: Layout, rank: number, tensors: Tensors): ParameterStore {
  const store = new ParameterStore(stepOf(smallModel, layout), rank, CpuDevice.create({ bytes: 1 << 20 }));
  for (const kind of stateKinds) store.load((name) => tensors.get(`${kind}/${name}`) ?? [], kind);
  return store;
}

describe('sharding', () => {
  it.each(layouts)('%j: every element is written by one rank, and copies share the work', (partial) => {
    const layout = layoutOf(partial);
    const written = new Map<string, number>();
    const perRank = Array.from({ length: worldSize(layout) }, (_, rank) => {
      let bytes = 0;
      for (const { parameter, block } of ownedShards(smallModel, layout, rank)) {
        expect(holdsParameter(parameter, smallModel, layout, rank)).toBe(true);
        const elements = (block.endRow - block.firstRow) * (block.endColumn - block.firstColumn);
        written.set(parameter.name, (written.get(parameter.name) ?? 0) + elements);
        bytes += elements;
      }
      return bytes;
    });
    for (const parameter of modelParameters(smallModel))
      expect(written.get(parameter.name)).toBe(parameterElements(parameter));
    expect(minOf(perRank)).toBeGreaterThan(0);
  });

  it('any layout reads what any other wrote, by rank', () => {
    const tensors = randomTensors(smallModel, 3);
    for (const from of layouts) {
      const path = fresh();
      writeTrainingState(memorySource(smallModel, tensors), path, { step: 7, layout: layoutOf(from) });
      expect(sameBits(readState(path), tensors)).toBe(true);
      for (const to of layouts.map((partial) => layoutOf(partial)))
        for (let rank = 0; rank < worldSize(to); rank++) {
          const expected = storeOf(to, rank, tensors);
          const store = new ParameterStore(stepOf(smallModel, to), rank, CpuDevice.create({ bytes: 1 << 20 }));
          const state = TrainingStateFolder.open(path, { verify: false });
          loadShards(store, state);
          state.close();
          for (const { parameter } of store.held())
            for (const kind of stateKinds)
              expect(store.data(parameter.name, kind)).toEqual(expected.data(parameter.name, kind));
        }
    }
  });

  it('a rank file is plain safetensors of the shards', () => {
    const tensors = randomTensors(smallModel, 3);
    const path = fresh();
    writeTrainingState(memorySource(smallModel, tensors), path, { step: 7, layout: layoutOf({ tp: 2 }) });
    const name = 'weight/model.layers.0.self_attn.o_proj.weight';
    const halves = [0, 1].map((rank) => readPlainly(join(path, `rank-0000${rank}-of-00002.safetensors`)).get(name));
    const full = tensors.get(name) ?? new Float32Array();
    expect(halves.map((half) => half?.shape)).toEqual([
      [8, 12],
      [8, 12],
    ]);
    for (let row = 0; row < 8; row++)
      for (let column = 0; column < 24; column++)
        expect(halves[Math.floor(column / 12)]?.bytes.readFloatLE(4 * (12 * row + (column % 12)))).toBe(
          full[24 * row + column],
        );
  });

  it('conversions keep step and data position over layouts and say what a model folder lacks', () => {
    const [first, second, third] = [fresh(), fresh(), fresh()];
    const data = { text: 'a', seed: 1, nextStep: 8, sequence: 8, sequencesPerStep: 2 };
    const tensors = randomTensors(smallModel, 3);
    writeTrainingState(memorySource(smallModel, tensors), first, { step: 7, layout: layoutOf({ tp: 2 }), data });
    const layout = layoutOf({ dp: 4, ep: 2 });
    expect(convertCheckpoint(first, second, { layout })).toMatchObject({
      from: 'state',
      to: 'state',
      step: 7,
      layout,
      left: [],
    });
    const inspected = inspectCheckpoint(second);
    expect(inspected).toMatchObject({ kind: 'state', complete: true, step: 7, layout, data, states: stateKinds });
    expect(sameBits(readState(second), tensors)).toBe(true);
    expect(convertCheckpoint(second, third).left).toEqual(['firstMoment', 'secondMoment', 'data position']);
    expect(inspectCheckpoint(third)).toMatchObject({ kind: 'hf', complete: true, digests: true, types: ['F32'] });
    expect(() => convertCheckpoint(second, third)).toThrow('exists already');
    expect(() => convertCheckpoint(second, fresh(), { layout: layoutOf({ tp: 3 }) })).toThrow(/tp=3 does not divide/);
    expect(() => convertCheckpoint(second, fresh(), { layout, type: 'BF16' })).toThrow(/layout belongs/);
  });
});

/** Saves states of one rank, and reads them back. */
function save(
  target: string,
  step: number,
  tensors: Tensors,
  { keep = 3, disk }: { keep?: number; disk?: Disk } = {},
): void {
  saveTrainingState({
    folder: target,
    keep,
    content: { step, model: smallModel, layout: loneLayout },
    store: storeOf(loneLayout, 0, tensors),
    endpoint: new LoneEndpoint(),
    device: CpuDevice.create({ bytes: 1 << 16 }),
    ...(disk === undefined ? {} : { disk }),
  });
}

/**
 * A disk whose operation number `at` (from 0) fails, and that counts. A failing write takes half of its bytes before.
 */
function failingDisk(at: number, code: string): Disk & { readonly operations: number } {
  let operations = 0;
  let short = false;
  const next = (): void => {
    if (operations++ === at) throw Object.assign(new Error(`${code}: injected`), { code, syscall: 'write' });
  };
  return {
    get operations() {
      return operations;
    },
    write: (descriptor, bytes, offset, length, position) => {
      if (operations === at && !short && length > 1) {
        short = true;
        return realDisk.write(descriptor, bytes, offset, length >> 1, position);
      }
      next();
      return realDisk.write(descriptor, bytes, offset, length, position);
    },
    sync: (descriptor) => {
      next();
      realDisk.sync(descriptor);
    },
    rename: (from, to) => {
      next();
      realDisk.rename(from, to);
    },
  };
}

describe('saving', () => {
  it('keeps the last n, names steps, and replaces a step that is there', () => {
    const target = fresh();
    for (const step of [5, 10, 15, 20]) save(target, step, randomTensors(smallModel, step), { keep: 2 });
    expect(readdirSync(target).sort()).toEqual(['step-000015', 'step-000020']);
    save(target, 20, randomTensors(smallModel, 99), { keep: 2 });
    expect(readdirSync(target).sort()).toEqual(['step-000015', 'step-000020']);
    expect(sameBits(readState(join(target, 'step-000020')), randomTensors(smallModel, 99))).toBe(true);
    expect(sameBits(readState(join(target, 'step-000015')), randomTensors(smallModel, 15))).toBe(true);
  });

  it('a full disk at any operation leaves the state before, nothing besides, and says so once', () => {
    const target = fresh();
    const tensors = randomTensors(smallModel, 1);
    save(target, 100, tensors);
    const counting = failingDisk(Infinity, '');
    save(target, 200, randomTensors(smallModel, 2), { disk: counting });
    rmSync(join(target, stepFolderName(200)), { recursive: true });
    expect(counting.operations).toBeGreaterThan(60);
    const messages = new Set<string>();
    for (let at = 0; at < counting.operations; at++) {
      let failure: unknown;
      try {
        save(target, 200, randomTensors(smallModel, 2), { disk: failingDisk(at, 'ENOSPC') });
      } catch (error) {
        failure = error;
      }
      // Making the rename durable is the last operation: whether it fails or not, the new state is whole.
      const done = existsSync(join(target, stepFolderName(200)));
      expect([at, failure instanceof SaveError]).toEqual([at, true]);
      messages.add(`${done ? 'done' : 'not done'}: ${String(failure)}`);
      expect(readdirSync(target)).toEqual(done ? ['step-000100', 'step-000200'] : ['step-000100']);
      expect(sameBits(readState(join(target, 'step-000100')), tensors)).toBe(true);
      if (done) rmSync(join(target, stepFolderName(200)), { recursive: true });
    }
    expect([...messages]).toEqual([
      expect.stringMatching(
        new RegExp(
          '^not done: SaveError: checkpoint step-000200 in .* was not written: the disk is full \\(ENOSPC\\)\\. ' +
            'Nothing of it is left; step-000100 stays usable',
        ),
      ),
      expect.stringMatching(
        /^done: .* may not survive a power failure: the disk is full \(ENOSPC\)\. Its content is whole/,
      ),
    ]);
  });

  it('killed before any operation: what lies on the disk then resumes from the state before or the new one', () => {
    const tensors = new Map([100, 200, 201].map((step) => [step, randomTensors(smallModel, step)]));
    const of = (step: number): Tensors => tensors.get(step) ?? new Map();
    // A new step that pushes out the one before, and a step that replaces itself.
    for (const [before, saved, content] of [
      [100, 200, 200],
      [200, 200, 201],
    ]) {
      const target = fresh();
      const snapshots: string[] = [];
      const snapshot = (): void => {
        const copy = fresh();
        cpSync(target, copy, { recursive: true });
        snapshots.push(copy);
      };
      save(target, before, of(before), { keep: 1 });
      const disk: Disk = {
        write: (descriptor, bytes, offset, length, position) => {
          snapshot();
          return realDisk.write(descriptor, bytes, offset, length, position);
        },
        sync: (descriptor) => {
          snapshot();
          realDisk.sync(descriptor);
        },
        rename: (from, to) => {
          snapshot();
          realDisk.rename(from, to);
          snapshot();
        },
      };
      save(target, saved, of(content), { keep: 1, disk });
      snapshot();
      const outcomes = snapshots.map((copy) => {
        cleanLeftovers(copy);
        const latest = latestState(copy);
        if (latest === undefined || latest.skipped.length > 0) return 'lost';
        const found = readState(latest.path);
        if (readdirSync(copy).some((name) => name.startsWith('.'))) return 'not cleaned';
        return sameBits(found, of(content)) ? 'new' : sameBits(found, of(before)) ? 'before' : 'torn';
      });
      const first = outcomes.indexOf('new');
      expect(new Set(outcomes.slice(0, first))).toEqual(new Set(['before']));
      expect(new Set(outcomes.slice(first))).toEqual(new Set(['new']));
      expect(first).toBeGreaterThan(60);
    }
  });

  it('leftovers of a killed run are cleaned, and a step that was making room is put back', () => {
    const target = fresh();
    save(target, 1, randomTensors(smallModel, 1));
    save(target, 2, randomTensors(smallModel, 2));
    realDisk.rename(join(target, 'step-000002'), join(target, '.replaced-step-000002'));
    save(join(target, 'x'), 3, randomTensors(smallModel, 3));
    realDisk.rename(join(target, 'x', 'step-000003'), join(target, '.tmp-step-000003'));
    rmSync(join(target, 'x'), { recursive: true });
    expect(cleanLeftovers(target)).toEqual(['.tmp-step-000003']);
    expect(readdirSync(target).sort()).toEqual(['step-000001', 'step-000002']);
  });

  it('what a run is filling is left alone; what a dead process filled goes', async () => {
    const target = fresh();
    const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
    const gone = once(child, 'exit');
    const pid = child.pid ?? 0;
    const fill = (step: number, said: object): void => {
      const name = `step-00000${step}`;
      mkdirSync(join(target, `.tmp-${name}`), { recursive: true });
      writeFileSync(join(target, `.writer-${name}`), JSON.stringify(said));
    };
    const began = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[19];
    fill(1, { host: hostname(), pid, began });
    fill(2, { host: hostname(), pid, began: `${began}0` });
    fill(3, { host: 'another', pid: 1 });
    mkdirSync(join(target, '.tmp-of-mine'));
    expect(cleanLeftovers(target, false)).toEqual(['.tmp-step-000002']);
    const left = ['.tmp-of-mine', '.tmp-step-000001', '.tmp-step-000003', '.writer-step-000001', '.writer-step-000003'];
    expect(readdirSync(target).sort()).toEqual(left);
    // Who is to write there need not wait for another machine.
    expect(cleanLeftovers(target)).toEqual(['.tmp-step-000003']);
    child.kill('SIGKILL');
    await gone;
    expect(cleanLeftovers(target, false)).toEqual(['.tmp-step-000001']);
    expect(readdirSync(target)).toEqual(['.tmp-of-mine']);
  });

  it('the latest state is the last undamaged one; damaged ones are told', () => {
    const target = fresh();
    expect(latestState(target)).toBeUndefined();
    for (const step of [1, 2, 3, 4]) save(target, step, randomTensors(smallModel, step), { keep: 4 });
    const tensorFile = join(target, 'step-000004', 'rank-00000-of-00001.safetensors');
    const bytes = readFileSync(tensorFile);
    bytes[bytes.length - 5] ^= 4;
    writeFileSync(tensorFile, bytes);
    rmSync(join(target, 'step-000003', 'manifest.json'));
    expect(completeSteps(target)).toEqual([1, 2, 4]);
    const latest = latestState(target);
    expect(latest?.step).toBe(2);
    expect(latest?.skipped).toHaveLength(2);
    expect(latest?.skipped[0]).toMatch(/step-000004 is passed over: .*rank-00000-of-00001\.safetensors.*damaged/);
    expect(latest?.skipped[1]).toMatch(/step-000003 is passed over: .*manifest\.json.*not complete/);
    const run = inspectCheckpoint(target);
    expect(run.kind === 'run' && run.checkpoints.map(({ complete }) => complete)).toEqual([true, true, false, false]);
    for (const step of [1, 2]) rmSync(join(target, stepFolderName(step), 'state.json'));
    expect(() => latestState(target)).toThrow('none of its 4 checkpoints can be used');
    expect(listSteps(target)).toEqual([1, 2, 3, 4]);
  });
});
