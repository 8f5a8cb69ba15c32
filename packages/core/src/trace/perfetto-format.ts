/**
 * Chrome's trace event format, which ui.perfetto.dev and chrome://tracing open, as Monta uses it.
 * Format: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
 */
import type { Group } from '../layout/layout.js';
import type { Span, Trace } from './span.js';

/** Marks our own files, so that the reader can refuse others. */
export const perfettoFormat = 'monta trace 2';

/** What a file says of a trace before its events: everything but the spans. */
export interface PerfettoHead extends Omit<Trace, 'spans'> {
  /** Number of the process that stands for rank 0. */
  readonly firstProcess: number;
  /** Groups of ranks, to which events refer by their place here. */
  readonly groups: readonly { readonly group: Group; readonly members: readonly number[] }[];
}

/**
 * All of a span that the event around it does not tell. Seconds count from the step's start on the rank's own clock.
 */
export interface PerfettoArguments extends Pick<
  Span,
  'step' | 'node' | 'template' | 'task' | 'chunk' | 'of' | 'lane' | 'bytes' | 'issued' | 'ready' | 'end'
> {
  readonly collective?: string;
  /** Index into the groups of the trace. */
  readonly group?: number;
  readonly bytesPerSecond?: number;
}

/** Category of events that are spans; all others are there for the viewer only. */
export const spanCategory: Readonly<Record<Trace['kind'], string>> = { simulated: 'simulated', measured: 'measured' };
