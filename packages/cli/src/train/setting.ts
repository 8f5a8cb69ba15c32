/** What a training run stands on here: its configuration and this machine. */
import { availableParallelism, cpus } from 'node:os';
import type { TrainingSetting } from '@monta/core';
import { trainingSetting } from '@monta/core/plan';
import { hasOwnNetwork } from '../config/backend-config.js';
import type { TrainConfig } from '../config/train-config.js';

export type Setting = TrainingSetting<TrainConfig>;

/** Resolves a configuration on this machine. Throws `InputError` where it contradicts itself. */
export const settingOf = (config: TrainConfig): Setting =>
  trainingSetting(config, { cores: availableParallelism(), ownNetwork: hasOwnNetwork(config.backend) });

/** `2 x AMD EPYC 9xx4`: the processors that run all ranks. */
export function describeHost(): string {
  const model = cpus()[0]?.model.replaceAll(/\s+/g, ' ').trim() ?? 'unknown processor';
  return `${availableParallelism()} x ${model}`;
}
