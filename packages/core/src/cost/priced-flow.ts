/** Flows as prices see them. */
import type { FabricRoute } from '../traffic/fabric.js';
import type { Flow } from '../traffic/flows.js';

/** A flow and the ports it occupies. */
export interface PricedFlow extends Flow {
  readonly route: FabricRoute;
  /** Bytes that it takes on each of its ports: its own, times the slowdown of its route and what measurements say. */
  readonly work: number;
}
