/** Flags of `monta bench`. */
import type { Routing } from '@monta/core';
import type { OverlapFlags } from '../config/overlap-config.js';
import type { PayloadFlags } from '../config/payload-config.js';

export interface BenchDispatchFlags extends PayloadFlags, OverlapFlags {
  readonly json: boolean;
  readonly backend?: 'local' | 'nccl';
  readonly ranksPerNode?: number;
  /** Of the local backend. */
  readonly cluster?: string;
  readonly layout: string;
  readonly model?: string;
  readonly sequence?: number;
  readonly sequences: number;
  readonly tokens?: number;
  readonly hidden?: number;
  readonly experts?: number;
  readonly topk?: number;
  readonly routing: Routing;
  readonly chunks: readonly number[];
  readonly only?: readonly string[];
  readonly emulate: 'auto' | 'off' | number;
  readonly rounds: number;
  readonly seconds: number;
  readonly seed: number;
  readonly calibration?: string;
}

export interface BenchLayerFlags {
  readonly json: boolean;
  readonly device: 'cuda';
  readonly only?: readonly string[];
  readonly model?: string;
  readonly tokens: number;
  readonly peers: boolean;
}

export interface BenchCollectivesFlags {
  readonly json: boolean;
  readonly backend: 'local' | 'mpi' | 'nccl';
  readonly ranksPerNode?: number;
  readonly layout: string;
  readonly least: number;
  readonly most: number;
  readonly factor: number;
  readonly rounds: number;
  readonly seconds: number;
}
