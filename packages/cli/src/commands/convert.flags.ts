/** Flags of `monta convert`. */
import type { Layout } from '@monta/core';

export interface ConvertFlags {
  readonly json: boolean;
  readonly to?: 'hf' | 'state';
  readonly dtype?: 'f32' | 'bf16' | 'f16';
  readonly shardSize?: number;
  readonly like?: string;
  readonly layout?: Layout;
}
