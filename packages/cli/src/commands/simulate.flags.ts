/** Flags of `monta simulate`. */
import type { Routing, Strategy } from '@monta/core';
import type { CostFlags } from './cost-flags.js';
import type { StepFlags, SubjectFlags } from './layer-inputs.js';

export interface SimulateFlags extends SubjectFlags, CostFlags, StepFlags {
  readonly json: boolean;
  readonly of: 'layer' | 'dispatch' | 'step';
  readonly dispatch: 'auto' | Strategy;
  readonly routing: Routing;
  readonly seed: number;
  readonly rank: number;
  readonly exact: boolean;
  readonly perfetto?: string;
  readonly svg?: string;
}

/** As they are typed: what is simulated is named by flags, or by a plan. */
export interface AskedSimulateFlags extends Omit<SimulateFlags, keyof SubjectFlags>, Partial<SubjectFlags> {
  readonly plan?: string;
}
