/** What a run over nodes leaves: plain data, of which the page about GPUs makes tables. */
import type { Measurement, Probe } from '@monta/core';
import type { ContestFigures } from './decide.js';
import type { VolumeExchanges } from './exchanges.js';
import type { StepFigures } from './steps.js';

/** What was measured on one arrangement of ranks. */
export interface ArrangementReport {
  /** As `2 nodes of 2 ranks`. */
  readonly ranks: string;
  readonly calibration?: CalibrationReport;
  readonly exchanges: readonly VolumeExchanges[];
  /** Layers of which every way and chunk count is told. */
  readonly strategies: readonly ContestFigures[];
  /** Layers on which the choice is judged; passes are left out. */
  readonly choices: readonly Omit<ContestFigures, 'passes'>[];
  /** Runs of each way that a plan would try, and of each that is near the fastest. */
  readonly runs?: { readonly trial: number; readonly final: number };
  readonly steps?: StepFigures;
  /** What did not run, and why. */
  readonly problems: readonly string[];
}

export interface CalibrationReport {
  readonly links: Probe;
  readonly measurements: readonly Pick<Measurement, 'op' | 'ranks' | 'nodes' | 'groups' | 'bytes' | 'seconds'>[];
  /** By tier, bytes/s of a rank. */
  readonly lineRates: readonly number[];
  readonly startSeconds: number;
  readonly wakeSeconds: number;
  readonly modelError: number;
  readonly seconds: number;
}

export interface NodesReport {
  /** Of the host: on one, every rank passes for a host of its own, and all bytes go over the loopback. */
  readonly cards: number;
  readonly between?: ArrangementReport;
  /** Of fewer ranks a node. */
  readonly narrower?: readonly ArrangementReport[];
  readonly inside?: ArrangementReport;
}
