import type { Cluster, CostModel, Program, RunSimulation, Simulation, StepPrediction, StepShape } from '@monta/core';

/** What was simulated and what came of it. */
export interface SimulatedTimeline {
  readonly cluster: Cluster;
  /** The strategy in force is its own. */
  readonly step: StepShape;
  /** Chosen by the planner rather than given. */
  readonly chosen: boolean;
  readonly model: CostModel;
  /** Of the stage whose rank is shown. */
  readonly program: Program;
  readonly simulation: Simulation;
  /** Bytes that a rank sends, [rank][tier joining it and the receiver]. */
  readonly sent: readonly Float64Array[];
  /** Of a pipeline, with all layers. */
  readonly run?: RunSimulation;
  /** Of a step whose timeline may show fewer layers than the model has. */
  readonly wholeStep?: Pick<StepPrediction, 'seconds' | 'tokensPerSecond'>;
}
