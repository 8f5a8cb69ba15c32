/** What is known of a case before it is measured. */
import { type MachineProbe } from '@monta/runtime';
import type { Candidate, DispatchVariant, Strategy, Workload } from '@monta/core';
import type { RoutingKind } from './types.js';

/** One volume and routing, before anything of it was measured but its kernels. */
export interface PreparedCase {
  readonly tp: number;
  readonly volumeBytes: number;
  readonly routing: RoutingKind;
  readonly variants: readonly DispatchVariant[];
  readonly workload: Workload;
  readonly probe: MachineProbe;
  /** What predictions alone take. */
  readonly chosen: Strategy;
  /** Predicted close to it, itself first. */
  readonly near: readonly Candidate[];
  /** Relative error of predictions, as found where they were fitted. */
  readonly modelError: number;
}

/** A case for which the plan is made. */
export interface SettledCase extends PreparedCase {
  /** What trials and predictions together take; the prediction's choice where nothing else is close. */
  readonly settled: Strategy;
}
