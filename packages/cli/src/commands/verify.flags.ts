/** Flags of `monta verify`. */
import type { Payload } from '@monta/core';

export interface VerifyFlags {
  readonly json: boolean;
  readonly layout: string;
  readonly dispatcher?: string;
  readonly chunks?: string;
  readonly backend: 'local' | 'mpi' | 'nccl';
  readonly ranksPerNode?: number;
  readonly device: 'cpu' | 'cuda';
  readonly dtype: 'f32' | 'bf16';
  readonly payload?: Payload;
}
