/** Collects what a rank did into spans: kernels from the device's records, collectives from the endpoint's. */
import type { Span, SpanCollective, SpanLabel } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { Device, DeviceEvent } from '../device/device.js';

/** What ran: what it is called, in which node, and with whom. */
export interface SpanSubject {
  readonly label: SpanLabel;
  readonly node: number;
  /** Absent for kernels. */
  readonly collective?: SpanCollective;
  /** That a kernel moves; what a collective sent, its record tells. */
  readonly bytes?: number;
}

export class SpanRecorder {
  readonly #endpoint: Endpoint;
  readonly #device: Device;
  /** A record may come in a later step than its work. */
  readonly #submitted = new Map<number, SpanSubject & { readonly step: number; readonly start: number }>();
  #spans: Span[] = [];
  #start = 0;
  #step = 0;

  constructor(endpoint: Endpoint, device: Device) {
    this.#endpoint = endpoint;
    this.#device = device;
  }

  begin(step: number): void {
    this.#step = step;
    this.#start = this.#endpoint.now();
  }

  /** Notes a launch or a collective, by the event of its end. */
  submitted(event: DeviceEvent, what: SpanSubject): void {
    this.#submitted.set(event.id, { ...what, step: this.#step, start: this.#start });
  }

  /** Takes over the records, for which there is limited room. What is not the program's is left out. */
  collect(): void {
    for (const { event, start, end } of this.#device.takeRecords())
      this.#push({ event, issued: start, ready: start, end });
    for (const { event, issued, ready, end, bytes } of this.#endpoint.takeRecords())
      this.#push({ event, issued, ready, end, sent: bytes });
  }

  /** All spans since the last call, by their end. Ranks call it together, with nothing under way. */
  take(): Span[] {
    this.#endpoint.completeRecords?.();
    this.collect();
    const spans = this.#spans;
    this.#spans = [];
    return spans.sort((a, b) => a.end - b.end);
  }

  #push({
    event,
    issued,
    ready,
    end,
    sent,
  }: {
    readonly event: number;
    readonly issued: number;
    readonly ready: number;
    readonly end: number;
    readonly sent?: number;
  }): void {
    const submitted = this.#submitted.get(event);
    if (submitted === undefined) return;
    this.#submitted.delete(event);
    const { label, node, collective, bytes = 0, step, start } = submitted;
    this.#spans.push({
      step,
      rank: this.#endpoint.rank,
      node,
      ...label,
      collective,
      issued: issued - start,
      ready: ready - start,
      end: end - start,
      bytes: sent ?? bytes,
    });
  }
}
