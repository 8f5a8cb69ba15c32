import type { Cluster, CostModel, Program, Simulation, StepPrediction, StepShape, Traffic } from '@monta/core';

/** What was simulated and what came of it. */
export interface SimulatedTimeline {
  readonly cluster: Cluster;
  /** The strategy in force is its own. */
  readonly step: StepShape;
  /** Chosen by the planner rather than given. */
  readonly chosen: boolean;
  readonly model: CostModel;
  readonly program: Program;
  readonly simulation: Simulation;
  readonly bytes: Traffic;
  /** Of a step whose timeline shows fewer layers than the model has. */
  readonly wholeStep?: StepPrediction;
}
