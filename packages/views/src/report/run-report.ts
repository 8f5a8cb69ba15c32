/**
 * What a training run tells at its end, as plain data: `report.json` in the run folder is exactly this, and
 * `renderReport` draws the page from it. SI base units throughout (seconds, bytes, bytes/s, FLOP/s), losses in nats per
 * token.
 */

import type { Lane, LaneSeconds, StepBytes, TurnsComparison } from '@monta/core';
import { maxOf } from '@monta/core/units';
import type { TimelinePanel } from '../timeline/timeline.js';

/** How a number came about. Nothing emulated is ever called measured without saying so. */
export type Origin =
  /** Timed on real hardware and real links. */
  | 'measured'
  /** Timed on this machine while the emulated network slowed the bytes to a cluster's bandwidths times a scale. */
  | 'measured on an emulated network'
  /** From the cost model and the simulator. */
  | 'predicted';

/** One way of moving tokens, in which `steps` steps of this very run were done. */
export interface StrategyRun {
  /** As `scattered, 4 / 2 chunks`. */
  readonly name: string;
  /**
   * chosen: what the plan picked; baseline: `duplicated`; fixed: the best that needs no choosing; other: run for
   * comparison.
   */
  readonly role: 'chosen' | 'baseline' | 'fixed' | 'other';
  /** Steps that it ran. */
  readonly steps: number;
  /** Median of the steps after warm-up. */
  readonly stepSeconds: number;
  /** 10th and 90th percentile of the same steps. */
  readonly stepSecondsSpread: readonly [low: number, high: number];
  /**
   * Its step over the chosen one's, by rounds of turns, and whether that stands out of the noise; absent of the chosen
   * one, and where too few rounds were run.
   */
  readonly comparison?: TurnsComparison;
  /** Absent where the cost model had no answer. */
  readonly predictedStepSeconds?: number;
  readonly tokensPerSecond: number;
  readonly lanes: LaneSeconds;
  /** The same, predicted; absent where there was no answer. */
  readonly predictedLanes?: LaneSeconds;
  /** Of a step, predicted. */
  readonly bytes: readonly StepBytes[];
}

/** What one operation took, predicted and measured; medians over ranks and steps. */
export interface OperationTime {
  readonly name: string;
  readonly lane: Lane;
  /** As predicted, of the same. */
  readonly predictedSeconds: number;
  readonly measuredSeconds: number;
}

/** The most that ranks held at a time, whichever strategy it was: weights, gradients, moments, activations, buffers. */
export interface RunMemory {
  /** From the compiled program, for even routing. */
  readonly predictedBytes: number;
  /** The same for what was routed in the step in which a rank held the most, by rank. */
  readonly routedBytes: readonly number[];
  /** Of the most skewed step: rows of the fullest rank's experts over the mean, of all layers together. */
  readonly imbalance: number;
  /** By rank, counted by the device's memory while training. */
  readonly measuredBytes: readonly number[];
  /** The most that a rank took of its card, with what kernels take for themselves. */
  readonly cardBytes?: number;
}

export interface RunReport {
  /** What kind of file it is. */
  readonly format: 'monta-run-report';
  readonly version: 4;
  /** Name of the run folder, as `2026-11-24-a`. */
  readonly run: string;
  /** ISO 8601 with time zone. */
  readonly started: string;
  readonly seconds: number;
  /** The command line, as typed. */
  readonly command: string;
  /** Set for data made up to show the page: the page then says so on top. */
  readonly invented?: boolean;

  /** What it ran on, by its description. */
  readonly cluster: { readonly name: string; readonly devices: number; readonly summary: string };
  /** What was trained. */
  readonly model: {
    readonly name: string;
    readonly parameters: number;
    /** Parameters that a token visits. */
    readonly active: number;
    /** In words. */
    readonly summary: string;
  };
  /** As `tp=4,dp=2,ep=2`. */
  readonly layout: string;
  /** What it was trained on. */
  readonly data: {
    readonly name: string;
    /** Of the text. */
    readonly licence?: string;
    readonly sequence: number;
    /** Of all replicas. */
    readonly tokensPerStep: number;
  };

  /** How times came about, and what stood behind them. */
  readonly timing: {
    /** Whether the network is emulated. */
    readonly origin: Exclude<Origin, 'predicted'>;
    /** The hardware and backend that ran, as `2 x AMD EPYC, 8 worker threads`. */
    readonly ranOn: string;
    /** Emulated seconds per second of the cluster file; absent without emulation. */
    readonly timeScale?: number;
    /** Whether there were more ranks than cores, so that ranks waited for each other's processors. */
    readonly sharedCores: boolean;
    /** What the cost model rests on, as `α-β from the cluster file; GEMM measured here`. */
    readonly predictionBasis: string;
  };

  /** What was chosen, and why. */
  readonly plan: {
    /** The strategy, as `scattered, 4 / 2 chunks`. */
    readonly chosen: string;
    /** Label and sentence, as `['Why', 'the NIC binds …']`, in the order to be shown. */
    readonly reasons: readonly (readonly [label: string, text: string])[];
  };

  /** Cross-entropy by step, nats a token. */
  readonly loss: {
    /** Every step of the run; of a long one a few thousand. */
    readonly training: readonly (readonly [step: number, nats: number])[];
    /** Of the held-out text. */
    readonly heldOut: readonly (readonly [step: number, nats: number])[];
    /** Held-out cross-entropy of the unigram model of the training text. */
    readonly unigram: number;
    /** What one token is, as `byte`. */
    readonly token: string;
  };

  /** The chosen one first. */
  readonly strategies: readonly StrategyRun[];
  /** How strategies took turns; absent where one ran alone. */
  readonly turns?: {
    /** Of the intervals of comparisons, as 0.99. */
    readonly confidence: number;
  };
  /** Bytes that crossed each link in the whole run, evaluation included. */
  readonly carried: readonly StepBytes[];
  readonly operations: readonly OperationTime[];
  /** Median absolute error of the predicted operation times, as a share; absent when nothing was compared. */
  readonly operationError?: number;

  /** What ranks held. */
  readonly memory: RunMemory;

  /** Share of tokens per expert relative to a balanced load, per layer or over all; columns are spans of steps. */
  readonly expertLoad: readonly {
    /** Index of the layer, or all of them. */
    readonly layer: number | 'all';
    /** First step of every column, and the end of the last. */
    readonly stepEdges: readonly number[];
    readonly experts: readonly (readonly number[])[];
  }[];

  /** One step of one rank, predicted over measured; absent when no trace was taken. */
  readonly timeline?: readonly TimelinePanel[];
  /** Files beside the report, with what they are for. */
  readonly files: readonly { readonly path: string; readonly purpose: string }[];
  /** Everything that was set, in the order of the configuration file. */
  readonly configuration: readonly (readonly [key: string, value: string])[];
  /** What the prediction leaves out and what a reader should not conclude. */
  readonly limits: readonly string[];
}

/** The run of a role, if there is one. */
export function strategyOf(report: RunReport, role: StrategyRun['role']): StrategyRun | undefined {
  return report.strategies.find((strategy) => strategy.role === role);
}

/** Error of memory predicted for the fullest rank, as a share of what was measured. */
export const memoryError = (predictedBytes: number, { measuredBytes }: RunMemory): number =>
  predictedBytes / maxOf(measuredBytes) - 1;

/** A run's step beside the chosen one's, in words: never as a gain or a loss where noise explains it. */
export function comparisonText({ comparison }: StrategyRun): string {
  if (comparison === undefined) return 'too few steps to compare';
  const { low, high, verdict } = comparison;
  const interval = `${low.toFixed(2)}x to ${high.toFixed(2)}x`;
  return verdict === 'too close to call'
    ? `${verdict} (${interval})`
    : `${comparison.median.toFixed(2)}x (${interval})${verdict === 'slower' ? ', faster than the choice' : ''}`;
}
