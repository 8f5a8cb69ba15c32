/** What a run on a card leaves: one JSON. */
import type { CheckSummary } from '../../device/cuda/checks/index.js';
import type { CardFacts } from '../../device/cuda/context.js';
import type { AttentionMeasurement } from './attention.js';
import type { LayerMeasurement } from './layer.js';
import type { LinksReport } from './links.js';
import type { ModelMeasurement } from './model.js';
import type { NodesReport } from '../nodes/index.js';
import type { ParallelReport } from './parallel.js';
import type { PredictedReport } from './predicted.js';
import type { Rates } from './rates.js';
import type { SanitizerReport } from './sanitizer.js';
import type { KernelDifference } from './shadow.js';
import type { StartsReport } from './starts.js';
import type { TrainingComparison } from './training.js';
import type { VerifiedModel } from './verified.js';

/** What figures of a report mean, where that has changed: see `GpuReport.revision`. */
export const reportRevision = 2;

export interface GpuReport {
  /**
   * Absent: the compiled program made experts' products by the loop alone, and kernels that ran at the same time
   * counted whole. 2: by the way that was measured to be the faster one, and each moment of the card counts once.
   */
  readonly revision?: number;
  readonly card: CardFacts;
  readonly driver?: string;
  readonly node: string;
  /** ISO 8601. */
  readonly date: string;
  /** Options of the run. */
  /** What whoever ran it says of the circumstances. */
  readonly note?: string;
  readonly command: readonly string[];
  /** 91900 is 9.19.0. */
  readonly cudnn: number;
  /** Whether NCCL may use NVLink multicast; reports without it ran with it off. */
  readonly multicast?: boolean;
  /** Why parts did not run to their end. */
  readonly errors?: Readonly<Partial<Record<ReportPart, string>>>;
  readonly checks: readonly CheckSummary[];
  /** By model: every kernel of a training step beside the CPU's. */
  readonly shadow?: Readonly<Record<string, readonly KernelDifference[]>>;
  readonly training?: readonly TrainingComparison[];
  readonly model?: ModelMeasurement;
  /** On two cards. */
  readonly nodes?: NodesReport;
  /** The plan's choice between the nodes, measured alone. */
  readonly choices?: NodesReport;
  readonly starts?: StartsReport;
  readonly links?: LinksReport;
  readonly verified?: readonly VerifiedModel[];
  readonly sanitizer?: SanitizerReport;
  readonly predicted?: PredictedReport;
  readonly parallel?: ParallelReport;
  readonly rates: Rates;
  readonly attention: readonly AttentionMeasurement[];
  readonly layer: Readonly<Record<string, LayerMeasurement>>;
}

/** Parts that are measured one by one. */
export type ReportPart =
  | 'checks'
  | 'shadow'
  | 'training'
  | 'model'
  | 'rates'
  | 'attention'
  | 'layer'
  | 'nodes'
  | 'choices'
  | 'starts'
  | 'links'
  | 'verified'
  | 'sanitizer'
  | 'predicted'
  | 'parallel';
