/** What page and worker tell each other: a request with a number, then progress, then its answer or a complaint. */
import type { ShownError } from '../base/shown-error.js';
import type { ExportTarget } from '@monta/core';
import type { LayerAnswer, LayerFields, MapCell } from '../explore/answer.js';
import type { PlanAnswer, PlanDetail, PlanProgress } from '../plan/answer.js';
import type { ExportAnswer } from '../plan/export-answer.js';
import type { SpeedUp, StepGain } from '@monta/core/plan/paper';
import type { PaperFields } from '../explore/paper-answer.js';
import type { SubjectFields } from '../subject/subject.js';
import type { ScriptAnswer } from '../plan/script-answer.js';
import type { OpenedTrace } from '../timeline/opened-trace.js';
import type { TrafficAnswer, TrafficFields } from '../traffic/answer.js';

/** Requests by kind: what is asked, what is told meanwhile, what is answered. */
export interface Exchanges {
  plan: { ask: SubjectFields; progress: PlanProgress; answer: PlanAnswer };
  detail: { ask: { readonly index: number }; progress: never; answer: PlanDetail };
  changes: { ask: Record<string, never>; progress: never; answer: string };
  export: { ask: { readonly index: number; readonly to: ExportTarget }; progress: never; answer: ExportAnswer };
  script: { ask: SubjectFields & { readonly script: string }; progress: never; answer: ScriptAnswer };
  /** First the ways that led before, then all; null where another question came between. */
  layer: { ask: LayerFields; progress: LayerAnswer; answer: LayerAnswer | null };
  /** Null where another question came between. */
  paper: { ask: PaperFields; progress: SpeedUp; answer: StepGain | null };
  map: { ask: LayerFields; progress: MapCell; answer: null };
  trace: { ask: { readonly name: string; readonly text: ArrayBuffer }; progress: never; answer: OpenedTrace };
  traffic: { ask: TrafficFields; progress: never; answer: TrafficAnswer };
  layerTrace: { ask: LayerFields & { readonly pass: 'forward' | 'backward' }; progress: never; answer: OpenedTrace };
}

export type Kind = keyof Exchanges;

export type Request = {
  readonly [K in Kind]: { readonly id: number; readonly kind: K; readonly ask: Exchanges[K]['ask'] };
}[Kind];

export type ToWorker = Request | { readonly id: number; readonly kind: 'stop' };

export type FromWorker =
  | { readonly id: number; readonly kind: 'progress'; readonly value: unknown }
  | { readonly id: number; readonly kind: 'answer'; readonly value: unknown }
  | { readonly id: number; readonly kind: 'error'; readonly error: ShownError };
