/**
 * What every backend must do, as named cases that all ranks of a job run together. A case throws on a wrong result.
 * Cases know only the interface: ranks may be threads, processes or GPUs.
 */
import type { Endpoint } from '#runtime/comm/communicator.js';
import type { Device } from '#runtime/device/device.js';
import { collectiveCases } from './conformance-collectives.js';
import { orderCases } from './conformance-order.js';
import type { ElementType, View } from '#runtime/device/view.js';

/** What a case gets: the rank's endpoint and its device, read and written through the host. */
export interface ConformanceContext {
  readonly endpoint: Endpoint;
  /** Whose events the endpoint's collectives end. */
  readonly device: Device;
  /** Fresh elements, content undefined. */
  readonly allocate: (type: ElementType, length: number) => View;
  readonly write: (view: View, values: ArrayLike<number>) => void;
  readonly read: (view: View) => number[];
  /** False for a backend that adds in another, yet fixed, order: then sums are compared within rounding. */
  readonly sumsInRankOrder: boolean;
}

export interface ConformanceCase {
  readonly name: string;
  readonly run: (context: ConformanceContext) => void;
}

export const conformanceCases: readonly ConformanceCase[] = [...collectiveCases, ...orderCases];

/** Sent by every rank when it starts and when it has passed a case. */
export interface CaseReport {
  readonly name: string;
  readonly state: 'started' | 'passed';
}

/** Runs all cases on this rank, with a barrier after each. `release` gives back what the case allocated. */
export function runConformanceCases(
  context: ConformanceContext,
  report: (report: CaseReport) => void,
  release: () => void,
): void {
  const { endpoint, device } = context;
  const world = endpoint.communicator('conformance', ranks(endpoint.size), device.queue('control'));
  for (const { name, run } of conformanceCases) {
    report({ name, state: 'started' });
    run(context);
    device.wait(world.barrier({ label: `end of ${name}` }));
    report({ name, state: 'passed' });
    release();
  }
}

function ranks(size: number): number[] {
  return Array.from({ length: size }, (_, rank) => rank);
}
