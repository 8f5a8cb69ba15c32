/** Collects what a rank did into spans: kernels as this thread ran them, collectives from the endpoint's records. */
import type { Span } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';

interface Submitted {
  readonly operation: string;
  readonly lane: Span['lane'];
  readonly node: number;
}

export class SpanRecorder {
  readonly #endpoint: Endpoint;
  readonly #submitted = new Map<number, Submitted>();
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

  kernel(operation: string, lane: Span['lane'], node: number, start: number, end: number, bytes: number): void {
    const issued = start - this.#start;
    this.#push({ operation, lane, node }, issued, issued, end - this.#start, bytes);
  }

  submitted(event: number, operation: string, lane: Span['lane'], node: number): void {
    this.#submitted.set(event, { operation, lane, node });
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

  #push(what: Submitted, issued: number, ready: number, end: number, bytes: number): void {
    this.#spans.push({ step: this.#step, rank: this.#endpoint.rank, ...what, issued, ready, end, bytes });
  }
}
