/** Flags of `monta plan`. */
import type { Routing } from '@monta/core';
import type { CostFlags } from './cost-flags.js';
import type { StepFlags, SubjectFlags } from './layer-inputs.js';
import type { MemoryFlags } from './memory-flags.js';
import type { SearchFlags } from './search-flags.js';

/** `sharing`, `recompute` and `virtualStages` are searched where neither they nor a layout are given. */
export interface PlanFlags
  extends
    Omit<SubjectFlags, 'layout'>,
    CostFlags,
    StepFlags,
    Omit<MemoryFlags, 'sharing' | 'recompute' | 'virtualStages' | 'weightShards' | 'expertWeightShards'>,
    SearchFlags {
  readonly json: boolean;
  readonly layout?: string;
  readonly sharing?: MemoryFlags['sharing'];
  readonly recompute?: MemoryFlags['recompute'];
  readonly weightShards?: number;
  readonly expertWeightShards?: number;
  readonly routing: Routing;
  readonly scope: 'dispatch' | 'layer';
  readonly seed: number;
  readonly flips: boolean;
}
