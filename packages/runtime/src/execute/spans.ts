/** Collects what a rank did into spans: kernels as this thread ran them, collectives from the endpoint's records. */
import type { Span, SpanCollective, SpanLabel } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';

/** What ran: what it is called, in which node, and with whom. */
export interface SpanSubject {
  readonly label: SpanLabel;
  readonly node: number;
  /** Absent for kernels. */
  readonly collective?: SpanCollective;
}

export class SpanRecorder {
  readonly #endpoint: Endpoint;
  readonly #submitted = new Map<number, SpanSubject>();
  #spans: Span[] = [];
  #start = 0;
  #step = 0;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  begin(step: number): void {
    this.#step = step;
    this.#start = this.#endpoint.now();
  }

  /** A kernel that this thread ran; `start` and `end` on the endpoint's clock. */
  kernel(subject: SpanSubject, start: number, end: number, bytes: number): void {
    const issued = start - this.#start;
    this.#push(subject, issued, issued, end - this.#start, bytes);
  }

  /** A collective whose times the endpoint will record under `event`. */
  submitted(event: number, subject: SpanSubject): void {
    this.#submitted.set(event, subject);
  }

  /** Takes over the endpoint's records, for which it has limited room. Collectives that are not the program's are left out. */
  collect(): void {
    for (const { event, issued, ready, end, bytes } of this.#endpoint.takeRecords()) {
      const submitted = this.#submitted.get(event);
      if (submitted === undefined) continue;
      this.#submitted.delete(event);
      this.#push(submitted, issued - this.#start, ready - this.#start, end - this.#start, bytes);
    }
  }

  /** Spans since the last call, by their end. */
  take(): Span[] {
    this.collect();
    const spans = this.#spans;
    this.#spans = [];
    return spans.sort((a, b) => a.end - b.end);
  }

  #push({ label, node, collective }: SpanSubject, issued: number, ready: number, end: number, bytes: number): void {
    const { rank } = this.#endpoint;
    this.#spans.push({ step: this.#step, rank, node, ...label, collective, issued, ready, end, bytes });
  }
}
