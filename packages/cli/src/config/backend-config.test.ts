import { InputError, settingStep } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { settingOf } from '../train/setting.js';
import { readTrainConfig, trainConfigDocument, trainConfigFrom } from './train-config.js';
import type { TrainOverrides } from './train-overrides.js';
import { localLauncher, type Launcher } from '@monta/runtime';
import { withLanesOf } from './backend-config.js';
import { stringify } from 'yaml';

const onOneCard = 'cluster: h200-1x1\nlayout: tp=1\ndevice: cuda\ndtype: bf16\n';
const onFourCards = 'cluster: h200-2x2\nlayout: tp=2,dp=2,ep=2\nbackend: nccl\nnccl: { ranksPerNode: 2 }\n';

const onLanes = onFourCards.replace(' }', ', multiprocessors: { inter: 8 }, priorities: { intra: 4, copy: 0 } }');

function complaint(text: string, overrides: TrainOverrides = {}): string {
  try {
    trainConfigFrom(text, 'train.yaml', overrides);
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  throw new Error('nothing was wrong');
}

describe('runs on cards', () => {
  it.each([onOneCard, onFourCards, onLanes])('are read back as they were written, without emulation', (text) => {
    const config = trainConfigFrom(text, 'train.yaml');
    expect(config.emulate).toBe(false);
    expect(settingOf(config).fabric).toBeUndefined();
    const again = trainConfigFrom(stringify(trainConfigDocument(config)), 'again.yaml');
    expect(again.backend).toEqual(config.backend);
    expect(again.dtype).toBe(config.dtype);
  });

  it('compute in what they were told', () => {
    const setting = settingOf(trainConfigFrom(onOneCard, 'train.yaml'));
    const strategy = { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } } as const;
    expect(settingStep(setting, strategy).dtype).toBe('bf16');
  });

  it('can be asked for by flags', () => {
    const { backend, dtype } = readTrainConfig(undefined, {
      backend: 'nccl',
      ranksPerNode: 4,
      cluster: 'h200-2x4',
      dtype: 'bf16',
    });
    expect({ backend, dtype }).toEqual({ backend: { kind: 'nccl', ranksPerNode: 4 }, dtype: 'bf16' });
  });

  it('hand lanes on to their launcher, also to one that is there', () => {
    const { backend } = trainConfigFrom(onLanes, 'train.yaml');
    const lanes = { multiprocessors: { inter: 8 }, priorities: { copy: 0, intra: 4 } };
    expect(backend).toEqual({ kind: 'nccl', ranksPerNode: 2, lanes });
    const there: Launcher = {
      ...localLauncher,
      withLanes: (given) => ({ ...localLauncher, place: JSON.stringify(given) }),
    };
    expect(withLanesOf(there, backend).place).toBe(JSON.stringify(lanes));
    expect(withLanesOf(localLauncher, backend)).toBe(localLauncher);
  });

  it('give sums of gradients a priority of their own', () => {
    const { backend } = trainConfigFrom(onLanes.replace('copy: 0', 'inter dp: 2, inter: 3'), 'train.yaml');
    const priorities = { inter: 3, 'inter dp': 2, intra: 4 };
    expect(backend).toMatchObject({ lanes: { priorities } });
  });

  it('say what does not go together', () => {
    // What a stream of products takes is no setting of NCCL's.
    expect(complaint(onLanes.replace('inter: 8', 'copy: 8'))).toMatch(/unknown key "copy".*intra/su);
    expect(complaint(onLanes.replace('copy', 'copies'))).toMatch(/unknown key "copies".*copy/su);
    expect(complaint(onLanes.replace('inter: 8', 'inter: 0'))).toMatch(/nccl\.multiprocessors\.inter.*from 1 to/su);
    expect(complaint('backend: mpi\ndevice: cuda\n')).toMatch(/host memory.*backend nccl/su);
    expect(complaint('backend: nccl\ndevice: cpu\n')).toMatch(/NCCL carries bytes between cards/u);
    expect(complaint('device: gpu\n')).toMatch(/train\.yaml.*"gpu" is not a device.*cpu or cuda/su);
    expect(complaint('dtype: bf16\n')).toMatch(/dtype.*processors compute in f32/su);
    expect(complaint(onOneCard, { timeScale: 10 })).toMatch(/no emulation with device cuda/u);
    expect(complaint(onFourCards, { hosts: 'a:2,b:2' })).toMatch(/processes on cards of this machine/u);
    expect(complaint('layout: tp=1\n', { ranksPerNode: 2 })).toMatch(/--ranks-per-node.*--backend nccl/su);
  });
});
