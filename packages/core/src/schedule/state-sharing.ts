/** What ranks that hold the same parameters share of them. */
import type { DType } from './schedule.js';

/** How far ranks share: nothing, the optimizer, gradients besides, or weights too. */
export type SharedUpTo = 'none' | 'optimizer' | 'gradients' | 'weights';

export interface StateSharing {
  /** Of what dp x cp ranks hold alike, and of experts, which edp ranks do. */
  readonly dense: SharedUpTo;
  readonly expert: SharedUpTo;
  /** Types in which weights and gradients travel, and are whole. */
  readonly weightType: DType;
  readonly gradientType: DType;
}
